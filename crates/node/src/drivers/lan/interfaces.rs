//! Which IPv4 addresses this computer has.

use std::io;
use std::net::Ipv4Addr;

use hardline_proto::lan::Interface;
use if_addrs::IfAddr;

/// An address in use by an interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedInterface {
    pub(super) interface: Interface,
    pub(super) name: String,
}

/// The IPv4 addresses of all interfaces that are up; only those in `wanted` unless that is empty.
pub(super) fn current(wanted: &[Ipv4Addr]) -> io::Result<Vec<NamedInterface>> {
    let found = if_addrs::get_if_addrs()?.into_iter().filter_map(usable);
    Ok(found.filter(|found| wanted.is_empty() || wanted.contains(&found.interface.addr)).collect())
}

fn usable(found: if_addrs::Interface) -> Option<NamedInterface> {
    let IfAddr::V4(addr) = &found.addr else { return None };
    let interface = Interface { addr: addr.ip, prefix_len: addr.prefixlen };
    (found.is_oper_up() && !addr.ip.is_unspecified()).then_some(NamedInterface { interface, name: found.name })
}
