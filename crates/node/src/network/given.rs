//! Networks that others tell of. On Android the system refuses netlink and `/proc/net` to programs,
//! and its own services know.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DefaultRoute, InterfaceAddr, NetworkMonitor, Occasion, System};

/// Addresses as they were told last.
#[derive(Debug, Clone)]
struct Told(Arc<Mutex<Vec<InterfaceAddr>>>);

impl Told {
    fn lock(&self) -> MutexGuard<'_, Vec<InterfaceAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl System for Told {
    fn addrs(&self) -> io::Result<Vec<InterfaceAddr>> {
        Ok(self.lock().clone())
    }

    fn default_route(&self) -> Option<DefaultRoute> {
        None
    }
}

/// By what networks are told.
#[derive(Debug)]
pub(crate) struct GivenNetworks {
    told: Told,
    monitor: NetworkMonitor,
}

impl GivenNetworks {
    /// The addresses from now on; whoever observes hears of them at once.
    pub(crate) fn set(&self, addrs: Vec<InterfaceAddr>) {
        *self.told.lock() = addrs;
        self.monitor.0.look(Occasion::Time);
    }
}

impl NetworkMonitor {
    /// A monitor of networks that are told, `addrs` first. It has no task and no timer: nothing
    /// changes but by a word.
    pub(crate) fn given(addrs: Vec<InterfaceAddr>) -> (Self, GivenNetworks) {
        let told = Told(Arc::new(Mutex::new(addrs)));
        let monitor = Self::new(Box::new(told.clone()), None);
        (monitor.clone(), GivenNetworks { told, monitor })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An address of the Wi-Fi.
    pub(crate) fn on_wifi(ip: &str, may_multicast: bool) -> InterfaceAddr {
        let (ip, interface) = (ip.parse().unwrap(), "wlan0".to_owned());
        InterfaceAddr { ip, prefix_len: 24, interface, is_up: true, is_short_lived: false, may_multicast }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_is_seen_at_once_and_another_address_is_another_generation() {
        let (monitor, given) = NetworkMonitor::given(Vec::new());
        let mut state = monitor.watch();
        let first = state.borrow_and_update().generation;
        given.set(vec![on_wifi("192.168.1.5", true)]);
        assert!(state.has_changed().unwrap());
        assert_eq!(state.borrow_and_update().generation, first + 1);
        given.set(vec![on_wifi("192.168.1.5", false)]);
        let now = state.borrow_and_update().clone();
        assert!(now.generation == first + 1 && !now.addrs[0].may_multicast, "the same network");
        given.set(Vec::new());
        assert_eq!(monitor.generation(), first + 2);
    }
}
