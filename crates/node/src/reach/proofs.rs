//! What somebody outside has proven of an address, as against what is only assumed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hardline_proto::hosts::{Host, HostPort};
use hardline_proto::portmap::is_public;
use serde::Serialize;
use tokio::sync::mpsc;

use super::own::{Basis, OwnAddress, is_global};

/// Proofs that wait to be looked at. More tell nothing new.
const MAX_WAITING: usize = 16;

/// Time between two looks at peers that come to the same address of this computer.
const NEXT_PEER: Duration = Duration::from_secs(60);

/// Addresses of this computer at which peers come in.
const MAX_LOCAL: usize = 64;

/// What is known of an address that others are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AddressState {
    /// It should lead here, and nobody has tried.
    #[default]
    Assumed,
    /// Somebody outside came in by it.
    Verified {
        /// Who.
        by: Prover,
    },
    /// A relay tried, and did not get here.
    Closed,
}

/// Who proved that an address leads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prover {
    /// A relay that was asked to try it.
    Relay,
    /// A computer that opened a service.
    Peer,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// A peer that knows one of our services has come in.
    Peer {
        /// The socket's own end.
        local: SocketAddr,
        from: IpAddr,
    },
    /// A relay has tried an address: where it came in from, or `None` when it did not.
    DialBack { at: HostPort, from: Option<IpAddr> },
}

/// Hands in proofs. Cheap to clone; what cannot be taken at once is dropped, for more will come.
#[derive(Debug, Clone)]
pub struct Proofs {
    sender: mpsc::Sender<Proof>,
    /// When a peer came to an address last.
    peers: Arc<Mutex<HashMap<IpAddr, Instant>>>,
}

/// Where [`Proofs`] go.
#[derive(Debug)]
pub struct ProofsReceiver(pub(super) mpsc::Receiver<Proof>);

/// A way for others to tell what they know.
#[must_use]
pub fn proofs() -> (Proofs, ProofsReceiver) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    (Proofs { sender, peers: Arc::default() }, ProofsReceiver(receiver))
}

impl Proofs {
    /// A peer has come in from `from`, and shown that it knows a service.
    pub fn peer(&self, local: SocketAddr, from: IpAddr) {
        let (ip, from) = (local.ip().to_canonical(), from.to_canonical());
        if may_be_outside(from) && self.is_news(ip) {
            let _ = self.sender.try_send(Proof::Peer { local: SocketAddr::new(ip, local.port()), from });
        }
    }

    /// A relay was asked to try `at`, and has come in from `from`, or has not.
    pub fn dial_back(&self, at: HostPort, from: Option<IpAddr>) {
        let _ = self.sender.try_send(Proof::DialBack { at, from });
    }

    fn is_news(&self, local: IpAddr) -> bool {
        let (mut peers, now) = (self.peers.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        if peers.get(&local).is_some_and(|last| now.saturating_duration_since(*last) < NEXT_PEER) {
            return false;
        }
        if peers.len() >= MAX_LOCAL {
            peers.clear();
        }
        peers.insert(local, now);
        true
    }
}

/// What has been proven of the addresses that are told now.
#[derive(Debug, Default)]
pub(super) struct Proven(HashMap<HostPort, AddressState>);

impl Proven {
    pub(super) fn state(&self, at: &HostPort) -> AddressState {
        self.0.get(at).copied().unwrap_or_default()
    }

    /// Forgets what was proven of addresses that are not told any more. Returns whether there were
    /// any.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&HostPort) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|at, _| is_kept(at));
        self.0.len() < before
    }

    /// Takes in a proof. `addresses` are those told, `own` those of this computer and of its
    /// router.
    pub(super) fn take_in(&mut self, proof: &Proof, addresses: &[OwnAddress], own: &[IpAddr]) {
        match proof {
            Proof::Peer { local, from } if is_outside(*from, own) => {
                if let Some(at) = led_in(*local, addresses) {
                    self.0.insert(at.clone(), AddressState::Verified { by: Prover::Peer });
                }
            }
            Proof::DialBack { at, from: Some(from) } if is_outside(*from, own) => {
                self.0.insert(at.clone(), AddressState::Verified { by: Prover::Relay });
            }
            // A relay may be kept from an address by its own network. Who came in, came in.
            Proof::DialBack { at, from: None } if self.state(at) != (AddressState::Verified { by: Prover::Peer }) => {
                self.0.insert(at.clone(), AddressState::Closed);
            }
            _ => {}
        }
    }
}

/// By which of `addresses` a peer came to `local`; `None` when that is not certain.
fn led_in(local: SocketAddr, addresses: &[OwnAddress]) -> Option<&HostPort> {
    let own = HostPort::from(local);
    if let Some(exact) = addresses.iter().find(|address| address.at == own) {
        return Some(&exact.at);
    }
    // The router has led it here, from one of the addresses outside.
    let may_be = |address: &&OwnAddress| {
        let is_v4 = !matches!(&address.at.host, Host::Ip(IpAddr::V6(_)));
        is_v4 && address.basis != Basis::Interface
    };
    let mut outside = addresses.iter().filter(may_be);
    match (local.ip(), outside.next(), outside.next()) {
        (IpAddr::V4(_), Some(only), None) => Some(&only.at),
        _ => None,
    }
}

/// Whether a connection from `from` can have come from outside at all.
fn may_be_outside(from: IpAddr) -> bool {
    match from {
        IpAddr::V4(from) => is_public(from),
        IpAddr::V6(from) => is_global(&from),
    }
}

/// Whether `from` is a computer outside the network whose addresses are `own`: not one of the same
/// home, nor one whose way led through the router back inside.
fn is_outside(from: IpAddr, own: &[IpAddr]) -> bool {
    // What a provider gives to one home (RFC 6177): a /48, or a longer prefix.
    let home = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits() >> 80,
    };
    let is_same_home = |own: &IpAddr| own.is_ipv4() == from.is_ipv4() && home(*own) == home(from);
    may_be_outside(from) && !own.iter().any(is_same_home)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: AddressState = AddressState::Verified { by: Prover::Peer };
    const RELAY: AddressState = AddressState::Verified { by: Prover::Relay };

    fn told(list: &[(&str, Basis)]) -> Vec<OwnAddress> {
        let address =
            |&(at, basis): &(&str, Basis)| OwnAddress { at: at.parse().unwrap(), basis, state: AddressState::Assumed };
        list.iter().map(address).collect()
    }

    fn peer(local: &str, from: &str) -> Proof {
        Proof::Peer { local: local.parse().unwrap(), from: from.parse().unwrap() }
    }

    /// What `proof` says of the first of `list`.
    #[track_caller]
    fn check(proof: &Proof, list: &[(&str, Basis)], expected: AddressState) {
        let (mut proven, addresses) = (Proven::default(), told(list));
        let own = ["192.168.1.2", "203.0.113.5", "2001:db8:1::2"].map(|ip| ip.parse().unwrap());
        proven.take_in(proof, &addresses, &own);
        assert_eq!(proven.state(&addresses[0].at), expected, "{proof:?}");
    }

    #[test]
    fn a_peer_from_outside_verifies_the_address_it_must_have_come_by() {
        let router = [("203.0.113.5:7010", Basis::Router)];
        check(&peer("192.168.1.2:7008", "198.51.100.9"), &router, PEER);
        check(&peer("192.168.1.2:7008", "198.51.100.9"), &[("home.example.org:443", Basis::Set)], PEER);
        let two = [("203.0.113.5:7010", Basis::Router), ("203.0.113.9:7010", Basis::Seen)];
        check(&peer("192.168.1.2:7008", "198.51.100.9"), &two, AddressState::Assumed);
        let v6 = [("[2001:db8:1::2]:7008", Basis::Interface), ("203.0.113.5:7010", Basis::Router)];
        check(&peer("[2001:db8:1::2]:7008", "2001:db8:2::9"), &v6, PEER);
        check(&peer("192.168.1.2:7008", "198.51.100.9"), &v6, AddressState::Assumed);
    }

    #[test]
    fn a_neighbour_or_a_way_through_the_own_router_verifies_nothing() {
        let router = [("203.0.113.5:7010", Basis::Router)];
        for from in ["192.168.1.3", "203.0.113.5", "100.64.0.9", "127.0.0.1"] {
            check(&peer("192.168.1.2:7008", from), &router, AddressState::Assumed);
        }
        let v6 = [("[2001:db8:1::2]:7008", Basis::Interface)];
        for from in ["2001:db8:1::9", "2001:db8:1:ff::9", "fe80::1", "fd00::1"] {
            check(&peer("[2001:db8:1::2]:7008", from), &v6, AddressState::Assumed);
        }
    }

    #[test]
    fn a_relay_verifies_the_address_it_was_asked_for_and_says_when_it_is_closed() {
        let (at, list) = ("203.0.113.5:7010", [("203.0.113.5:7010", Basis::Router)]);
        let dial_back = |from: Option<&str>| Proof::DialBack {
            at: at.parse().unwrap(),
            from: from.map(|from| from.parse().unwrap()),
        };
        check(&dial_back(Some("198.51.100.9")), &list, RELAY);
        check(&dial_back(Some("192.168.1.7")), &list, AddressState::Assumed);
        check(&dial_back(None), &list, AddressState::Closed);
        let mut proven = Proven::default();
        proven.take_in(&peer("192.168.1.2:7008", "198.51.100.9"), &told(&list), &[]);
        proven.take_in(&dial_back(None), &told(&list), &[]);
        assert_eq!(proven.state(&list[0].0.parse().unwrap()), PEER, "somebody has come in by it");
        assert!(proven.keep(|_| false));
        assert_eq!(proven.state(&list[0].0.parse().unwrap()), AddressState::Assumed);
    }

    #[test]
    fn peers_are_looked_at_once_a_minute() {
        let (proofs, mut receiver) = proofs();
        for _ in 0..100 {
            proofs.peer("192.168.1.2:7008".parse().unwrap(), "::ffff:198.51.100.9".parse().unwrap());
        }
        proofs.peer("[2001:db8:1::2]:7008".parse().unwrap(), "192.168.1.3".parse().unwrap());
        assert_eq!(receiver.0.try_recv().unwrap(), peer("192.168.1.2:7008", "198.51.100.9"));
        assert!(receiver.0.try_recv().is_err());
    }
}
