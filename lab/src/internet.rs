//! What lies between homes: everybody reaches everybody by IP, and nobody hears a neighbour.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::Result;

use crate::helper::helper;
use crate::lab::Lab;
use crate::network::{Host, Switch};
use crate::process::Process;

impl Lab {
    /// A switch that stands for the internet: 203.0.113.0/24 and 2001:db8::/32. It carries packets
    /// between its computers by IP, so that neither multicast nor broadcast crosses it. (Whatever
    /// interface is attached needs a default route for IPv6; [`Host::join`] makes both.)
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
        // Answers for every neighbour, at once, since ports do not see each other; and does not
        // advise the direct way.
        internet.namespace.sh("cd /proc/sys/net; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding; \
             echo 1 > ipv4/conf/br0/proxy_arp_pvlan; echo 0 > ipv4/neigh/br0/proxy_delay; \
             echo 0 > ipv4/conf/all/send_redirects; echo 0 > ipv4/conf/br0/send_redirects")?;
        Ok(internet)
    }
}

/// Where the internet's STUN server answers, at this port and the next.
pub(crate) const STUN: (&str, u16) = ("203.0.113.254", 3478);

impl Switch {
    /// Starts the STUN server of this internet if it does not run yet.
    pub(crate) fn answer_stun(&self) -> Result<()> {
        if self.stun.get().is_some() {
            return Ok(());
        }
        let second = "203.0.113.253";
        self.namespace.ip(&format!("address add {second}/32 dev br0"))?;
        let mut command = self.namespace.command(helper()?);
        let server = Process::spawn("stun", command.args(["stun", STUN.0, second, &STUN.1.to_string()]))?;
        server.wait_for_line("ready")?;
        let _ = self.stun.set(server);
        Ok(())
    }
}

impl Host {
    /// Plugs `interface` into the internet as 203.0.113.`number` and 2001:db8::`number` (in decimal
    /// digits).
    pub fn join(&self, internet: &Switch, interface: &str, number: u8) -> Result<()> {
        self.join_as(internet, interface, &[internet_v4(number), internet_v6(number)])
    }

    /// Plugs `interface` into the internet with these addresses, and a default route for the family
    /// of each.
    pub fn join_as(&self, internet: &Switch, interface: &str, addresses: &[IpAddr]) -> Result<()> {
        self.attach(internet, interface, &[])?;
        for address in addresses {
            let (length, gateway) = if address.is_ipv4() { (24, "203.0.113.254") } else { (128, "fe80::1") };
            self.ip(&format!("address add {address}/{length} dev {interface}"))?;
            self.ip(&format!("route add default via {gateway} dev {interface}"))?;
        }
        Ok(())
    }
}

/// 203.0.113.`number`.
pub(crate) fn internet_v4(number: u8) -> IpAddr {
    Ipv4Addr::new(203, 0, 113, number).into()
}

/// 2001:db8::`number`, read as decimal digits there.
pub(crate) fn internet_v6(number: u8) -> IpAddr {
    // Decimal digits read as hexadecimal ones, so that people see the same number.
    let digits = u16::from(number / 100) << 8 | u16::from(number / 10 % 10) << 4 | u16::from(number % 10);
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, digits).into()
}
