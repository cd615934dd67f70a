//! Who outside reaches this computer, and what to do if nobody does: one judgement, for `status`
//! and `doctor` alike.

use hardline_proto::hosts::HostPort;
use hardline_proto::portmap::is_shared;
use serde::Serialize;

use super::own::{Basis, is_mesh};
use super::proofs::{AddressState, Prover};
use super::status::{ReachStatus, RouterStatus, Sentence};

/// How far this computer is reached from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// Somebody outside has come in by an address.
    Verified,
    /// A relay joins others with it.
    Relayed,
    /// The router is being asked.
    Searching,
    /// There is an address that should work, and nobody has tried.
    Assumed,
    /// Others may call it and get through the routers on both sides (hole punching); nobody has
    /// verified that.
    Callable,
    /// Only computers of the Yggdrasil mesh reach it.
    Mesh,
    /// Nobody, as far as is known.
    Nobody,
}

const FORWARD: &str =
    "forward a port by hand on the router's page and name it with --public-address, or turn on UPnP there";
const TRY_IT: &str = "open a link of yours from another network, or name a relay with --relay, which tries it";
const USE_RELAY: &str = "name that relay here with --relay, or ask the provider for a public IPv4 address";
const ANOTHER_ROUTER: &str = "see whether another router or a firewall stands in between; or run `hardline relay` on any computer with an open port, \
     and name it here with --relay";
const CONNECT: &str = "connect it to the internet, or run `hardline relay` on any computer with an open port";

const RELAY_FOR_THE_OTHERS: &str =
    "for the others run `hardline relay` on any computer with an open port, and name it here with --relay";

/// What there is behind a router that opens no port.
const CALLED: &str = "Others reach you by hole punching, unless the routers on both sides give each destination another port; \
     not verified.";

/// In place of an address where many share one.
const CARRIER: &str = "Nobody outside reaches this computer. Your provider shares one address among customers (carrier-grade NAT). \
     Others reach you by a relay: run `hardline relay` on any computer with an open port.";

impl ReachStatus {
    /// How far this computer is reached from outside.
    #[must_use]
    pub fn outlook(&self) -> Outlook {
        let is_hopeful = |basis| basis != Basis::Seen;
        if !self.verified().is_empty() {
            Outlook::Verified
        } else if self.is_relayed {
            Outlook::Relayed
        } else if !self.assumed(is_hopeful).is_empty() {
            Outlook::Assumed
        } else if self.router == RouterStatus::Searching {
            Outlook::Searching
        } else if self.is_callable {
            Outlook::Callable
        } else if self.addresses.iter().any(|address| is_mesh(&address.at.host)) {
            Outlook::Mesh
        } else {
            Outlook::Nobody
        }
    }

    /// The same in a sentence, with what to do.
    #[must_use]
    pub fn outlook_sentence(&self) -> Sentence {
        let remedied = |text: String, remedy| Sentence { text, remedy: Some(remedy) };
        let assumed = list(&self.assumed(|_| true));
        match self.outlook() {
            Outlook::Verified => {
                let untried = if assumed.is_empty() { String::new() } else { format!(" Not verified: {assumed}.") };
                fine(format!(
                    "From outside you are {}: {}.{untried}",
                    list(&self.verified()),
                    if self.is_verified_by_relay() { "a relay has opened it" } else { "another computer has come in" }
                ))
            }
            Outlook::Relayed if !assumed.is_empty() => fine(format!(
                "From outside you are reached through a relay. Not verified: that {assumed} leads here without it."
            )),
            Outlook::Relayed if !self.closed().is_empty() => fine(format!(
                "From outside you are reached through a relay alone, which could not open {}.",
                list(&self.closed())
            )),
            Outlook::Relayed => fine("From outside you are reached through a relay alone.".into()),
            Outlook::Searching => fine("Whether you are reached from outside is being found out.".into()),
            Outlook::Assumed => remedied(
                format!("Not verified: {assumed} should lead here from outside, and nobody has come in by it yet."),
                TRY_IT,
            ),
            Outlook::Callable => remedied(format!("{} {CALLED}", self.why_no_port_is_open()), RELAY_FOR_THE_OTHERS),
            Outlook::Mesh => Sentence {
                text: "From outside only computers of the Yggdrasil mesh reach this one.".into(),
                ..self.nobody()
            },
            Outlook::Nobody => self.nobody(),
        }
    }

    fn why_no_port_is_open(&self) -> &'static str {
        match &self.router {
            RouterStatus::NotPublic { address, .. } if address.is_none_or(is_shared) => {
                "No port is open for this computer: your provider shares one address among customers (carrier-grade NAT)."
            }
            RouterStatus::NotPublic { .. } => {
                "No port is open for this computer: another router stands in front of yours."
            }
            _ => "No port is known to be open for this computer.",
        }
    }

    /// Why nobody reaches this computer.
    fn nobody(&self) -> Sentence {
        let (closed, assumed) = (self.closed(), self.assumed(|_| true));
        let (text, remedy) = match &self.router {
            RouterStatus::NotPublic { address: None, .. } if self.seen.is_none() => (
                "Nobody outside reaches this computer: its router has no public address, or no internet.".into(),
                CONNECT,
            ),
            RouterStatus::NotPublic { address: Some(address), .. } if !is_shared(*address) => (
                "Nobody outside reaches this computer: another router stands in front of yours.".into(),
                ANOTHER_ROUTER,
            ),
            RouterStatus::NotPublic { .. } => (CARRIER.into(), USE_RELAY),
            RouterStatus::Open(_) | RouterStatus::Away(_) if !closed.is_empty() => {
                let closed = list(&closed);
                (format!("Nobody outside reaches this computer: a relay could not open {closed}."), ANOTHER_ROUTER)
            }
            RouterStatus::NoGateway if assumed.is_empty() && closed.is_empty() => {
                ("Nobody outside reaches this computer: it has no public address.".into(), CONNECT)
            }
            _ if !closed.is_empty() => {
                let closed = list(&closed);
                (format!("Nobody outside reaches this computer: a relay could not open {closed}."), FORWARD)
            }
            _ if !assumed.is_empty() => (
                format!(
                    "Nobody outside is known to reach this computer: {} leads here only if a port is forwarded by hand.",
                    list(&assumed)
                ),
                FORWARD,
            ),
            _ => ("Nobody outside reaches this computer: no port is open for it.".into(), FORWARD),
        };
        Sentence { text, remedy: Some(remedy) }
    }

    fn verified(&self) -> Vec<&HostPort> {
        self.of(|state, _| matches!(state, AddressState::Verified { .. }))
    }

    fn closed(&self) -> Vec<&HostPort> {
        self.of(|state, _| state == AddressState::Closed)
    }

    fn assumed(&self, is_meant: impl Fn(Basis) -> bool) -> Vec<&HostPort> {
        self.of(|state, basis| state == AddressState::Assumed && is_meant(basis))
    }

    fn is_verified_by_relay(&self) -> bool {
        self.addresses.iter().any(|address| address.state == AddressState::Verified { by: Prover::Relay })
    }

    /// Addresses of the internet, not of the mesh.
    fn of(&self, is_meant: impl Fn(AddressState, Basis) -> bool) -> Vec<&HostPort> {
        let internet = self.addresses.iter().filter(|address| !is_mesh(&address.at.host));
        internet.filter(|address| is_meant(address.state, address.basis)).map(|address| &address.at).collect()
    }
}

fn list(hosts: &[&HostPort]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

fn fine(text: String) -> Sentence {
    Sentence { text, remedy: None }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::reach::own::OwnAddress;
    use crate::reach::{OpenPort, Protocol};

    const PEER: AddressState = AddressState::Verified { by: Prover::Peer };
    const RELAY: AddressState = AddressState::Verified { by: Prover::Relay };

    fn status(router: RouterStatus, addresses: &[(&str, Basis, AddressState)], is_relayed: bool) -> ReachStatus {
        let own =
            |&(at, basis, state): &(&str, Basis, AddressState)| OwnAddress { at: at.parse().unwrap(), basis, state };
        let addresses = addresses.iter().map(own).collect();
        ReachStatus { router, addresses, is_relayed, ..ReachStatus::default() }
    }

    #[track_caller]
    fn check(status: &ReachStatus, outlook: Outlook, said: &str) {
        assert_eq!(status.outlook(), outlook);
        assert_eq!(status.outlook_sentence().text, said);
    }

    fn silent() -> RouterStatus {
        RouterStatus::Silent { gateway: Ipv4Addr::new(192, 168, 1, 1) }
    }

    fn open() -> RouterStatus {
        let (gateway, external) = (Ipv4Addr::new(192, 168, 1, 1), "203.0.113.5:7008".parse().unwrap());
        RouterStatus::Open(OpenPort {
            protocol: Protocol::Pcp,
            gateway,
            port: 7008,
            address: None,
            external: Some(external),
        })
    }

    const AT: &str = "203.0.113.5:7008";

    #[test]
    fn that_an_address_leads_here_is_said_only_when_somebody_came_in_by_it() {
        check(
            &status(open(), &[(AT, Basis::Router, RELAY)], false),
            Outlook::Verified,
            "From outside you are 203.0.113.5:7008: a relay has opened it.",
        );
        check(
            &status(
                open(),
                &[(AT, Basis::Router, PEER), ("[2001:db8::1]:7008", Basis::Interface, AddressState::Assumed)],
                true,
            ),
            Outlook::Verified,
            "From outside you are 203.0.113.5:7008: another computer has come in. Not verified: [2001:db8::1]:7008.",
        );
        for basis in [Basis::Set, Basis::Interface, Basis::Router, Basis::Seen, Basis::Mapped] {
            for router in [open(), silent(), RouterStatus::Off, RouterStatus::Searching] {
                for (state, is_relayed) in
                    [(AddressState::Assumed, false), (AddressState::Closed, false), (AddressState::Assumed, true)]
                {
                    let said = status(router.clone(), &[(AT, basis, state)], is_relayed).outlook_sentence().text;
                    assert!(!said.contains("you are 203"), "{said}");
                }
            }
        }
    }

    #[test]
    fn a_router_that_opened_a_port_gives_hope_and_one_that_did_not_gives_none() {
        let assumed = "Not verified: 203.0.113.5:7008 should lead here from outside, and nobody has come in by it yet.";
        check(&status(open(), &[(AT, Basis::Router, AddressState::Assumed)], false), Outlook::Assumed, assumed);
        check(
            &status(silent(), &[(AT, Basis::Seen, AddressState::Assumed)], false),
            Outlook::Nobody,
            "Nobody outside is known to reach this computer: 203.0.113.5:7008 leads here only if a port is forwarded by hand.",
        );
        check(
            &status(open(), &[(AT, Basis::Router, AddressState::Closed)], false),
            Outlook::Nobody,
            "Nobody outside reaches this computer: a relay could not open 203.0.113.5:7008.",
        );
    }

    #[test]
    fn behind_a_router_that_opens_nothing_calls_are_told_of_and_not_taken_for_verified() {
        let gateway = Ipv4Addr::new(192, 168, 1, 1);
        let carrier = RouterStatus::NotPublic { gateway, address: Some(Ipv4Addr::new(100, 64, 0, 9)) };
        for (router, why) in [
            (
                carrier,
                "No port is open for this computer: your provider shares one address among customers (carrier-grade NAT).",
            ),
            (silent(), "No port is known to be open for this computer."),
        ] {
            let callable = ReachStatus { is_callable: true, ..status(router, &[], false) };
            check(&callable, Outlook::Callable, &format!("{why} {CALLED}"));
            let relayed = ReachStatus { is_relayed: true, ..callable };
            check(&relayed, Outlook::Relayed, "From outside you are reached through a relay alone.");
        }
    }

    #[test]
    fn a_home_behind_carrier_nat_is_told_of_relays() {
        let gateway = Ipv4Addr::new(192, 168, 1, 1);
        let carrier = RouterStatus::NotPublic { gateway, address: Some(Ipv4Addr::new(100, 64, 0, 9)) };
        check(&status(carrier.clone(), &[], false), Outlook::Nobody, CARRIER);
        let relayed = "From outside you are reached through a relay alone.";
        check(&status(carrier.clone(), &[], true), Outlook::Relayed, relayed);
        let mesh = [("[200:1::1]:7008", Basis::Interface, AddressState::Assumed)];
        let only = "From outside only computers of the Yggdrasil mesh reach this one.";
        check(&status(carrier, &mesh, false), Outlook::Mesh, only);
    }
}
