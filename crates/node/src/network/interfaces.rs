//! Which addresses this host has: the only list of interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use hardline_proto::network::InterfaceAddr;
use if_addrs::IfAddr;

use crate::system::short_lived::short_lived;

/// Any port: nothing is sent to it.
const PORT: u16 = 9;

/// The name of an address whose interface is not known.
const UNNAMED: &str = "default";

/// Every address of every interface, those that are down too. Where the system lists none (Wine,
/// some sandboxes), the addresses that it sends from.
///
/// # Errors
/// When the system tells of neither.
pub fn interface_addrs() -> io::Result<Vec<InterfaceAddr>> {
    listed(if_addrs::get_if_addrs(), sending_addrs)
}

fn listed(
    answer: io::Result<Vec<if_addrs::Interface>>,
    sending: impl FnOnce() -> Vec<InterfaceAddr>,
) -> io::Result<Vec<InterfaceAddr>> {
    let short_lived = short_lived();
    let read = |found: if_addrs::Interface| InterfaceAddr {
        ip: found.ip(),
        prefix_len: match &found.addr {
            IfAddr::V4(addr) => addr.prefixlen,
            IfAddr::V6(addr) => addr.prefixlen,
        },
        is_up: found.is_oper_up(),
        is_short_lived: short_lived.contains(&found.ip()),
        may_multicast: true,
        interface: found.name,
    };
    match answer {
        Ok(found) => Ok(found.into_iter().map(read).collect()),
        Err(error) => match sending() {
            addrs if addrs.is_empty() => Err(explained(error)),
            addrs => Ok(addrs),
        },
    }
}

/// The addresses that this host sends from to the internet, one of each family at most.
fn sending_addrs() -> Vec<InterfaceAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849). Connecting a datagram socket sends nothing:
    // the system chooses an address.
    let v4 = sending_addr(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = sending_addr(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    v4.into_iter().chain(v6).map(unlisted).collect()
}

fn unlisted(ip: IpAddr) -> InterfaceAddr {
    InterfaceAddr {
        ip,
        // Not known: as in most homes. Nobody is a neighbour of an address alone, and neighbours
        // are those whose answers are heard.
        prefix_len: if ip.is_ipv4() { 24 } else { 64 },
        is_up: true,
        may_multicast: true,
        is_short_lived: false,
        interface: UNNAMED.to_owned(),
    }
}

fn sending_addr(any: IpAddr, to: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// On Windows `if-addrs` asks for the error in the wrong place, and finds that all went well.
fn explained(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(0) { io::Error::other("the system does not say why") } else { error }
}

/// The number of the interface called `name`, if it is there.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    if_addrs::get_if_addrs().ok()?.into_iter().find(|found| found.name == name)?.index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_interface_is_listed_the_addresses_that_are_sent_from_are_those_of_the_host() {
        let one = unlisted(Ipv4Addr::LOCALHOST.into());
        let refused = || Err(io::Error::from_raw_os_error(0));
        assert_eq!(listed(refused(), || vec![one.clone()]).unwrap(), [one]);
        let error = listed(refused(), Vec::new).unwrap_err().to_string();
        assert_eq!(error, "the system does not say why", "not that all went well");
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(sending_addr(Ipv4Addr::UNSPECIFIED.into(), here), Some(here));
    }
}
