//! Homes with IPv6 alone, whose routers route, and let nobody in unasked if they are told to.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::Result;

use crate::internet::internet_v6;
use crate::lab::Lab;
use crate::network::{Host, Switch};

/// A home without NAT, and at first without a packet filter.
#[derive(Debug)]
pub struct RoutedHome {
    /// The router: `wan` outside, `lan` inside.
    pub host: Host,
    lan: Switch,
    number: u16,
}

/// What comes from outside belongs to something that began inside.
const FIREWALL: &str = "\
table inet firewall {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname lan accept
        meta l4proto ipv6-icmp accept
    }
}
";

impl Lab {
    /// A home whose router is 2001:db8::`number` on the internet, which sends it what is for
    /// 2001:db8:`number`::/48. (Digits as in [`Host::join`]; below 10.)
    pub fn routed_home(&self, internet: &Switch, number: u8) -> Result<RoutedHome> {
        let (host, lan) = (self.host(&format!("routed{number}"))?, self.switch(&format!("routed{number}-lan"))?);
        host.run("sh", &["-ec", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"])?.success()?;
        let outside = internet_v6(number);
        host.join_as(internet, "wan", &[outside])?;
        let home = RoutedHome { host, lan, number: number.into() };
        home.host.attach(&home.lan, "lan", &[&format!("{}/64", home.address_of(1))])?;
        internet.namespace.ip(&format!("route add 2001:db8:{number}::/48 via {outside} dev br0"))?;
        Ok(home)
    }
}

impl RoutedHome {
    /// Plugs a computer's `eth0` into the home as address `number` of it, with a default route by
    /// the router.
    pub fn connect(&self, host: &Host, number: u16) -> Result<()> {
        host.attach(&self.lan, "eth0", &[&format!("{}/64", self.address_of(number))])?;
        host.ip(&format!("route add default via {} dev eth0", self.address_of(1)))
    }

    /// Lets in only what somebody inside has asked for, as home routers do unless told otherwise.
    pub fn let_nobody_in(&self) -> Result<()> {
        self.host.nft(FIREWALL)
    }

    /// Address `number` of the home; the router itself is 1.
    fn address_of(&self, number: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, self.number, 0, 0, 0, 0, number).into()
    }
}
