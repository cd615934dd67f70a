//! Record ⇄ JSON.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    AddressKind, Home, MAX_PUNCH, MAX_QUIC, MAX_RELAYS, MAX_STATEMENT, MAX_TUNNEL_VERSIONS, SealedError, SealedRecord,
};
use crate::hosts::{Host, HostList, HostPort};

/// As it is written. Unknown members are ignored: there is room to grow.
#[derive(Serialize, Deserialize)]
struct Statement {
    addresses: Vec<Address>,
    issued: u64,
    expires: u64,
    sequence: u64,
    publisher: u64,
    tunnels: Vec<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    home: Option<Network>,
}

/// The publisher's own network. Whatever of it means nothing is left out.
#[derive(Serialize, Deserialize)]
struct Network {
    #[serde(default)]
    outside: String,
    #[serde(default)]
    inside: Vec<String>,
}

impl Network {
    fn of(home: &Home) -> Option<Self> {
        let (outside, inside) = home.parts()?;
        Some(Self { outside: outside.to_string(), inside: inside.iter().map(ToString::to_string).collect() })
    }

    fn read(&self) -> Home {
        let inside: HostList = self.inside.iter().filter_map(|at| at.parse().ok()).collect();
        Home::new(self.outside.parse().ok(), inside.as_slice().iter().cloned())
    }
}

#[derive(Serialize, Deserialize)]
struct Address {
    kind: String,
    at: String,
}

/// The kind of a relay's address, whatever network it belongs to.
const RELAY: &str = "relay";

/// The kind of an address for QUIC, likewise.
const QUIC: &str = "quic";

/// The kind of an address for probes, likewise.
const PUNCH: &str = "punch";

impl Address {
    fn direct(at: &HostPort) -> Self {
        Self { kind: AddressKind::of(at).name().to_owned(), at: at.to_string() }
    }

    fn relay(at: &HostPort) -> Self {
        Self { kind: RELAY.to_owned(), at: at.to_string() }
    }

    fn udp(kind: &str, at: &SocketAddr) -> Self {
        Self { kind: kind.to_owned(), at: at.to_string() }
    }

    /// `None` for a kind that this version does not know, and for an address of another kind than
    /// it says.
    fn read_direct(&self) -> Option<HostPort> {
        self.at.parse().ok().filter(|at| AddressKind::of(at).name() == self.kind)
    }

    fn read_udp(&self, kind: &str) -> Option<SocketAddr> {
        let HostPort { host: Host::Ip(ip), port } = self.at.parse().ok().filter(|_| self.kind == kind)? else {
            return None;
        };
        Some(SocketAddr::new(ip, port))
    }

    fn read_relay(&self) -> Option<HostPort> {
        self.at.parse().ok().filter(|_| self.kind == RELAY)
    }
}

/// Writes a record, at most [`MAX_STATEMENT`] bytes long: a list of hosts is bounded, and so are
/// their names.
pub(super) fn write(record: &SealedRecord) -> Vec<u8> {
    let direct = record.addresses.as_slice().iter().map(Address::direct);
    let relays = record.relays.as_slice().iter().take(MAX_RELAYS).map(Address::relay);
    let quic = record.quic.iter().take(MAX_QUIC).map(|at| Address::udp(QUIC, at));
    let punch = record.punch.iter().take(MAX_PUNCH).map(|at| Address::udp(PUNCH, at));
    let statement = Statement {
        addresses: direct.chain(relays).chain(quic).chain(punch).collect(),
        issued: record.issued_ms,
        expires: record.expires_ms,
        sequence: record.sequence,
        publisher: record.publisher,
        tunnels: record.tunnels.iter().copied().take(MAX_TUNNEL_VERSIONS).collect(),
        home: Network::of(&record.home),
    };
    serde_json::to_vec(&statement).expect("numbers and texts always become JSON")
}

/// Reads a record. Addresses that mean nothing are left out.
pub(super) fn read(text: &[u8]) -> Result<SealedRecord, SealedError> {
    if text.len() > MAX_STATEMENT {
        return Err(SealedError::Malformed("statement"));
    }
    let statement: Statement = serde_json::from_slice(text).map_err(|_| SealedError::Malformed("statement"))?;
    let udp =
        |kind: &str, most: usize| statement.addresses.iter().filter_map(|at| at.read_udp(kind)).take(most).collect();
    Ok(SealedRecord {
        addresses: statement.addresses.iter().filter_map(Address::read_direct).collect(),
        relays: statement.addresses.iter().filter_map(Address::read_relay).take(MAX_RELAYS).collect(),
        home: statement.home.as_ref().map(Network::read).unwrap_or_default(),
        quic: udp(QUIC, MAX_QUIC),
        punch: udp(PUNCH, MAX_PUNCH),
        issued_ms: statement.issued,
        expires_ms: statement.expires,
        sequence: statement.sequence,
        publisher: statement.publisher,
        tunnels: statement.tunnels.into_iter().take(MAX_TUNNEL_VERSIONS).collect(),
    })
}
