//! Private services elsewhere that this computer may open: a key pair for each, made before it is
//! enrolled, so that an answer that is lost loses nothing.

use std::fmt;
use std::time::SystemTime;

use hardline_proto::KeyHash;
use hardline_proto::visitors::{Door, Enrolled};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use rusqlite_migration::M;

use super::database::{from_millis, millis};
use super::{Store, StoreError};

/// Most services of which keys are kept; beyond them, those never enrolled are forgotten first, and
/// then the oldest.
pub const MAX_PASSES: usize = 1_000;

pub(super) const STEP: M<'static> = M::up(
    "CREATE TABLE passes (
        service     TEXT PRIMARY KEY,  -- 40 hexadecimal digits
        certificate BLOB NOT NULL,
        private_key BLOB NOT NULL,     -- PKCS#8
        door        BLOB NOT NULL,
        made        INTEGER NOT NULL,
        name        TEXT,              -- as the service calls us; none before we are enrolled
        expires     INTEGER
     ) STRICT, WITHOUT ROWID;",
);

/// What opens a private service of another computer. Its `Debug` text hides the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptPass {
    /// The service.
    pub service: KeyHash,
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    /// Its key, in PKCS#8.
    pub private_key: Vec<u8>,
    /// What is shown in the ClientHello.
    pub door: Door,
    /// What the service calls this computer; `None` before it is enrolled.
    pub name: Option<String>,
    /// Until when it may come in, as it was told.
    pub expires: Option<SystemTime>,
}

impl fmt::Debug for KeptPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptPass").field("service", &self.service).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Store {
    /// What opens `service`, enrolled or about to be.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn pass(&self, service: KeyHash) -> Result<Option<KeptPass>, StoreError> {
        self.worker
            .call(move |database| {
                database.read(|connection| {
                    connection
                        .prepare_cached(&format!("{SELECT} WHERE service = ?1"))?
                        .query_row([service.to_string()], read)
                        .optional()
                        .map(Option::flatten)
                })
            })
            .await
    }

    /// What opens each of the services by which this computer is enrolled.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn passes(&self) -> Result<Vec<KeptPass>, StoreError> {
        self.worker.call(|database| database.read(all)).await
    }

    /// Keeps a key pair that is about to be enrolled. Returns that of an earlier try, if there is
    /// one: a service knows this computer by one key.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn keep_pass(&self, pass: KeptPass) -> Result<KeptPass, StoreError> {
        let service = pass.service;
        self.worker
            .call(move |database| {
                database.write_durably(|tx| {
                    let sql = "INSERT INTO passes (service, certificate, private_key, door, made)
                               VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (service) DO NOTHING";
                    let now = millis(SystemTime::now());
                    let key = pass.service.to_string();
                    let row = params![key, pass.certificate, pass.private_key, pass.door.as_bytes(), now];
                    tx.execute(sql, row)?;
                    tx.execute(
                        "DELETE FROM passes WHERE service <> ?1 AND service IN (
                            SELECT service FROM passes ORDER BY name IS NULL, made DESC LIMIT -1 OFFSET ?2)",
                        params![key, MAX_PASSES],
                    )
                })
            })
            .await?;
        self.pass(service).await?.ok_or(StoreError::Closed)
    }

    /// Notes that `service` has enrolled this computer.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn enrolled(&self, service: KeyHash, enrolled: Enrolled) -> Result<(), StoreError> {
        self.worker
            .call(move |database| {
                database.write_durably(|tx| {
                    let sql = "UPDATE passes SET name = ?2, expires = ?3 WHERE service = ?1";
                    tx.execute(sql, params![service.to_string(), enrolled.name, enrolled.expires_ms]).map(drop)
                })
            })
            .await
    }
}

const SELECT: &str = "SELECT service, certificate, private_key, door, name, expires FROM passes";

fn all(connection: &Connection) -> rusqlite::Result<Vec<KeptPass>> {
    let mut statement = connection.prepare(&format!("{SELECT} WHERE name IS NOT NULL"))?;
    statement.query_map([], read)?.filter_map(Result::transpose).collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<KeptPass>> {
    let Ok(service) = row.get::<_, String>(0)?.parse() else { return Ok(None) };
    Ok(Some(KeptPass {
        service,
        certificate: row.get(1)?,
        private_key: row.get(2)?,
        door: Door::from_bytes(row.get(3)?),
        name: row.get(4)?,
        expires: row.get::<_, Option<i64>>(5)?.map(from_millis),
    }))
}
