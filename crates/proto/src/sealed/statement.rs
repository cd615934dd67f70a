//! Record ⇄ JSON.

use serde::{Deserialize, Serialize};

use super::{AddressKind, MAX_STATEMENT, MAX_TUNNEL_VERSIONS, SealedError, SealedRecord};
use crate::hosts::{HostList, HostPort};

/// As it is written. Unknown members are ignored: there is room to grow.
#[derive(Serialize, Deserialize)]
struct Statement {
    addresses: Vec<Address>,
    issued: u64,
    expires: u64,
    sequence: u64,
    publisher: u64,
    tunnels: Vec<u16>,
}

#[derive(Serialize, Deserialize)]
struct Address {
    kind: String,
    at: String,
}

impl From<&HostPort> for Address {
    fn from(at: &HostPort) -> Self {
        Self { kind: AddressKind::of(at).name().to_owned(), at: at.to_string() }
    }
}

impl Address {
    /// `None` for a kind that this version does not know, and for an address of another kind than it says.
    fn read(&self) -> Option<HostPort> {
        self.at.parse().ok().filter(|at| AddressKind::of(at).name() == self.kind)
    }
}

/// Writes a record, at most [`MAX_STATEMENT`] bytes long: a list of hosts is bounded, and so are their names.
pub(super) fn write(record: &SealedRecord) -> Vec<u8> {
    let statement = Statement {
        addresses: record.addresses.as_slice().iter().map(Address::from).collect(),
        issued: record.issued_ms,
        expires: record.expires_ms,
        sequence: record.sequence,
        publisher: record.publisher,
        tunnels: record.tunnels.iter().copied().take(MAX_TUNNEL_VERSIONS).collect(),
    };
    serde_json::to_vec(&statement).expect("numbers and texts always become JSON")
}

/// Reads a record. Addresses that mean nothing are left out.
pub(super) fn read(text: &[u8]) -> Result<SealedRecord, SealedError> {
    if text.len() > MAX_STATEMENT {
        return Err(SealedError::Malformed("statement"));
    }
    let statement: Statement = serde_json::from_slice(text).map_err(|_| SealedError::Malformed("statement"))?;
    let addresses: HostList = statement.addresses.iter().filter_map(Address::read).collect();
    Ok(SealedRecord {
        addresses,
        issued_ms: statement.issued,
        expires_ms: statement.expires,
        sequence: statement.sequence,
        publisher: statement.publisher,
        tunnels: statement.tunnels.into_iter().take(MAX_TUNNEL_VERSIONS).collect(),
    })
}
