//! The tables: what is kept, in which order it is given back, and when it is forgotten.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hardline_proto::KeyHash;
use hardline_proto::hosts::{HostList, HostPort, MAX_HOSTS};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use rusqlite_migration::{M, Migrations};

use super::{Origin, Remembered, RememberedService, StoreError};

/// Most services kept; the ones used longest ago are forgotten first. A person opens tens; a page
/// that embeds links to other services cannot fill the disk.
pub const MAX_SERVICES: usize = 1_000;

/// Most addresses kept of one service: a full list as it was told, and as many more at which it was
/// met.
pub const MAX_ADDRESSES: usize = 2 * MAX_HOSTS;

/// Age at which an address is dropped that neither worked nor was told since. More than a year, so
/// that the house used each summer is still found.
pub const ADDRESS_LIFETIME: Duration = Duration::from_secs(400 * 24 * 3600);

/// Longest title kept, in bytes; the limit of LAN discovery.
pub const MAX_TITLE: usize = 256;

/// News that repeats itself within this time is not written again: one page opens many connections,
/// and flash memory wears out.
pub const NEWS_RESOLUTION: Duration = Duration::from_secs(60);

/// How long one process waits for another that is writing. Writes take milliseconds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Numbered by their place: never change one that was released, add another.
const STEPS: &[M<'static>] = &[
    FIRST_STEP,
    super::dht_nodes::STEP,
    super::sequence::STEP,
    super::tunnels::STEP,
    super::visitors::STEP,
    super::passes::STEP,
];

const FIRST_STEP: M<'static> = M::up(
    "CREATE TABLE services (
        key     TEXT PRIMARY KEY,      -- 40 hexadecimal digits
        title   TEXT,
        used_at INTEGER NOT NULL       -- all times: milliseconds since 1970
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX services_used_at ON services (used_at);
     CREATE TABLE addresses (
        key       TEXT NOT NULL REFERENCES services (key) ON DELETE CASCADE,
        at        TEXT NOT NULL,       -- host:port
        origin    TEXT NOT NULL,       -- told, lan, given, imported
        rank      INTEGER NOT NULL,    -- place in the list it came in
        told_at   INTEGER NOT NULL,
        worked_at INTEGER,
        PRIMARY KEY (key, at)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE imports (
        source      TEXT PRIMARY KEY,
        imported_at INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;",
);
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);
const SCHEMA_VERSION: i64 = STEPS.len() as i64;

/// Those that worked last, then those told last, then as the listener ordered them.
const BEST_FIRST: &str = "worked_at DESC NULLS LAST, told_at DESC, rank, at";

/// An open database. Every change is one transaction, and committed when the call returns.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Takes over a connection: settings, migrations, pruning. `path` is for errors.
    pub(super) fn new(mut connection: Connection, path: &Path, now: SystemTime) -> Result<Self, StoreError> {
        let error = |source| StoreError::sqlite(path, source);
        connection.busy_timeout(BUSY_TIMEOUT).map_err(error)?;
        set_pragmas(&connection).map_err(error)?;
        check_integrity(&connection).map_err(error)?;
        migrate(&mut connection, path)?;
        let mut database = Self { connection, path: path.to_path_buf() };
        database.write(|tx| prune(tx, now))?;
        Ok(database)
    }

    pub(super) fn addresses(&self, key: KeyHash) -> Result<Vec<Remembered>, StoreError> {
        self.read(|connection| {
            let sql =
                format!("SELECT at, origin, told_at, worked_at FROM addresses WHERE key = ?1 ORDER BY {BEST_FIRST}");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([key.to_string()], |row| {
                Ok(remembered(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
            })?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    pub(super) fn services(&self) -> Result<Vec<RememberedService>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT key, title, at, origin, told_at, worked_at FROM services JOIN addresses USING (key)
                 ORDER BY used_at DESC, key, {BEST_FIRST}"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            let mut services: Vec<RememberedService> = Vec::new();
            while let Some(row) = rows.next()? {
                let Ok(key) = row.get::<_, String>(0)?.parse() else { continue };
                if services.last().is_none_or(|service| service.key != key) {
                    services.push(RememberedService { key, title: row.get(1)?, addresses: Vec::new() });
                }
                let address =
                    remembered(&row.get::<_, String>(2)?, &row.get::<_, String>(3)?, row.get(4)?, row.get(5)?);
                if let Some(service) = services.last_mut() {
                    service.addresses.extend(address);
                }
            }
            Ok(services)
        })
    }

    /// Replaces the list that the listener of `key` told before, the imported one included: that
    /// was an older list of the same listener. An empty list changes nothing: a listener that has
    /// just started does not know its addresses.
    pub(super) fn advertised(&mut self, now: SystemTime, key: KeyHash, hosts: &HostList) -> Result<(), StoreError> {
        if hosts.as_slice().is_empty() || self.was_told_just_now(now, key, hosts)? {
            return Ok(());
        }
        self.write(|tx| {
            replace_list(tx, now, key, Origin::Advertised, hosts)?;
            prune(tx, now)
        })
    }

    /// Notes that `at` led to the verified listener of `key`. An address that is known keeps its
    /// origin.
    pub(super) fn worked(
        &mut self,
        now: SystemTime,
        key: KeyHash,
        at: &HostPort,
        origin: Origin,
        title: Option<&str>,
    ) -> Result<(), StoreError> {
        let title = title.map(tidy_title).filter(|title| !title.is_empty());
        if self.worked_just_now(now, key, at, title.as_deref())? {
            return Ok(());
        }
        self.write(|tx| {
            touch_service(tx, now, key, title.as_deref())?;
            tx.prepare_cached(
                "INSERT INTO addresses (key, at, origin, rank, told_at, worked_at) VALUES (?1, ?2, ?3, 0, ?4, ?4)
                 ON CONFLICT (key, at) DO UPDATE SET worked_at = excluded.worked_at",
            )?
            .execute(params![key.to_string(), at.to_string(), origin_name(origin), millis(now)])?;
            trim_addresses(tx, key)?;
            prune(tx, now)
        })
    }

    pub(super) fn forget(&mut self, key: KeyHash) -> Result<bool, StoreError> {
        self.write(|tx| Ok(tx.execute("DELETE FROM services WHERE key = ?1", [key.to_string()])? > 0))
    }

    /// Whether [`import`](Self::import) has been called with this source.
    pub(super) fn was_imported(&self, source: &str) -> Result<bool, StoreError> {
        self.read(|connection| {
            connection.query_row("SELECT EXISTS (SELECT 1 FROM imports WHERE source = ?1)", [source], |row| row.get(0))
        })
    }

    /// Takes over lists from elsewhere, in one transaction with the note that it was done. Services
    /// that are known already are left as they are. Returns how many were taken over.
    pub(super) fn import(
        &mut self,
        now: SystemTime,
        source: &str,
        lists: &[(KeyHash, HostList)],
    ) -> Result<usize, StoreError> {
        self.write(|tx| {
            let mut taken = 0;
            for (key, hosts) in lists {
                let is_known: bool =
                    tx.query_row("SELECT EXISTS (SELECT 1 FROM services WHERE key = ?1)", [key.to_string()], |row| {
                        row.get(0)
                    })?;
                if !is_known {
                    replace_list(tx, now, *key, Origin::Imported, hosts)?;
                    taken += 1;
                }
            }
            prune(tx, now)?;
            tx.execute("INSERT OR REPLACE INTO imports VALUES (?1, ?2)", params![source, millis(now)])?;
            Ok(taken)
        })
    }

    fn was_told_just_now(&self, now: SystemTime, key: KeyHash, hosts: &HostList) -> Result<bool, StoreError> {
        let recent = self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT at FROM addresses WHERE key = ?1 AND origin = 'told' AND told_at BETWEEN ?2 AND ?3
                     ORDER BY rank",
                )?
                .query_map(params![key.to_string(), before(now, NEWS_RESOLUTION), millis(now)], |row| row.get(0))?
                .collect::<Result<Vec<String>, _>>()
        })?;
        Ok(recent == hosts.as_slice().iter().map(HostPort::to_string).collect::<Vec<_>>())
    }

    fn worked_just_now(
        &self,
        now: SystemTime,
        key: KeyHash,
        at: &HostPort,
        title: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM addresses JOIN services USING (key)
                     WHERE key = ?1 AND at = ?2 AND worked_at BETWEEN ?3 AND ?4 AND coalesce(?5 = title, ?5 IS NULL))",
                )?
                .query_row(
                    params![key.to_string(), at.to_string(), before(now, NEWS_RESOLUTION), millis(now), title],
                    |row| row.get(0),
                )
        })
    }

    pub(super) fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        query(&self.connection).map_err(|source| StoreError::sqlite(&self.path, source))
    }

    /// Whether what is written is there after the next start.
    pub(super) fn is_on_disk(&self) -> bool {
        self.connection.path().is_some_and(|path| !path.is_empty())
    }

    /// Says that the disk is full, as it was when this database was opened in memory.
    pub(super) fn full<T>(&self) -> Result<T, StoreError> {
        Err(StoreError::Full { path: self.path.clone() })
    }

    /// Runs `change` in a transaction that takes the write lock at once: one that took it later
    /// could find that another process wrote in between, and fail without waiting.
    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let path = &self.path;
        let run = || {
            let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = change(&tx)?;
            tx.commit()?;
            Ok(done)
        };
        run().map_err(|source| StoreError::sqlite(path, source))
    }
}

fn set_pragmas(connection: &Connection) -> rusqlite::Result<()> {
    // A commit is in the hands of the operating system when it returns, so a killed process loses
    // nothing. Only a power cut can lose the last few, which the next connection tells again;
    // `FULL` would wait for the disk on each of them. A kill loses nothing that was acknowledged; a
    // power cut may lose the last addresses, which are found again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Answers with the mode it got: in memory, and on file systems without shared memory, another
    // one.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    Ok(())
}

/// Reads the whole database, which is small, so that damage is found now and not in the middle of a
/// day.
fn check_integrity(connection: &Connection) -> rusqlite::Result<()> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(found)))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let error = |source| StoreError::sqlite(path, source);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(error)?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer { path: path.to_path_buf(), found, known: SCHEMA_VERSION });
    }
    MIGRATIONS.to_latest(connection).map_err(|cause| match cause {
        rusqlite_migration::Error::RusqliteError { err, .. } => error(err),
        other => error(rusqlite::Error::ToSqlConversionFailure(other.into())),
    })
}

/// Writes `hosts` as the list of `key`, and drops what an earlier list had more.
fn replace_list(
    tx: &Transaction<'_>,
    now: SystemTime,
    key: KeyHash,
    origin: Origin,
    hosts: &HostList,
) -> rusqlite::Result<()> {
    touch_service(tx, now, key, None)?;
    // Those of the old list that are in the new one keep the time they last worked.
    tx.execute("UPDATE addresses SET rank = -1 WHERE key = ?1 AND origin IN ('told', 'imported')", [key.to_string()])?;
    let mut upsert = tx.prepare_cached(
        "INSERT INTO addresses (key, at, origin, rank, told_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (key, at) DO UPDATE SET origin = excluded.origin, rank = excluded.rank, told_at = excluded.told_at",
    )?;
    for (rank, at) in hosts.as_slice().iter().enumerate() {
        upsert.execute(params![key.to_string(), at.to_string(), origin_name(origin), rank, millis(now)])?;
    }
    tx.execute("DELETE FROM addresses WHERE key = ?1 AND rank = -1", [key.to_string()])?;
    trim_addresses(tx, key)
}

fn touch_service(tx: &Transaction<'_>, now: SystemTime, key: KeyHash, title: Option<&str>) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO services (key, title, used_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET title = coalesce(excluded.title, title), used_at = excluded.used_at",
    )?
    .execute(params![key.to_string(), title, millis(now)])?;
    Ok(())
}

/// Keeps the [`MAX_ADDRESSES`] addresses of `key` with the latest news.
fn trim_addresses(tx: &Transaction<'_>, key: KeyHash) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "DELETE FROM addresses WHERE key = ?1 AND at IN (
            SELECT at FROM addresses WHERE key = ?1
            ORDER BY max(told_at, coalesce(worked_at, 0)) DESC, rank, at LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![key.to_string(), MAX_ADDRESSES])?;
    Ok(())
}

/// Drops addresses past their lifetime, services without addresses, and services past
/// [`MAX_SERVICES`].
fn prune(tx: &Transaction<'_>, now: SystemTime) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM addresses WHERE max(told_at, coalesce(worked_at, 0)) < ?1")?
        .execute([before(now, ADDRESS_LIFETIME)])?;
    tx.prepare_cached("DELETE FROM services WHERE key NOT IN (SELECT key FROM addresses)")?.execute([])?;
    tx.prepare_cached(
        "DELETE FROM services WHERE key IN (
            SELECT key FROM services ORDER BY used_at DESC, key LIMIT -1 OFFSET ?1)",
    )?
    .execute([MAX_SERVICES])?;
    Ok(())
}

/// A row as an address; `None` when a newer or a curious hand wrote something unknown here.
fn remembered(at: &str, origin: &str, told_at: i64, worked_at: Option<i64>) -> Option<Remembered> {
    Some(Remembered {
        at: at.parse().ok()?,
        origin: origin_of(origin)?,
        told_at: from_millis(told_at),
        worked_at: worked_at.map(from_millis),
    })
}

fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Advertised => "told",
        Origin::Lan => "lan",
        Origin::Static => "given",
        Origin::Dht => "dht",
        Origin::Imported => "imported",
    }
}

fn origin_of(name: &str) -> Option<Origin> {
    let all = [Origin::Advertised, Origin::Lan, Origin::Static, Origin::Dht, Origin::Imported];
    all.into_iter().find(|origin| origin_name(*origin) == name)
}

/// Without control characters, and no longer than [`MAX_TITLE`].
fn tidy_title(title: &str) -> String {
    let mut title: String = title.chars().filter(|c| !c.is_control()).collect();
    title.truncate(title.floor_char_boundary(MAX_TITLE));
    title
}

/// Milliseconds since 1970; 0 for earlier times.
pub(super) fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn before(now: SystemTime, age: Duration) -> i64 {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    millis(now).saturating_sub(age)
}

pub(super) fn from_millis(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
