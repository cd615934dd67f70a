//! Key hash → addresses at which its service was reached or said to be, kept across restarts. SQLite.

use std::path::Path;
use std::time::SystemTime;

use hardline_proto::KeyHash;
use hardline_proto::hosts::{HostList, HostPort};

/// Where a remembered address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `WANHosts` of the verified listener.
    Told,
    /// A LAN answer that led to the verified listener.
    Lan,
    /// A person, by hand, and the verified listener answered there.
    Given,
    /// The database of the Python program.
    Imported,
}

/// One remembered address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Where.
    pub at: HostPort,
    /// Where the address comes from.
    pub origin: Origin,
    /// When it was last told to us.
    pub told_at: SystemTime,
    /// When the verified listener last answered there.
    pub worked_at: Option<SystemTime>,
}

/// One remembered service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedService {
    /// Its name.
    pub key: KeyHash,
    /// Its title on the LAN, if it was seen there after it had been verified.
    pub title: Option<String>,
    /// Its addresses, best first.
    pub addresses: Vec<Remembered>,
}

/// What a person should hear about opening the store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreNotice {
    /// The database could not be read; it was moved aside and a new one begun.
    MovedAside {
        /// Where the old one is now.
        to: std::path::PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// Addresses were taken over from the Python program.
    Imported {
        /// Services taken over.
        services: usize,
    },
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// To be refined.
    #[error("store")]
    Todo,
}

/// The store. Cheap to clone; all clones share one connection on a thread of its own.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Opens or makes the database in `data_dir`. Imports `peers.db` of the Python program once when `import_from` has
    /// it.
    ///
    /// # Errors
    /// [`StoreError`] when the folder cannot be used.
    pub async fn open(data_dir: &Path, import_from: Option<&Path>) -> Result<(Self, Vec<StoreNotice>), StoreError> {
        let _ = (data_dir, import_from);
        todo!()
    }

    /// Addresses of `key`, best first: those that worked last, then those told last.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn addresses(&self, key: KeyHash) -> Result<Vec<Remembered>, StoreError> {
        let _ = key;
        todo!()
    }

    /// Replaces what the verified listener of `key` told us (`WANHosts`).
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn told(&self, key: KeyHash, hosts: HostList) -> Result<(), StoreError> {
        let _ = (key, hosts);
        todo!()
    }

    /// Notes that the verified listener of `key` answered at `at` just now.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn worked(
        &self,
        key: KeyHash,
        at: HostPort,
        origin: Origin,
        title: Option<String>,
    ) -> Result<(), StoreError> {
        let _ = (key, at, origin, title);
        todo!()
    }

    /// Every remembered service, the one that worked last first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn services(&self) -> Result<Vec<RememberedService>, StoreError> {
        todo!()
    }

    /// Forgets a service. Returns whether it was known.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forget(&self, key: KeyHash) -> Result<bool, StoreError> {
        let _ = key;
        todo!()
    }

    /// Writes what is pending and closes the database.
    pub async fn close(&self) {
        todo!()
    }
}
