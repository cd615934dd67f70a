//! How this host is reachable from the internet, for programs and in sentences.

use std::net::{Ipv4Addr, SocketAddrV4};

use hardline_proto::hosts::HostList;
use hardline_proto::portmap::{Outside, is_shared};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::outlook::Outlook;
use super::own::{OwnAddress, is_mesh};
use super::router::Protocol;

/// How this computer is reached from outside its LAN, as far as it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReachStatus {
    /// The P2P port that is listened at.
    pub port: u16,
    /// Addresses told to diallers, best first.
    #[serde(serialize_with = "as_texts")]
    pub advertised: HostList,
    /// The same, each with what is known of it.
    pub addresses: Vec<OwnAddress>,
    /// Whether a relay joins others with this computer.
    #[serde(rename = "relayed")]
    pub is_relayed: bool,
    /// Whether others can call this computer, to get through the routers on both sides.
    #[serde(rename = "callable")]
    pub is_callable: bool,
    /// The router in front of this computer.
    pub router: RouterStatus,
    /// The public IPv4 address that others see, as DHT nodes agree.
    pub seen: Option<Ipv4Addr>,
}

fn as_texts<S: Serializer>(hosts: &HostList, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hosts.as_slice().iter().map(ToString::to_string))
}

/// What the router did for us.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RouterStatus {
    /// It is not asked, by setting.
    Off,
    /// It is being asked for the first time.
    #[default]
    Searching,
    /// There is none that would have to open a port.
    NoGateway,
    /// It opens ports when it is asked, and was asked for none.
    Willing {
        /// The router.
        gateway: Ipv4Addr,
        /// How it answers.
        protocols: Vec<Protocol>,
        /// Its address outside, if it tells.
        address: Option<Ipv4Addr>,
    },
    /// It has opened a port.
    Open(OpenPort),
    /// It had opened this port, and does not answer any more.
    Away(OpenPort),
    /// It has no public address itself: carrier NAT, or no internet.
    NotPublic {
        /// The router.
        gateway: Ipv4Addr,
        /// Its address outside, if it tells.
        address: Option<Ipv4Addr>,
    },
    /// It answers and says no.
    Refused {
        /// The router.
        gateway: Ipv4Addr,
        /// What it says.
        reason: String,
    },
    /// It speaks none of the protocols, or they are turned off in it.
    Silent {
        /// The router.
        gateway: Ipv4Addr,
    },
}

/// A port open on the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OpenPort {
    /// How it was asked.
    pub protocol: Protocol,
    /// The router.
    pub gateway: Ipv4Addr,
    /// The port outside.
    pub port: u16,
    /// The router's address outside, if it tells.
    pub address: Option<Ipv4Addr>,
    /// Address and port outside, where that address is a public one.
    pub external: Option<SocketAddrV4>,
}

/// Something to say, and what to do about it if it is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// What is.
    pub text: String,
    /// What to do.
    pub remedy: Option<&'static str>,
}

impl std::fmt::Display for Sentence {
    /// What is, and what to do as a sentence of its own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        match self.remedy {
            Some(remedy) => write!(f, " What to do: {remedy}."),
            None => Ok(()),
        }
    }
}

impl ReachStatus {
    /// The state of things in sentences, the router's first.
    #[must_use]
    pub fn sentences(&self) -> Vec<Sentence> {
        let mut sentences: Vec<Sentence> = self.about_router().into_iter().collect();
        if self.outlook() != Outlook::Searching {
            sentences.push(self.outlook_sentence());
        }
        let mesh = self.advertised.as_slice().iter().filter(|at| is_mesh(&at.host));
        sentences.extend(mesh.map(|at| fine(format!("Yggdrasil: {at}."))));
        sentences
    }

    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = json!(self);
        let Sentence { text, remedy } = self.outlook_sentence();
        json["outlook"] = json!({"state": self.outlook(), "sentence": text, "remedy": remedy});
        if let Some(Sentence { text, remedy }) = self.about_router() {
            json["router"]["sentence"] = json!(text);
            json["router"]["remedy"] = json!(remedy);
        }
        json
    }

    /// What the router does; what to do about it, [`Self::outlook_sentence`] says.
    #[must_use]
    pub fn about_router(&self) -> Option<Sentence> {
        Some(match &self.router {
            RouterStatus::NoGateway => return None,
            RouterStatus::Off => fine("The router is not asked to open a port: port mapping is turned off.".into()),
            RouterStatus::Searching => fine("The router is being asked to open a port.".into()),
            RouterStatus::Willing { gateway, protocols, address } => {
                let protocols: Vec<String> = protocols.iter().map(ToString::to_string).collect();
                let outside = address.map(|address| format!(" It is {address} outside.")).unwrap_or_default();
                fine(format!("Your router {gateway} opens ports when asked ({}).{outside}", protocols.join(", ")))
            }
            RouterStatus::Open(open) => self.about_open_port(open),
            RouterStatus::Away(open) => Sentence {
                text: format!("Your router opened port {}, and does not answer now.", open.port),
                remedy: Some("if it is not restarting, check that it is on"),
            },
            RouterStatus::NotPublic { address, .. } => self.about_carrier_nat(*address),
            RouterStatus::Refused { gateway, reason } => {
                fine(format!("Your router {gateway} does not open a port: {reason}."))
            }
            RouterStatus::Silent { gateway } => {
                fine(format!("Your router {gateway} does not open ports by itself: neither UPnP nor NAT-PMP nor PCP."))
            }
        })
    }

    fn about_open_port(&self, open: &OpenPort) -> Sentence {
        let port = open.port;
        match (open.external, open.address, self.seen) {
            (Some(external), _, Some(seen)) if seen != *external.ip() => Sentence {
                text: format!("Your router opened port {port} at {}, but others see you at {seen}.", external.ip()),
                remedy: Some("if nobody reaches you, there is another router or a VPN in between"),
            },
            (Some(_), ..) => fine(format!("Your router opened port {port}.")),
            (None, Some(address), _) => Sentence {
                text: format!(
                    "Your router opened port {port}, and has another router in front of it: it is {address} outside."
                ),
                remedy: Some(
                    "if nobody reaches you, forward the port on that other router too, or turn its routing off",
                ),
            },
            (None, None, _) => fine(format!("Your router opened port {port}, and does not tell at which address.")),
        }
    }

    fn about_carrier_nat(&self, address: Option<Ipv4Addr>) -> Sentence {
        let text = match (address, self.seen) {
            (Some(address), _) if !is_shared(address) => {
                format!("Your router opens no port, and has another router in front of it: it is {address} outside.")
            }
            (Some(address), _) => {
                format!("Carrier NAT: your router has {address} outside, which is no public address.")
            }
            (None, Some(seen)) => {
                format!(
                    "Carrier NAT: your router has no public address, and others see you at {seen}, which many share."
                )
            }
            (None, None) => "Carrier NAT, or no internet: your router has no public address.".into(),
        };
        fine(text)
    }
}

/// What a router can do, asked without opening anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The router.
    pub gateway: Ipv4Addr,
    /// How it answers.
    pub protocols: Vec<Protocol>,
    /// Its address outside, if it tells.
    pub address: Option<Ipv4Addr>,
}

impl Probe {
    /// What it comes to.
    pub(super) fn status(self) -> RouterStatus {
        let Self { gateway, protocols, address } = self;
        match Outside::of(address) {
            _ if protocols.is_empty() => RouterStatus::Silent { gateway },
            Outside::Carrier(address) => RouterStatus::NotPublic { gateway, address: Some(address) },
            Outside::Public(_) | Outside::Unknown => RouterStatus::Willing { gateway, protocols, address },
        }
    }
}

fn fine(text: String) -> Sentence {
    Sentence { text, remedy: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> OpenPort {
        let (gateway, external) = (Ipv4Addr::new(192, 168, 1, 1), "203.0.113.5:7008".parse().unwrap());
        OpenPort { protocol: Protocol::Pcp, gateway, port: 7008, address: None, external: Some(external) }
    }

    #[track_caller]
    fn check(router: RouterStatus, seen: Option<&str>, expected: &str) {
        let seen = seen.map(|seen| seen.parse().unwrap());
        let status = ReachStatus { port: 7008, router, seen, ..ReachStatus::default() };
        assert_eq!(status.sentences()[0].text, expected);
    }

    #[test]
    fn what_the_router_does_is_said_in_a_sentence() {
        check(RouterStatus::Open(open()), Some("203.0.113.5"), "Your router opened port 7008.");
        check(
            RouterStatus::Open(open()),
            Some("198.51.100.9"),
            "Your router opened port 7008 at 203.0.113.5, but others see you at 198.51.100.9.",
        );
        let silent = OpenPort { external: None, ..open() };
        check(RouterStatus::Open(silent), None, "Your router opened port 7008, and does not tell at which address.");
        check(
            RouterStatus::Open(OpenPort { address: Some(Ipv4Addr::new(192, 168, 0, 2)), ..silent }),
            None,
            "Your router opened port 7008, and has another router in front of it: it is 192.168.0.2 outside.",
        );
        check(RouterStatus::Searching, None, "The router is being asked to open a port.");
    }

    #[test]
    fn what_a_router_can_do_is_one_sentence() {
        let gateway = Ipv4Addr::new(192, 168, 1, 1);
        let check = |protocols: &[Protocol], address: Option<&str>, expected: &str| {
            let address = address.map(|address| address.parse().unwrap());
            check(Probe { gateway, protocols: protocols.to_vec(), address }.status(), None, expected);
        };
        check(
            &[Protocol::Pcp, Protocol::NatPmp, Protocol::Upnp],
            Some("203.0.113.5"),
            "Your router 192.168.1.1 opens ports when asked (PCP, NAT-PMP, UPnP). It is 203.0.113.5 outside.",
        );
        let none = "Your router 192.168.1.1 does not open ports by itself: neither UPnP nor NAT-PMP nor PCP.";
        check(&[], None, none);
        let carrier = "Carrier NAT: your router has 100.64.0.9 outside, which is no public address.";
        check(&[Protocol::Upnp], Some("100.64.0.9"), carrier);
    }

    #[test]
    fn it_is_told_to_programs_by_state() {
        let status = ReachStatus { router: RouterStatus::Open(open()), ..ReachStatus::default() };
        let told = status.to_json();
        assert_eq!(told["router"]["state"], "open");
        assert_eq!(told["router"]["protocol"], "pcp");
        assert_eq!(told["router"]["external"], "203.0.113.5:7008");
        assert_eq!(told["router"]["sentence"], "Your router opened port 7008.");
        assert_eq!(told["outlook"]["state"], "nobody");
    }
}
