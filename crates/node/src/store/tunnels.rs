//! Which version of the tunnel each service spoke last: whether it may be called by its hidden name
//! at once.

use hardline_proto::KeyHash;
use rusqlite::{OptionalExtension as _, params};
use rusqlite_migration::M;

use super::{Store, StoreError, database::Database};

pub(super) const STEP: M<'static> = M::up("ALTER TABLE services ADD COLUMN tunnel INTEGER;");

impl Store {
    /// The version of the tunnel that the verified listener of `key` spoke last, if it is
    /// remembered.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn tunnel(&self, key: KeyHash) -> Result<Option<u16>, StoreError> {
        self.worker.call(move |database| database.tunnel(key)).await
    }

    /// Notes the version of the tunnel that the verified listener of `key` spoke. One that is not
    /// remembered is left out.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn spoke(&self, key: KeyHash, version: u16) -> Result<(), StoreError> {
        self.worker.call(move |database| database.spoke(key, version)).await
    }
}

impl Database {
    fn tunnel(&self, key: KeyHash) -> Result<Option<u16>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT tunnel FROM services WHERE key = ?1")?
                .query_row([key.to_string()], |row| row.get(0))
                .optional()
                .map(Option::flatten)
        })
    }

    fn spoke(&mut self, key: KeyHash, version: u16) -> Result<(), StoreError> {
        if self.tunnel(key)? == Some(version) {
            return Ok(());
        }
        self.write(|tx| {
            tx.prepare_cached("UPDATE services SET tunnel = ?2 WHERE key = ?1")?
                .execute(params![key.to_string(), version])
                .map(drop)
        })
    }
}
