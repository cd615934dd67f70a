//! What lies between homes: everybody reaches everybody by IP, and nobody hears a neighbour.

use std::time::Duration;

use anyhow::Result;

use crate::lab::Lab;
use crate::network::{Host, Switch};

impl Lab {
    /// A switch that stands for the internet: 203.0.113.0/24 and 2001:db8::/32. It carries packets between its computers by
    /// IP, so that neither multicast nor broadcast crosses it. (Whatever interface is attached needs a default route for
    /// IPv6; [`Host::join`] makes both.)
    pub fn internet(&self) -> Result<Switch> {
        self.slow_internet(Duration::ZERO)
    }

    /// The same, with this round trip between any two of its computers.
    pub fn slow_internet(&self, round_trip: Duration) -> Result<Switch> {
        let mut internet = self.switch("internet")?;
        // To the switch, from the switch, and the same back.
        internet.delay = round_trip / 4;
        internet.is_isolating = true;
        // The address stays as it is when ports come and go, and with it the neighbours' tables.
        internet.namespace.ip("link set br0 address 02:00:00:00:00:01")?;
        for address in ["203.0.113.254/24", "fe80::1/64"] {
            internet.namespace.ip(&format!("address add {address} dev br0"))?;
        }
        internet.namespace.ip("route add 2001:db8::/32 dev br0")?;
        // Answers for every neighbour, at once, since ports do not see each other; and does not advise the direct way.
        internet.namespace.sh("cd /proc/sys/net; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding; \
             echo 1 > ipv4/conf/br0/proxy_arp_pvlan; echo 0 > ipv4/neigh/br0/proxy_delay; \
             echo 0 > ipv4/conf/all/send_redirects; echo 0 > ipv4/conf/br0/send_redirects")?;
        Ok(internet)
    }
}

impl Host {
    /// Plugs `interface` into the internet as 203.0.113.`number` and 2001:db8::`number`, with default routes.
    pub fn join(&self, internet: &Switch, interface: &str, number: u8) -> Result<()> {
        self.attach(internet, interface, &[&format!("203.0.113.{number}/24"), &format!("2001:db8::{number}/128")])?;
        self.ip(&format!("route add default via 203.0.113.254 dev {interface}"))?;
        self.ip(&format!("route add default via fe80::1 dev {interface}"))
    }
}
