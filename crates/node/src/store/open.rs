//! A folder → an open database: permissions, the lock that lets one process open at a time, damaged
//! files moved aside.

use std::ffi::c_int;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::database::Database;
use super::{StoreError, StoreNotice};
use crate::system::private;

/// Name of the database in the data folder.
pub const DATABASE_FILE: &str = "store.sqlite3";

/// Name of the file that is locked while a process opens the database. It stays, because taking it
/// away would race with the next process.
const LOCK_FILE: &str = "store.lock";

/// How long to wait for other processes that are opening the database, and how often to look.
const OPEN_LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const OPEN_LOCK_POLL: Duration = Duration::from_millis(10);

/// Damaged databases kept beside the good one. Who has as many should look at the disk.
const MAX_MOVED_ASIDE: usize = 100;

/// Files that SQLite keeps beside a database; they belong to it and move with it.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// The first bytes of every SQLite database (<https://www.sqlite.org/fileformat.html>, section
/// 1.3).
const HEADER: &[u8] = b"SQLite format 3\0";

/// Opens or makes the database in `data_dir`. With a full disk the answer is a copy in memory, and
/// a notice.
pub(super) fn open(data_dir: &Path, now: SystemTime) -> Result<(Database, Vec<StoreNotice>), StoreError> {
    let path = data_dir.join(DATABASE_FILE);
    match open_on_disk(data_dir, &path, now) {
        Err(full @ StoreError::Full { .. }) => {
            let database = open_in_memory(&path, now)?;
            Ok((database, vec![StoreNotice::NotRemembering { reason: full.to_string() }]))
        }
        done => done,
    }
}

fn open_on_disk(data_dir: &Path, path: &Path, now: SystemTime) -> Result<(Database, Vec<StoreNotice>), StoreError> {
    let folder_error = |source: io::Error| match source.kind() {
        io::ErrorKind::StorageFull => StoreError::Full { path: path.to_path_buf() },
        _ => StoreError::Folder { path: data_dir.to_path_buf(), source },
    };
    private::make_folder(data_dir).map_err(folder_error)?;
    refuse_what_is_no_file(path)?;
    // Held until the database is open: moving a damaged one aside and migrating an old one are each
    // for one process.
    let _lock = lock(&data_dir.join(LOCK_FILE)).map_err(folder_error)?.ok_or(StoreError::Busy { path: path.into() })?;
    create_private(path).map_err(folder_error)?;

    let opened = match connect(path, now) {
        Err(StoreError::Damaged { source, .. }) => {
            let to = move_aside(path).map_err(|source| StoreError::MoveAside { path: path.into(), source })?;
            create_private(path).map_err(folder_error)?;
            let notice = StoreNotice::MovedAside { to, reason: source.to_string() };
            (connect(path, now)?, vec![notice])
        }
        done => (done?, Vec::new()),
    };
    // They last for as long as somebody has the database open.
    private::protect_companions(&with_suffix(path, "-"));
    Ok(opened)
}

/// A database in memory that begins with what the one at `path` holds, as far as that can be read.
fn open_in_memory(path: &Path, now: SystemTime) -> Result<Database, StoreError> {
    let memory = || Connection::open_in_memory().map_err(|source| StoreError::sqlite(path, source));
    let mut copy = memory()?;
    let connection = match copy_to(path, &mut copy) {
        Ok(()) => copy,
        Err(error) => {
            tracing::warn!(%error, "remembered addresses not read");
            memory()?
        }
    };
    Database::new(connection, path, now)
}

fn copy_to(path: &Path, to: &mut Connection) -> rusqlite::Result<()> {
    // An immutable database is read without the `-shm` file, for which there is no room.
    let uri = format!("file:{}?immutable=1", percent_encode(path.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC));
    let from = Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)?;
    Backup::new(&from, to)?.run_to_completion(c_int::MAX, Duration::ZERO, None)
}

fn connect(path: &Path, now: SystemTime) -> Result<Database, StoreError> {
    let error = |source| StoreError::sqlite(path, source);
    check_header(path).map_err(error)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(error)?;
    Database::new(connection, path, now)
}

/// Looks at the first bytes before SQLite does: SQLite would delete the write-ahead log beside a
/// file that is none of its own, and the last transactions with it. What cannot be read is left for
/// SQLite to report.
fn check_header(path: &Path) -> rusqlite::Result<()> {
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEADER.len() as u64).read_to_end(&mut header));
    if read.is_err() || header.is_empty() || header == HEADER {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
    Err(rusqlite::Error::SqliteFailure(code, Some("file is not a database".to_owned())))
}

/// SQLite's own words for a folder in its place are "unable to open database file".
fn refuse_what_is_no_file(path: &Path) -> Result<(), StoreError> {
    let Ok(found) = fs::metadata(path) else { return Ok(()) };
    if found.is_file() {
        return Ok(());
    }
    let found = if found.is_dir() { "a folder" } else { "not an ordinary file" };
    Err(StoreError::NotAFile { path: path.to_path_buf(), found })
}

/// Takes the lock; `None` when others kept it for [`OPEN_LOCK_TIMEOUT`]. Dropping the file gives it
/// back.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = private::options().create(true).truncate(false).open(path)?;
    let deadline = Instant::now() + OPEN_LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(OPEN_LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Ok(None),
        }
    }
}

/// Makes the database when it is missing, and takes the rights of others away from one that is
/// there: it tells whom its owner visits.
fn create_private(path: &Path) -> io::Result<()> {
    let is_new = !path.exists();
    let file = private::options().create(true).truncate(false).open(path)?;
    if is_new || private::is_open_to_others(path) { private::protect(&file, path) } else { Ok(()) }
}

/// Renames the database and its companions to a free name, and returns that name.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let free = (1..=MAX_MOVED_ASIDE)
        .map(|n| with_suffix(path, &format!(".damaged-{n}")))
        .find(|to| !to.exists() && COMPANIONS.iter().all(|suffix| !with_suffix(to, suffix).exists()))
        .ok_or_else(|| io::Error::other(format!("{MAX_MOVED_ASIDE} damaged databases are there already")))?;
    // The companions first: left behind, they would be taken for those of the new database.
    for suffix in COMPANIONS {
        match fs::rename(with_suffix(path, suffix), with_suffix(&free, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, &free)?;
    Ok(free)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
