//! The Python program's `peers.db` → lists of addresses by key hash.
//!
//! Its one table is `peers (serviceID text, info text)`, without a key: `serviceID` is the label in
//! front of `.localhost` as it was visited, `KEYHASH` or `freetext-KEYHASH`; `info` is
//! `{"WANHosts": "host:port,host:port"}`, as the verified listener told it.

use std::collections::BTreeMap;
use std::path::Path;

use hardline_proto::KeyHash;
use hardline_proto::hosts::{HostList, HostPort};
use rusqlite::{Connection, OpenFlags};

use super::database::{BUSY_TIMEOUT, MAX_SERVICES};

/// Most rows looked at: each service may be there under several free texts.
const MAX_ROWS: usize = 4 * MAX_SERVICES;

/// Longest `serviceID` read, in bytes: a host name is not longer.
const MAX_SERVICE_ID: usize = 253;

/// Longest `info` read, in bytes: the Python program stored what a preamble held.
const MAX_INFO: usize = 8 * 1024;

/// What a `peers.db` holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Peers {
    /// Lists by key, those of one key joined.
    pub(super) lists: Vec<(KeyHash, HostList)>,
    /// Rows that could not be understood.
    pub(super) skipped: usize,
}

/// Reads a `peers.db` without changing it.
pub(super) fn read_peers(path: &Path) -> rusqlite::Result<Peers> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The newest rows count when there are too many. What is too long or no text comes out as NULL,
    // unread.
    let mut statement = connection.prepare(
        "SELECT iif(typeof(serviceID) = 'text' AND octet_length(serviceID) <= ?1, serviceID, NULL),
                iif(typeof(info) = 'text' AND octet_length(info) <= ?2, info, NULL)
         FROM peers ORDER BY rowid DESC LIMIT ?3",
    )?;
    let mut rows = statement.query([MAX_SERVICE_ID, MAX_INFO, MAX_ROWS])?;

    let mut hosts: BTreeMap<KeyHash, Vec<HostPort>> = BTreeMap::new();
    let mut skipped = 0;
    while let Some(row) = rows.next()? {
        // Text in SQLite need not be UTF-8, so it is taken as bytes.
        let id = row.get_ref(0)?.as_bytes_or_null()?;
        let info = row.get_ref(1)?.as_bytes_or_null()?;
        match id.zip(info).and_then(|(id, info)| read_row(id, info)) {
            Some((key, list)) => hosts.entry(key).or_default().extend_from_slice(list.as_slice()),
            None => skipped += 1,
        }
    }
    let lists = hosts.into_iter().map(|(key, hosts)| (key, hosts.into_iter().collect())).collect();
    Ok(Peers { lists, skipped })
}

/// Reads one row; `None` when it holds no key hash or no address.
fn read_row(id: &[u8], info: &[u8]) -> Option<(KeyHash, HostList)> {
    #[derive(serde::Deserialize)]
    struct Info {
        #[serde(rename = "WANHosts")]
        wan_hosts: String,
    }
    let key = std::str::from_utf8(id).ok()?.rsplit('-').next()?.parse().ok()?;
    let info: Info = serde_json::from_slice(info).ok()?;
    let list = HostList::parse_lenient(&info.wan_hosts);
    (!list.as_slice().is_empty()).then_some((key, list))
}

#[cfg(test)]
mod tests;
