//! Asking a router to open a port: what is said, when, and what to make of the answer.
//!
//! [`natpmp`] (RFC 6886) and [`pcp`] (RFC 6887) read and write datagrams; [`Plan`] decides what to
//! do next, whichever protocol the router speaks.

pub mod natpmp;
pub mod pcp;
mod plan;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

pub use plan::{CHECK_DATAGRAM, CHECK_SOAP, Outcome, Plan, Step};

/// Of which protocol of IP a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of this computer, for which one of the router is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inside {
    /// Of which protocol.
    pub transport: Transport,
    /// Its number.
    pub port: u16,
}

/// UDP port of a router's NAT-PMP and PCP server (RFC 6887, section 19.1).
pub const SERVER_PORT: u16 = 5351;

/// Where a router says that it has begun anew or has another address outside: to all computers of
/// its network, at their UDP port [`ANNOUNCE_PORT`] (RFC 6886, section 3.2.1; RFC 6887, section
/// 14.1).
pub const ANNOUNCE_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// See [`ANNOUNCE_GROUP`].
pub const ANNOUNCE_PORT: u16 = 5350;

/// Lifetime asked for. A computer that vanishes without a word leaves its port open for no longer.
pub const LIFETIME: Duration = Duration::from_secs(20 * 60);

/// Outside ports to try, one after the other, while the router says that they are taken.
pub const PORT_TRIES: u16 = 25;

/// Lowest port asked for when the numbers are used up; the ones below are the system's.
const LOWEST_PORT: u16 = 1024;

/// The outside ports to try: `wanted` and those after it.
pub fn ports_to_try(wanted: u16) -> impl Iterator<Item = u16> {
    let next = |port: &u16| Some(port.checked_add(1).unwrap_or(LOWEST_PORT));
    std::iter::successors(Some(wanted), next).take(PORT_TRIES.into())
}

/// Whether `datagram` is what a router says to [`ANNOUNCE_GROUP`]. Who sent it, the caller looks
/// at; what it says is not believed, but a reason to ask.
#[must_use]
pub fn is_announcement(datagram: &[u8]) -> bool {
    matches!(natpmp::read(datagram), Some(natpmp::Answer::Address(..) | natpmp::Answer::NetworkFailure(_)))
        || matches!(pcp::read(datagram), Some(pcp::Answer::Announce(_)))
}

/// What a router's address outside, if it tells one, says of a port that it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// The port is reached there.
    Public(Ipv4Addr),
    /// Another router stands in front, or this one does not tell: whether the port is reached, only
    /// a try shows.
    Unknown,
    /// A provider's router stands in front, which forwards nothing.
    Carrier(Ipv4Addr),
}

impl Outside {
    /// Judges an address that a router told; an unspecified one is none.
    #[must_use]
    pub fn of(address: Option<Ipv4Addr>) -> Self {
        match address {
            Some(address) if is_public(address) => Self::Public(address),
            Some(address) if is_shared(address) => Self::Carrier(address),
            _ => Self::Unknown,
        }
    }
}

/// Whether `addr` is of those that a provider gives to customers who share a public one (RFC 6598).
#[must_use]
pub fn is_shared(addr: Ipv4Addr) -> bool {
    let [first, second, ..] = addr.octets();
    first == 100 && second & 0xc0 == 64
}

/// Whether `addr` may be the outside address of a router that nothing stands in front of: not
/// private (RFC 1918), shared by a provider (RFC 6598), loopback, link-local, multicast or
/// unspecified. Documentation networks count as public: they stand for the internet wherever a
/// network is only built for a test.
#[must_use]
pub fn is_public(addr: Ipv4Addr) -> bool {
    let first = addr.octets()[0];
    let is_elsewhere_unknown = addr.is_private() || addr.is_loopback() || addr.is_link_local() || is_shared(addr);
    !is_elsewhere_unknown && first != 0 && first < 224
}

/// Seconds since the router last forgot its mappings, as it told them (RFC 6887, section 8.5; RFC
/// 6886, section 3.6).
#[derive(Debug, Clone, Copy)]
pub struct Epoch {
    seconds: u32,
    told: Instant,
}

/// A router that restarts within this time after it began, in seconds, may tell an epoch that could
/// be of the time before: [`Epoch::is_broken_by`] allows for two seconds, and a sixteenth of the
/// time until the next look.
const YOUNG: u32 = 5;

impl Epoch {
    /// What the router told at `now`.
    #[must_use]
    pub fn new(seconds: u32, now: Instant) -> Self {
        Self { seconds, told: now }
    }

    /// Whether the router had begun so shortly before that another restart might not show. What was
    /// mapped then is to be mapped again with the next look.
    #[must_use]
    pub fn is_young(self) -> bool {
        self.seconds < YOUNG
    }

    /// Whether `later` shows that the router has forgotten its mappings since: its clock went back,
    /// or did not go as ours.
    #[must_use]
    pub fn is_broken_by(self, later: Self) -> bool {
        if later.seconds.saturating_add(1) < self.seconds {
            return true;
        }
        let server = u64::from(later.seconds.saturating_sub(self.seconds));
        let client = later.told.saturating_duration_since(self.told).as_secs();
        client + 2 < server - server / 16 || server + 2 < client - client / 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_five_ports_are_tried_from_the_wanted_one() {
        let ports: Vec<_> = ports_to_try(7008).collect();
        assert_eq!((ports.len(), ports[0], ports[24]), (25, 7008, 7032));
        assert_eq!(ports_to_try(65_534).take(4).collect::<Vec<_>>(), [65_534, 65_535, 1024, 1025]);
    }

    #[test]
    fn a_router_that_counts_from_zero_again_has_forgotten() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let told = Epoch::new(1000, at(0));
        assert!(!told.is_broken_by(Epoch::new(1005, at(5))));
        assert!(!told.is_broken_by(Epoch::new(999, at(0))), "datagrams may overtake each other");
        assert!(!told.is_broken_by(Epoch::new(1970, at(1000))), "clocks may differ by a sixteenth");
        assert!(told.is_broken_by(Epoch::new(3, at(5))));
        assert!(told.is_broken_by(Epoch::new(1005, at(60))), "it stood still");
        assert!(told.is_broken_by(Epoch::new(2000, at(5))), "it jumped");
    }

    /// One that was young when it mapped the port restarted again, and the port stayed closed until
    /// the renewal.
    #[test]
    fn a_restart_shows_at_the_next_look_unless_the_router_was_young() {
        let start = Instant::now();
        let shows = |mapped_at: u32, restarted: u32, looked: u32| {
            let told = Epoch::new(mapped_at, start);
            let later = Epoch::new(looked - restarted, start + Duration::from_secs(looked.into()));
            told.is_young() || told.is_broken_by(later)
        };
        let until_next_look = CHECK_DATAGRAM.as_secs() as u32;
        for (mapped_at, restarted) in
            (0..100).flat_map(|mapped_at| (0..600).map(move |restarted| (mapped_at, restarted)))
        {
            for looked in restarted..=restarted + until_next_look {
                assert!(shows(mapped_at, restarted, looked), "{mapped_at}, {restarted}, {looked}");
            }
        }
        assert!(!Epoch::new(YOUNG, start).is_young());
    }

    #[test]
    fn what_a_router_announces_is_told_from_everything_else() {
        let announced = [0, 128, 0, 0, 0, 0, 1, 0, 203, 0, 113, 5];
        assert!(is_announcement(&announced));
        assert!(is_announcement(&[0, 128, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0]), "it has lost its address");
        let mut pcp = [0; 24];
        (pcp[0], pcp[1], pcp[11]) = (2, 128, 3);
        assert!(is_announcement(&pcp));
        for other in [&b""[..], &[0, 0], &announced[..8], &[0, 130, 0, 0, 0, 0, 0, 9, 27, 96, 27, 97, 0, 0, 0, 60]] {
            assert!(!is_announcement(other), "{other:?}");
        }
    }

    #[test]
    fn a_port_is_worth_opening_wherever_the_router_is_but_behind_a_carrier() {
        let of = |address: &str| Outside::of(address.parse().ok());
        let address = Ipv4Addr::new(203, 0, 113, 5);
        assert_eq!(of("203.0.113.5"), Outside::Public(address));
        assert_eq!(of("100.64.0.9"), Outside::Carrier(Ipv4Addr::new(100, 64, 0, 9)));
        for unknown in ["", "0.0.0.0", "192.168.178.2", "10.0.0.2"] {
            assert_eq!(of(unknown), Outside::Unknown, "{unknown}");
        }
    }

    #[test]
    fn outside_addresses_are_told_apart() {
        for public in ["203.0.113.5", "100.63.0.1", "100.128.0.1", "172.32.0.1", "1.1.1.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "100.127.255.255", "0.0.0.0", "0.1.0.0"]
            .into_iter()
            .chain(["127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255"])
        {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }
}
