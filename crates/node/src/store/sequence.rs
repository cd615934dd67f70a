//! Who publishes, and how often it has: what tells a sealed record of today from one of yesterday,
//! across restarts.

use rusqlite_migration::M;

use super::{Store, StoreError, database::Database};

pub(super) const STEP: M<'static> = M::up(
    "CREATE TABLE publisher (
        id        INTEGER PRIMARY KEY CHECK (id = 1),
        publisher INTEGER NOT NULL,    -- random number of this data folder
        sequence  INTEGER NOT NULL     -- of the last record issued
     ) STRICT;",
);

/// What a sealed record is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceNumber {
    /// Random number of this data folder.
    pub publisher: u64,
    /// Higher than every one before.
    pub sequence: u64,
}

impl Store {
    /// The next number: its sequence is `now_ms`, Unix time in milliseconds, or one more than the
    /// last where the clock was set back. `fresh` is the publisher's number if there is none yet.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn next_sequence(&self, now_ms: u64, fresh: u64) -> Result<SequenceNumber, StoreError> {
        self.worker.call(move |database| database.next_sequence(now_ms, fresh)).await
    }
}

impl Database {
    fn next_sequence(&mut self, now_ms: u64, fresh: u64) -> Result<SequenceNumber, StoreError> {
        // SQLite's integers have a sign.
        let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
        self.write(|tx| {
            let sql = "INSERT INTO publisher (id, publisher, sequence) VALUES (1, ?1, ?2)
                       ON CONFLICT (id) DO UPDATE SET sequence = MAX(sequence + 1, excluded.sequence)
                       RETURNING publisher, sequence";
            tx.query_row(sql, ((fresh >> 1).cast_signed(), now), |row| {
                let (publisher, sequence): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok(SequenceNumber { publisher: publisher.cast_unsigned(), sequence: sequence.cast_unsigned() })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[tokio::test]
    async fn the_sequence_rises_across_restarts_and_when_the_clock_is_set_back() {
        let folder = TempDir::new().unwrap();
        let (store, _) = Store::open(folder.path(), None).await.unwrap();
        let first = store.next_sequence(1000, u64::MAX).await.unwrap();
        assert_eq!(first, SequenceNumber { publisher: u64::MAX >> 1, sequence: 1000 });
        assert_eq!(store.next_sequence(1000, 7).await.unwrap(), SequenceNumber { sequence: 1001, ..first });
        store.close().await;
        let (store, _) = Store::open(folder.path(), None).await.unwrap();
        assert_eq!(store.next_sequence(5, 7).await.unwrap(), SequenceNumber { sequence: 1002, ..first });
        assert_eq!(store.next_sequence(2000, 7).await.unwrap(), SequenceNumber { sequence: 2000, ..first });
    }
}
