//! How this host is reachable from the internet, for programs and in sentences.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use hardline_proto::hosts::{Host, HostList};
use hardline_proto::portmap::is_public;
use serde::{Serialize, Serializer};

use super::own::is_yggdrasil;
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
    /// Where this computer is reached from outside.
    pub external: SocketAddrV4,
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

const FORWARD: &str =
    "forward a port by hand on the router's page and name it with --public-address, or turn on UPnP there";
const ASK_PROVIDER: &str = "ask the provider for a public IPv4 address; IPv6 and Yggdrasil need none";

impl ReachStatus {
    /// The state of things in sentences, the router's first.
    #[must_use]
    pub fn sentences(&self) -> Vec<Sentence> {
        let mut sentences: Vec<Sentence> = self.about_router().into_iter().collect();
        let outside: Vec<String> =
            self.advertised.as_slice().iter().filter(|at| !is_mesh(&at.host)).map(ToString::to_string).collect();
        match (outside.is_empty(), self.router == RouterStatus::Searching) {
            (false, _) => sentences.push(fine(format!("From outside you are {}.", outside.join(" or ")))),
            (true, true) => {}
            (true, false) => sentences.push(Sentence {
                text: "From outside nobody reaches this computer by a public address.".into(),
                remedy: Some(FORWARD),
            }),
        }
        let mesh = self.advertised.as_slice().iter().filter(|at| is_mesh(&at.host));
        sentences.extend(mesh.map(|at| fine(format!("Yggdrasil: {at}."))));
        sentences
    }

    fn about_router(&self) -> Option<Sentence> {
        Some(match &self.router {
            RouterStatus::NoGateway => return None,
            RouterStatus::Off => fine("The router is not asked to open a port: port mapping is turned off.".into()),
            RouterStatus::Searching => fine("The router is being asked to open a port.".into()),
            RouterStatus::Open(open) => match self.seen {
                Some(seen) if seen != *open.external.ip() => Sentence {
                    text: format!(
                        "Your router opened port {} at {}, but others see you at {seen}.",
                        open.external.port(),
                        open.external.ip()
                    ),
                    remedy: Some("if nobody reaches you, there is another router or a VPN in between"),
                },
                _ => fine(format!("Your router opened port {}.", open.external.port())),
            },
            RouterStatus::Away(open) => Sentence {
                text: format!("Your router opened port {}, and does not answer now.", open.external.port()),
                remedy: Some("if it is not restarting, check that it is on"),
            },
            RouterStatus::NotPublic { address, .. } => self.about_carrier_nat(*address),
            RouterStatus::Refused { gateway, reason } => Sentence {
                text: format!("Your router {gateway} does not open a port: {reason}."),
                remedy: Some(FORWARD),
            },
            RouterStatus::Silent { gateway } => Sentence {
                text: format!("Your router {gateway} does not open ports by itself: neither UPnP nor NAT-PMP nor PCP."),
                remedy: Some(FORWARD),
            },
        })
    }

    fn about_carrier_nat(&self, address: Option<Ipv4Addr>) -> Sentence {
        let text = match (address, self.seen) {
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
        Sentence { text, remedy: Some(ASK_PROVIDER) }
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
    #[must_use]
    pub fn sentence(&self) -> Sentence {
        let gateway = self.gateway;
        let status = |router| ReachStatus { router, ..ReachStatus::default() }.about_router();
        let wrong = match self.address {
            _ if self.protocols.is_empty() => status(RouterStatus::Silent { gateway }),
            // PCP tells an address only with an open port.
            None if self.protocols == [Protocol::Pcp] => None,
            Some(address) if is_public(address) => None,
            address => status(RouterStatus::NotPublic { gateway, address }),
        };
        wrong.unwrap_or_else(|| {
            let protocols: Vec<String> = self.protocols.iter().map(ToString::to_string).collect();
            let outside = self.address.map(|address| format!(" From outside you are {address}.")).unwrap_or_default();
            fine(format!("Your router {gateway} opens ports when asked ({}).{outside}", protocols.join(", ")))
        })
    }
}

fn fine(text: String) -> Sentence {
    Sentence { text, remedy: None }
}

fn is_mesh(host: &Host) -> bool {
    matches!(host, Host::Ip(IpAddr::V6(addr)) if is_yggdrasil(addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(router: RouterStatus, seen: Option<&str>, advertised: &str, expected: &[&str]) {
        let advertised = HostList::parse_lenient(advertised);
        let seen = seen.map(|seen| seen.parse().unwrap());
        let status = ReachStatus { port: 7008, advertised, router, seen };
        let said: Vec<_> = status.sentences().into_iter().map(|sentence| sentence.text).collect();
        assert_eq!(said, expected);
    }

    fn open() -> OpenPort {
        let (gateway, external) = (Ipv4Addr::new(192, 168, 1, 1), "203.0.113.5:7008".parse().unwrap());
        OpenPort { protocol: Protocol::Pcp, gateway, external }
    }

    #[test]
    fn what_is_and_what_is_wrong_is_said_in_sentences() {
        check(
            RouterStatus::Open(open()),
            Some("203.0.113.5"),
            "203.0.113.5:7008,[200:1::1]:7008",
            &["Your router opened port 7008.", "From outside you are 203.0.113.5:7008.", "Yggdrasil: [200:1::1]:7008."],
        );
        check(
            RouterStatus::Open(open()),
            Some("198.51.100.9"),
            "203.0.113.5:7008",
            &[
                "Your router opened port 7008 at 203.0.113.5, but others see you at 198.51.100.9.",
                "From outside you are 203.0.113.5:7008.",
            ],
        );
        let gateway = open().gateway;
        let nobody = "From outside nobody reaches this computer by a public address.";
        check(
            RouterStatus::NotPublic { gateway, address: Some(Ipv4Addr::new(100, 64, 0, 9)) },
            None,
            "",
            &["Carrier NAT: your router has 100.64.0.9 outside, which is no public address.", nobody],
        );
        check(RouterStatus::NoGateway, None, "", &[nobody]);
        check(RouterStatus::Searching, None, "", &["The router is being asked to open a port."]);
    }

    #[test]
    fn what_a_router_can_do_is_one_sentence() {
        let gateway = Ipv4Addr::new(192, 168, 1, 1);
        let check = |protocols: &[Protocol], address: Option<&str>, expected: &str| {
            let address = address.map(|address| address.parse().unwrap());
            let said = Probe { gateway, protocols: protocols.to_vec(), address }.sentence().text;
            assert_eq!(said, expected);
        };
        check(
            &[Protocol::Pcp, Protocol::NatPmp, Protocol::Upnp],
            Some("203.0.113.5"),
            "Your router 192.168.1.1 opens ports when asked (PCP, NAT-PMP, UPnP). From outside you are 203.0.113.5.",
        );
        let none = "Your router 192.168.1.1 does not open ports by itself: neither UPnP nor NAT-PMP nor PCP.";
        check(&[], None, none);
        let carrier = "Carrier NAT: your router has 100.64.0.9 outside, which is no public address.";
        check(&[Protocol::Upnp], Some("100.64.0.9"), carrier);
    }

    #[test]
    fn it_is_told_to_programs_by_state() {
        let status = ReachStatus { router: RouterStatus::Open(open()), ..ReachStatus::default() };
        let told = serde_json::to_value(status).unwrap();
        assert_eq!(told["router"]["state"], "open");
        assert_eq!(told["router"]["protocol"], "pcp");
        assert_eq!(told["router"]["external"], "203.0.113.5:7008");
    }
}
