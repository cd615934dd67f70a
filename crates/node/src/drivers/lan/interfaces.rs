//! Which of this host's addresses LAN discovery uses.

use std::net::{IpAddr, Ipv4Addr};

use hardline_proto::lan::Interface;
use hardline_proto::network::{InterfaceAddr, NetworkState};

/// An address in use by an interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedInterface {
    pub(super) interface: Interface,
    pub(super) name: String,
}

/// The IPv4 addresses of all interfaces that are up; only those in `wanted` unless that is empty.
pub(super) fn usable(network: &NetworkState, wanted: &[Ipv4Addr]) -> Vec<NamedInterface> {
    let found = network.up().filter_map(named);
    found.filter(|found| wanted.is_empty() || wanted.contains(&found.interface.addr)).collect()
}

fn named(addr: &InterfaceAddr) -> Option<NamedInterface> {
    let InterfaceAddr { ip: IpAddr::V4(ip), prefix_len, interface: name, .. } = addr else { return None };
    let interface = Interface { addr: *ip, prefix_len: *prefix_len };
    (!ip.is_unspecified()).then(|| NamedInterface { interface, name: name.clone() })
}
