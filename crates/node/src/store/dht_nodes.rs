//! Nodes of the DHT that were good last time, so that a restart needs no bootstrap host.

use std::net::SocketAddr;

use rusqlite_migration::M;

use super::{Store, StoreError, database::Database};

/// Most nodes kept; some twenty of each family are more than enough to find one that is still
/// there.
pub const MAX_DHT_NODES: usize = 64;

pub(super) const STEP: M<'static> = M::up(
    "CREATE TABLE dht_nodes (
        addr TEXT PRIMARY KEY,         -- IP address and port
        rank INTEGER NOT NULL          -- place in the list, the best first
     ) STRICT, WITHOUT ROWID;",
);

impl Store {
    /// The nodes kept, best first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn dht_nodes(&self) -> Result<Vec<SocketAddr>, StoreError> {
        self.worker.call(|database| database.dht_nodes()).await
    }

    /// Replaces the nodes kept. What exceeds [`MAX_DHT_NODES`] is left out.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn set_dht_nodes(&self, nodes: Vec<SocketAddr>) -> Result<(), StoreError> {
        self.worker.call(move |database| database.set_dht_nodes(&nodes)).await
    }
}

impl Database {
    fn dht_nodes(&self) -> Result<Vec<SocketAddr>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT addr FROM dht_nodes ORDER BY rank")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            // A row that is no address, by whatever accident, is no reason to do without the
            // others.
            rows.map(|row| Ok(row?.parse().ok())).filter_map(Result::transpose).collect()
        })
    }

    fn set_dht_nodes(&mut self, nodes: &[SocketAddr]) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.execute("DELETE FROM dht_nodes", [])?;
            let mut insert = tx.prepare_cached("INSERT OR IGNORE INTO dht_nodes (addr, rank) VALUES (?1, ?2)")?;
            for (rank, node) in (0_i64..).zip(nodes.iter().take(MAX_DHT_NODES)) {
                insert.execute((node.to_string(), rank))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[tokio::test]
    async fn the_last_list_is_there_after_a_restart_in_its_order_and_bounded() {
        let folder = TempDir::new().unwrap();
        let (store, _) = Store::open(folder.path(), None).await.unwrap();
        assert_eq!(store.dht_nodes().await.unwrap(), []);
        store.set_dht_nodes(vec![([192, 0, 2, 1], 1).into()]).await.unwrap();
        let many: Vec<SocketAddr> = (1..200).rev().map(|port| ([192, 0, 2, 2], port).into()).collect();
        store.set_dht_nodes(many.clone()).await.unwrap();
        store.close().await;
        let (store, _) = Store::open(folder.path(), None).await.unwrap();
        assert_eq!(store.dht_nodes().await.unwrap(), many[..MAX_DHT_NODES]);
    }
}
