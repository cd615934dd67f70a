//! Key hash → addresses at which its service was reached or said to be, kept across restarts in
//! SQLite.
//!
//! Only what came through a verified channel is written here, and no more rows than
//! [`MAX_SERVICES`] times [`MAX_ADDRESSES`]. A call that has returned survives `kill -9`. Several
//! processes may use one data folder.

mod database; // the tables: what is kept, in which order, for how long
mod dht_nodes; // where the DHT was entered last time
mod error; // what can be wrong, and what helps
mod import; // the Python program's `peers.db`
mod open; // a folder → an open database
mod passes; // private services elsewhere that this computer may open
mod sequence; // what was published last
mod tunnels; // which version of the tunnel was spoken last
mod visitors; // who may come in to private services of this computer
mod worker; // the thread that owns the connection

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hardline_proto::KeyHash;
use hardline_proto::hosts::{HostList, HostPort};

pub use database::{ADDRESS_LIFETIME, MAX_ADDRESSES, MAX_SERVICES, MAX_TITLE, NEWS_RESOLUTION};
pub use dht_nodes::MAX_DHT_NODES;
pub use error::StoreError;
pub use open::DATABASE_FILE;
pub use passes::{KeptPass, MAX_PASSES};
pub use sequence::SequenceNumber;
pub use visitors::{EnrolledVisitor, KeptInvitation, MAX_INVITATIONS, MAX_VISITORS, NewInvitation, Revoked};

use database::Database;
use worker::Worker;

/// Where a remembered address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `WANHosts` of the verified listener.
    Advertised,
    /// A LAN answer that led to the verified listener.
    Lan,
    /// A person, by hand, and the verified listener answered there.
    Static,
    /// The DHT or a proxy of it, and the verified listener answered there.
    Dht,
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
        to: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// Addresses were taken over from the Python program.
    Imported {
        /// Services taken over.
        services: usize,
        /// Rows that could not be understood, or that held no address.
        skipped: usize,
    },
    /// The database of the Python program could not be read. The next start tries again.
    NotImported {
        /// Where it is.
        from: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// The database cannot be written because the disk is full. What it holds is used; what is
    /// learned now is gone when the program ends.
    NotRemembering {
        /// Which disk, in words.
        reason: String,
    },
}

/// The store. Cheap to clone; all clones share one connection on a thread of its own, which ends
/// with the last clone.
///
/// Every call waits for the ones before it. Dropping the future of a call does not undo it.
#[derive(Debug, Clone)]
pub struct Store {
    worker: Worker,
}

impl Store {
    /// Opens or makes the database in `data_dir`. Imports `peers.db` of the Python program once
    /// when there is a file at `import_from`.
    ///
    /// # Errors
    /// [`StoreError`] when the folder or the database in it cannot be used. A damaged database, a
    /// full disk and a `peers.db` that cannot be read are notices instead.
    pub async fn open(data_dir: &Path, import_from: Option<&Path>) -> Result<(Self, Vec<StoreNotice>), StoreError> {
        let (data_dir, import_from) = (data_dir.to_path_buf(), import_from.map(Path::to_path_buf));
        let (worker, notices) = Worker::start(move || {
            let now = SystemTime::now();
            let (mut database, mut notices) = open::open(&data_dir, now)?;
            if let Some(from) = import_from {
                notices.extend(import_once(&mut database, now, &from)?);
            }
            Ok((database, notices))
        })
        .await?;
        Ok((Self { worker }, notices))
    }

    /// Addresses of `key`, best first: those that worked last, then those told last, then in the
    /// order they were told.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn addresses(&self, key: KeyHash) -> Result<Vec<Remembered>, StoreError> {
        self.worker.call(move |database| database.addresses(key)).await
    }

    /// Replaces what the verified listener of `key` told us (`WANHosts`). An empty list changes
    /// nothing: a listener that has just started may not know its addresses yet.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn advertised(&self, key: KeyHash, hosts: HostList) -> Result<(), StoreError> {
        self.worker.call(move |database| database.advertised(SystemTime::now(), key, &hosts)).await
    }

    /// Notes that the verified listener of `key` answered at `at` just now. An address that is
    /// known keeps its origin.
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
        self.worker.call(move |database| database.worked(SystemTime::now(), key, &at, origin, title.as_deref())).await
    }

    /// Every remembered service, the one used last first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn services(&self) -> Result<Vec<RememberedService>, StoreError> {
        self.worker.call(|database| database.services()).await
    }

    /// Forgets a service. Returns whether it was known.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forget(&self, key: KeyHash) -> Result<bool, StoreError> {
        self.worker.call(move |database| database.forget(key)).await
    }

    /// Ends what is pending, closes the database and waits for its thread. Calls on other clones
    /// then fail with [`StoreError::Closed`].
    pub async fn close(&self) {
        self.worker.close().await;
    }
}

/// Under this name the database notes that a `peers.db` was taken over: services forgotten later
/// must not come back.
const PYTHON_PROGRAM: &str = "hardlinep2p";

fn import_once(database: &mut Database, now: SystemTime, from: &Path) -> Result<Option<StoreNotice>, StoreError> {
    if !from.is_file() || database.was_imported(PYTHON_PROGRAM)? {
        return Ok(None);
    }
    let notice = match import::read_peers(from) {
        Ok(peers) => StoreNotice::Imported {
            services: database.import(now, PYTHON_PROGRAM, &peers.lists)?,
            skipped: peers.skipped,
        },
        Err(error) => StoreNotice::NotImported { from: from.to_path_buf(), reason: error.to_string() },
    };
    Ok(Some(notice))
}

#[cfg(test)]
mod tests;
