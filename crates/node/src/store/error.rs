//! What can be wrong with the store, and what a person can do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store cannot be used. The text names the file and the cause; [`remedy`](Self::remedy)
/// says what helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder is missing and cannot be made, or nothing can be written in it.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder, a socket or a device is where the database should be.
    #[error("{} is {found}, and the database should be there", path.display())]
    NotAFile {
        /// What is in the way.
        path: PathBuf,
        /// What it is, with its article.
        found: &'static str,
    },
    /// This user may not read or write the database.
    #[error("not allowed to write the database {}", path.display())]
    Denied {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The database was written by a newer version of this program.
    #[error("the database {} has version {found}, this program knows up to version {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// There is no room left on the disk.
    #[error("no room left on the disk for the database {}", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Another process kept the database to itself for too long.
    #[error("another process does not let go of the database {}", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The content of the database makes no sense.
    #[error("the database {} is damaged", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A damaged database could not be moved aside.
    #[error("cannot move the damaged database {} aside", path.display())]
    MoveAside {
        /// The database.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else that SQLite reports.
    #[error("the database {} failed", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The store was closed before it was asked.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// What a person can do about it, as a sentence without its full stop.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "make the folder writable for this user, or choose another data folder",
            Self::NotAFile { .. } => "move it away, or choose another data folder",
            Self::Denied { .. } => {
                "make the database and its folder writable for this user, or choose another data folder"
            }
            Self::Newer { .. } => "update this program, or choose another data folder",
            Self::Full { .. } => "free some room on that disk; until then nothing new is remembered",
            Self::Busy { .. } => "stop the other process, or choose another data folder",
            Self::Damaged { .. } => "start the program again: a damaged database is then moved aside",
            Self::MoveAside { .. } => "move the database away by hand, or choose another data folder",
            Self::Database { .. } => "check the disk, or choose another data folder",
            Self::Closed => "start the node again",
        }
    }

    /// Sorts an error of SQLite about the database at `path`.
    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(_) if is_full_shared_memory(&source) => Self::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::Denied { path, source }
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { path, source },
            _ => Self::Database { path, source },
        }
    }
}

/// Whether SQLite could not make room for its `-shm` file. It reports a full disk there as an I/O
/// error.
fn is_full_shared_memory(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}
