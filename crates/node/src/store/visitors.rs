//! Visitors of this computer's private services, and invitations: who may come in, until when.
//!
//! Commands and the program that serves meet here: each change counts a generation up, which who
//! serves looks at. What is changed here is on the disk when the call returns, also across a power
//! cut: a revocation must not be undone by one.

use std::time::SystemTime;

use hardline_proto::KeyHash;
use hardline_proto::visitors::{Door, Enrolled, Known, Outcome, Refused, Secret, State, redeem, visitor_name};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use rusqlite_migration::M;

use super::database::{Database, from_millis, millis};
use super::{Store, StoreError};

/// Most visitors of one service.
pub const MAX_VISITORS: usize = 10_000;

/// Most invitations kept of one service, those that have ended included: the oldest are forgotten.
pub const MAX_INVITATIONS: usize = 1_000;

/// What ends an invitation for good, in milliseconds after its time was over: until then who has it
/// is told why it is not good.
const TOLD_MS: i64 = 30 * 24 * 3600 * 1000;

/// Revocations kept, for who serves to answer.
const MAX_REVOCATIONS: usize = 1_000;

pub(super) const STEP: M<'static> = M::up(
    "CREATE TABLE visitors (
        service    TEXT NOT NULL,      -- 40 hexadecimal digits
        key        TEXT NOT NULL,      -- the visitor's own, the same
        name       TEXT NOT NULL,
        door       BLOB NOT NULL,
        invitation INTEGER NOT NULL,
        since      INTEGER NOT NULL,
        expires    INTEGER,
        seen       INTEGER,
        seen_over  TEXT,
        PRIMARY KEY (service, key)
     ) STRICT, WITHOUT ROWID;
     CREATE UNIQUE INDEX visitors_name ON visitors (service, name);
     CREATE TABLE invitations (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        service  TEXT NOT NULL,
        door     BLOB NOT NULL,
        digest   BLOB NOT NULL,
        name     TEXT,
        uses     INTEGER NOT NULL,     -- that are left
        expires  INTEGER NOT NULL,
        stay     INTEGER,              -- milliseconds that who comes by it may stay
        revoked  INTEGER NOT NULL DEFAULT 0
     ) STRICT;
     CREATE TABLE revocations (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        service TEXT NOT NULL,
        key     TEXT NOT NULL,
        ended   INTEGER                -- tunnels, as who serves says
     ) STRICT;
     CREATE TABLE visitors_generation (
        id         INTEGER PRIMARY KEY CHECK (id = 1),
        generation INTEGER NOT NULL
     ) STRICT;
     INSERT INTO visitors_generation (id, generation) VALUES (1, 0);",
);

/// Somebody who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolledVisitor {
    /// The service.
    pub service: KeyHash,
    /// The hash of its certificate.
    pub key: KeyHash,
    /// What it is called; unique within the service.
    pub name: String,
    /// What it shows in its ClientHello.
    pub door: Door,
    /// Since when.
    pub since: SystemTime,
    /// Until when; `None` until it is revoked.
    pub expires: Option<SystemTime>,
    /// When it was here last, to the minute, and over what.
    pub seen: Option<(SystemTime, String)>,
}

/// An invitation to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvitation {
    /// To which service.
    pub service: KeyHash,
    /// What it is redeemed by; not kept.
    pub secret: Secret,
    /// What who redeems it is called.
    pub name: Option<String>,
    /// How many may be enrolled by it.
    pub uses: u32,
    /// Until when.
    pub expires: SystemTime,
    /// How long who redeems it may come in; `None` until it is revoked.
    pub stay: Option<std::time::Duration>,
}

/// An invitation, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptInvitation {
    /// Its number.
    pub id: i64,
    /// To which service.
    pub service: KeyHash,
    /// Through which door who has it comes to redeem it.
    pub door: Door,
    /// Of its secret.
    pub digest: [u8; KeyHash::LEN],
    /// What who redeems it is called.
    pub name: Option<String>,
    /// What is left of it.
    pub state: State,
}

/// What came of a revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its number, to ask [`Store::revocation_ended`] for.
    pub id: Option<i64>,
    /// Invitations that were taken back with it, and were still good for somebody.
    pub invitations: usize,
}

impl Store {
    /// A number that grows with each change of who may come in.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn visitors_generation(&self) -> Result<i64, StoreError> {
        self.worker
            .call(|database| {
                database.read(|connection| {
                    connection
                        .prepare_cached("SELECT generation FROM visitors_generation")?
                        .query_row([], |row| row.get(0))
                })
            })
            .await
    }

    /// The visitors of `service`, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn visitors(&self, service: KeyHash) -> Result<Vec<EnrolledVisitor>, StoreError> {
        self.worker.call(move |database| database.read(|connection| visitors(connection, service))).await
    }

    /// The invitations to `service` that are not forgotten, in the order in which they were made.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn invitations(&self, service: KeyHash) -> Result<Vec<KeptInvitation>, StoreError> {
        self.worker.call(move |database| database.read(|connection| invitations(connection, service))).await
    }

    /// The services that have visitors or invitations.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn private_services(&self) -> Result<Vec<KeyHash>, StoreError> {
        self.worker
            .call(|database| {
                database.read(|connection| {
                    let sql = "SELECT service FROM visitors UNION SELECT service FROM invitations";
                    let mut statement = connection.prepare(sql)?;
                    let keys = statement.query_map([], |row| row.get::<_, String>(0))?;
                    Ok(keys.filter_map(|key| key.ok()?.parse().ok()).collect())
                })
            })
            .await
    }

    /// Writes an invitation down, and returns its number.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn invite(&self, invitation: NewInvitation) -> Result<i64, StoreError> {
        self.worker.call(move |database| database.write_durably(|tx| invite(tx, &invitation, SystemTime::now()))).await
    }

    /// Redeems the invitation `id` for the visitor's `key`, which says `door` and would like to be
    /// called `name`. The whole of it happens, or nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn redeem(
        &self,
        id: i64,
        key: KeyHash,
        door: Door,
        name: Option<String>,
    ) -> Result<Result<Enrolled, Refused>, StoreError> {
        let now = SystemTime::now();
        self.worker
            .call(move |database| database.write_durably(|tx| redeem_in(tx, now, id, key, &door, name.as_deref())))
            .await
    }

    /// Takes the visitor `name` of `service` out, with the invitation that it came by and those
    /// that are made out to that name. `None` if there is neither.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn revoke(&self, service: KeyHash, name: String) -> Result<Option<Revoked>, StoreError> {
        self.worker.call(move |database| database.write_durably(|tx| revoke(tx, service, &name))).await
    }

    /// Takes the invitation `id` to `service` back. Returns whether there is one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn revoke_invitation(&self, service: KeyHash, id: i64) -> Result<bool, StoreError> {
        self.worker
            .call(move |database| {
                database.write_durably(|tx| {
                    changed(tx)?;
                    let sql = "UPDATE invitations SET revoked = 1 WHERE service = ?1 AND id = ?2";
                    Ok(tx.execute(sql, params![service.to_string(), id])? > 0)
                })
            })
            .await
    }

    /// How many tunnels the revocation `id` has ended; `None` until who serves has said so.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn revocation_ended(&self, id: i64) -> Result<Option<u64>, StoreError> {
        self.worker
            .call(move |database| {
                database.read(|connection| {
                    connection
                        .prepare_cached("SELECT ended FROM revocations WHERE id = ?1")?
                        .query_row([id], |row| row.get::<_, Option<u64>>(0))
                        .optional()
                        .map(Option::flatten)
                })
            })
            .await
    }

    /// Visitors of `service` who were revoked, and of whom nobody has said what that ended.
    pub(crate) async fn unanswered_revocations(&self, service: KeyHash) -> Result<Vec<KeyHash>, StoreError> {
        self.worker
            .call(move |database| {
                database.read(|connection| {
                    let sql = "SELECT DISTINCT key FROM revocations WHERE service = ?1 AND ended IS NULL";
                    let mut statement = connection.prepare_cached(sql)?;
                    let keys = statement.query_map([service.to_string()], |row| row.get::<_, String>(0))?;
                    Ok(keys.filter_map(|key| key.ok()?.parse().ok()).collect())
                })
            })
            .await
    }

    /// Notes that who serves `service` has ended so many `tunnels` of the visitor `key`, which is
    /// revoked.
    pub(crate) async fn note_ended(&self, service: KeyHash, key: KeyHash, tunnels: u64) -> Result<(), StoreError> {
        self.worker
            .call(move |database| {
                database.write(|tx| {
                    let sql = "UPDATE revocations SET ended = ?3 WHERE service = ?1 AND key = ?2 AND ended IS NULL";
                    tx.execute(sql, params![service.to_string(), key.to_string(), tunnels]).map(drop)
                })
            })
            .await
    }

    /// Notes when visitors were here last, and over what.
    pub(crate) async fn note_seen(&self, seen: Vec<(KeyHash, KeyHash, SystemTime, String)>) -> Result<(), StoreError> {
        self.worker
            .call(move |database| {
                database.write(|tx| {
                    let mut update = tx.prepare_cached(
                        "UPDATE visitors SET seen = ?3, seen_over = ?4 WHERE service = ?1 AND key = ?2",
                    )?;
                    seen.iter().try_for_each(|(service, key, at, over)| {
                        let values = params![service.to_string(), key.to_string(), millis(*at), over];
                        update.execute(values).map(drop)
                    })
                })
            })
            .await
    }

    /// Gives the visitor `name` of `service` another name. `None` if nobody has the first,
    /// `Some(false)` if somebody has the second.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn rename_visitor(&self, service: KeyHash, name: String, to: String) -> Result<Option<bool>, StoreError> {
        self.worker.call(move |database| database.write_durably(|tx| rename(tx, service, &name, &to))).await
    }
}

impl Database {
    /// As [`write`](Self::write), and waits for the disk.
    pub(super) fn write_durably<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if !self.is_on_disk() {
            return self.full();
        }
        let set = |database: &Self, mode| database.read(|it| it.pragma_update(None, "synchronous", mode));
        set(self, "FULL")?;
        let done = self.write(change);
        set(self, "NORMAL")?;
        done
    }
}

fn changed(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute("UPDATE visitors_generation SET generation = generation + 1", []).map(drop)
}

fn visitors(connection: &Connection, service: KeyHash) -> rusqlite::Result<Vec<EnrolledVisitor>> {
    let sql = "SELECT key, name, door, since, expires, seen, seen_over FROM visitors WHERE service = ?1 ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| -> rusqlite::Result<Option<EnrolledVisitor>> {
        let Ok(key) = row.get::<_, String>(0)?.parse() else { return Ok(None) };
        let seen: Option<i64> = row.get(5)?;
        Ok(Some(EnrolledVisitor {
            service,
            key,
            name: row.get(1)?,
            door: Door::from_bytes(row.get(2)?),
            since: from_millis(row.get(3)?),
            expires: row.get::<_, Option<i64>>(4)?.map(from_millis),
            seen: seen.map(from_millis).zip(row.get(6)?),
        }))
    };
    statement.query_map([service.to_string()], read)?.filter_map(Result::transpose).collect()
}

fn invitations(connection: &Connection, service: KeyHash) -> rusqlite::Result<Vec<KeptInvitation>> {
    let sql = "SELECT id, service, door, digest, name, uses, expires, stay, revoked FROM invitations
               WHERE service = ?1 ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([service.to_string()], |row| kept(row, service))?.collect()
}

fn kept(row: &Row<'_>, service: KeyHash) -> rusqlite::Result<KeptInvitation> {
    let state = State { uses: row.get(5)?, expires_ms: row.get(6)?, stay_ms: row.get(7)?, is_revoked: row.get(8)? };
    let (door, digest) = (Door::from_bytes(row.get(2)?), row.get(3)?);
    Ok(KeptInvitation { id: row.get(0)?, service, door, digest, name: row.get(4)?, state })
}

fn invite(tx: &Transaction<'_>, new: &NewInvitation, now: SystemTime) -> rusqlite::Result<i64> {
    changed(tx)?;
    let service = new.service.to_string();
    let stay = new.stay.map(|stay| i64::try_from(stay.as_millis()).unwrap_or(i64::MAX));
    let sql = "INSERT INTO invitations (service, door, digest, name, uses, expires, stay)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (door, digest) = (new.secret.door(), new.secret.digest());
    let name = new.name.as_deref().and_then(visitor_name);
    tx.execute(sql, params![service, door.as_bytes(), digest, name, new.uses, millis(new.expires), stay])?;
    let id = tx.last_insert_rowid();
    tx.execute("DELETE FROM invitations WHERE expires < ?1", [millis(now).saturating_sub(TOLD_MS)])?;
    tx.execute(
        "DELETE FROM invitations WHERE service = ?1 AND id IN (
            SELECT id FROM invitations WHERE service = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
        params![service, MAX_INVITATIONS],
    )?;
    Ok(id)
}

fn redeem_in(
    tx: &Transaction<'_>,
    now: SystemTime,
    id: i64,
    key: KeyHash,
    door: &Door,
    name: Option<&str>,
) -> rusqlite::Result<Result<Enrolled, Refused>> {
    let sql = "SELECT id, service, door, digest, name, uses, expires, stay, revoked FROM invitations WHERE id = ?1";
    let read = |row: &Row<'_>| {
        let service: Option<KeyHash> = row.get::<_, String>(1)?.parse().ok();
        service.map(|service| kept(row, service)).transpose()
    };
    let Some(kept) = tx.query_row(sql, [id], read).optional()?.flatten() else { return Ok(Err(Refused::Unknown)) };
    let service = kept.service.to_string();
    // Those who had to go are not there any more, whatever they were invited by.
    tx.execute("DELETE FROM visitors WHERE service = ?1 AND expires <= ?2", params![service, millis(now)])?;
    let sql = "SELECT name, expires, invitation FROM visitors WHERE service = ?1 AND key = ?2";
    let known = tx
        .query_row(sql, params![service, key.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<u64>>(1)?, row.get::<_, i64>(2)? == id))
        })
        .optional()?;
    let count: usize =
        tx.query_row("SELECT count(*) FROM visitors WHERE service = ?1", [&service], |row| row.get(0))?;
    let is_known = known.as_ref().map(|(.., is_by_this)| if *is_by_this { Known::ByThis } else { Known::ByAnother });
    let now_ms = u64::try_from(millis(now)).unwrap_or_default();
    let (uses, expires_ms) = match (redeem(&kept.state, is_known, count < MAX_VISITORS, now_ms), &known) {
        (Err(refused), _) => return Ok(Err(refused)),
        (Ok(Outcome::Again), Some((name, expires_ms, _))) => {
            return Ok(Ok(Enrolled { name: name.clone(), expires_ms: *expires_ms }));
        }
        (Ok(Outcome::Again), None) => return Ok(Err(Refused::Unknown)),
        (Ok(Outcome::Enrol { uses, expires_ms }), _) => (uses, expires_ms),
    };
    changed(tx)?;
    tx.execute("UPDATE invitations SET uses = ?2 WHERE id = ?1", params![id, uses])?;
    let wanted = kept.name.or_else(|| name.and_then(visitor_name)).unwrap_or_else(|| "visitor".to_owned());
    let name = match known {
        Some((name, ..)) => name,
        None => free_name(tx, &service, &wanted)?,
    };
    let sql = "INSERT INTO visitors (service, key, name, door, invitation, since, expires)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT (service, key) DO UPDATE SET door = excluded.door, invitation = excluded.invitation,
                   expires = excluded.expires";
    let row = params![service, key.to_string(), name, door.as_bytes(), id, millis(now), expires_ms];
    tx.execute(sql, row)?;
    Ok(Ok(Enrolled { name, expires_ms }))
}

/// `wanted`, or that with a number behind it if somebody has it.
fn free_name(tx: &Transaction<'_>, service: &str, wanted: &str) -> rusqlite::Result<String> {
    let mut is_taken = tx.prepare_cached("SELECT 1 FROM visitors WHERE service = ?1 AND name = ?2")?;
    let mut name = wanted.to_owned();
    // Ends: there are no more visitors than so many.
    for number in 2.. {
        if !is_taken.exists([service, &name])? {
            break;
        }
        name = format!("{wanted}-{number}");
    }
    Ok(name)
}

fn revoke(tx: &Transaction<'_>, service: KeyHash, name: &str) -> rusqlite::Result<Option<Revoked>> {
    let service = service.to_string();
    let sql = "DELETE FROM visitors WHERE service = ?1 AND name = ?2 RETURNING key, invitation";
    let gone: Option<(String, i64)> =
        tx.query_row(sql, [&service, name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let by = gone.as_ref().map(|(_, invitation)| *invitation);
    let sql = "SELECT count(*) FROM invitations
               WHERE service = ?1 AND (name = ?2 OR id = ?3) AND revoked = 0 AND uses > 0";
    let invitations: usize = tx.query_row(sql, params![service, name, by], |row| row.get(0))?;
    let sql = "UPDATE invitations SET revoked = 1 WHERE service = ?1 AND (name = ?2 OR id = ?3)";
    tx.execute(sql, params![service, name, by])?;
    if gone.is_none() && invitations == 0 {
        return Ok(None);
    }
    changed(tx)?;
    let id = gone.map(|(key, _)| note_revocation(tx, &service, &key)).transpose()?;
    Ok(Some(Revoked { id, invitations }))
}

fn note_revocation(tx: &Transaction<'_>, service: &str, key: &str) -> rusqlite::Result<i64> {
    tx.execute("INSERT INTO revocations (service, key) VALUES (?1, ?2)", [service, key])?;
    let id = tx.last_insert_rowid();
    tx.execute("DELETE FROM revocations WHERE id <= (SELECT max(id) FROM revocations) - ?1", [MAX_REVOCATIONS])?;
    Ok(id)
}

fn rename(tx: &Transaction<'_>, service: KeyHash, name: &str, to: &str) -> rusqlite::Result<Option<bool>> {
    let service = service.to_string();
    let mut is_there = tx.prepare("SELECT 1 FROM visitors WHERE service = ?1 AND name = ?2")?;
    if !is_there.exists([&service, name])? {
        return Ok(None);
    }
    if is_there.exists([&service, to])? {
        return Ok(Some(false));
    }
    changed(tx)?;
    tx.execute("UPDATE visitors SET name = ?3 WHERE service = ?1 AND name = ?2", [&service, name, to])?;
    Ok(Some(true))
}
