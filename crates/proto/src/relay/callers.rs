//! How often services may be called through a relay, and by how many at once.
//!
//! Whoever knows a name of the day may call it, without a token: a call costs the relay a few
//! hundred bytes, and the publisher as many. The publisher looks at it more closely
//! ([`CallGate`](crate::call::CallGate)).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Name;
use crate::call::site;
use crate::rate::{Rate, SharedRate};

/// Time for which a caller is served: calls and answers take a second or two.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Calls of one caller: one, another if its router is a difficult one, a third with the cookie.
pub const MAX_CALLS: usize = 4;

/// Callers at once, at about a kilobyte each, and of one network.
pub const MAX_CALLERS: usize = 256;
/// See [`MAX_CALLERS`].
pub const MAX_CALLERS_PER_NETWORK: usize = 16;

/// Calls of one network (/24 of IPv4, /48 of IPv6), for one name, and in all. A publisher follows
/// no more than two a second.
const NETWORK_RATE: Rate = Rate { burst: 16, per_second: 2 };
const NAME_RATE: Rate = Rate { burst: 16, per_second: 4 };
const TOTAL_RATE: Rate = Rate { burst: 256, per_second: 64 };

/// Networks and names counted apart, at about 60 bytes each.
const MAX_COUNTED: usize = 1024;

/// Who calls now, and who has called of late.
#[derive(Debug)]
pub struct Callers {
    now: BTreeMap<IpAddr, usize>,
    networks: SharedRate<IpAddr>,
    names: SharedRate<Name>,
}

impl Default for Callers {
    fn default() -> Self {
        Self {
            now: BTreeMap::new(),
            networks: SharedRate::new(NETWORK_RATE, TOTAL_RATE, MAX_COUNTED),
            names: SharedRate::new(NAME_RATE, TOTAL_RATE, MAX_COUNTED),
        }
    }
}

impl Callers {
    /// Whether somebody at `from` may stay as a caller; if so until [`end`](Self::end).
    pub fn begin(&mut self, from: IpAddr) -> bool {
        let all: usize = self.now.values().sum();
        let here = self.now.get(&site(from)).copied().unwrap_or(0);
        let may = all < MAX_CALLERS && here < MAX_CALLERS_PER_NETWORK;
        if may {
            self.now.insert(site(from), here + 1);
        }
        may
    }

    /// A caller at `from` is gone.
    pub fn end(&mut self, from: IpAddr) {
        let site = site(from);
        if let Some(count) = self.now.get_mut(&site) {
            *count -= 1;
            if *count == 0 {
                self.now.remove(&site);
            }
        }
    }

    /// Whether a call from `from` to `name` is carried; if so it is counted.
    pub fn call(&mut self, now: Instant, from: IpAddr, name: Name) -> bool {
        self.networks.take(now, site(from)) && self.names.take(now, name)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NAME: Name = [7; 20];

    fn at(network: u8, host: u8) -> IpAddr {
        Ipv4Addr::new(203, 0, network, host).into()
    }

    #[test]
    fn one_network_calls_so_often_whoever_in_it_calls_whom() {
        let (mut callers, now) = (Callers::default(), Instant::now());
        let carried = (0..100).filter(|n| callers.call(now, at(1, *n), [*n; 20])).count();
        assert_eq!(carried, 16);
        assert!(callers.call(now, at(2, 1), NAME), "others are not hindered");
        assert!(callers.call(now + Duration::from_secs(1), at(1, 1), [200; 20]));
    }

    #[test]
    fn one_name_is_called_so_often_from_wherever() {
        let (mut callers, now) = (Callers::default(), Instant::now());
        assert_eq!((0..100).filter(|n| callers.call(now, at(*n, 1), NAME)).count(), 16);
        assert!(callers.call(now, at(200, 1), [8; 20]), "other names are called");
    }

    #[test]
    fn callers_at_once_are_few_and_a_place_given_back_is_free_again() {
        let mut callers = Callers::default();
        assert_eq!((0..100).filter(|n| callers.begin(at(1, *n))).count(), MAX_CALLERS_PER_NETWORK);
        let all: usize = (2..100).map(|n| (0..100).filter(|_| callers.begin(at(n, 1))).count()).sum();
        assert_eq!(all, MAX_CALLERS - MAX_CALLERS_PER_NETWORK);
        callers.end(at(1, 1));
        assert!(callers.begin(at(1, 99)) && !callers.begin(at(1, 99)));
        assert!(callers.now.len() <= MAX_CALLERS);
    }
}
