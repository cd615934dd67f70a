//! Which of this host's addresses LAN discovery uses.

use std::net::{IpAddr, Ipv4Addr};

use hardline_proto::lan::{Interface, LanAddr};
use hardline_proto::network::{InterfaceAddr, NetworkState};

use crate::network::interface_index;

/// An address in use by an interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedInterface {
    pub(super) interface: Interface,
    pub(super) name: String,
}

/// The IPv4 addresses of all interfaces that are up and may multicast, and behind them a link-local
/// IPv6 address of each; of those interfaces only that have an address in `wanted`, unless that is
/// empty.
pub(super) fn usable(network: &NetworkState, wanted: &[Ipv4Addr]) -> Vec<NamedInterface> {
    let is_wanted = |ip: IpAddr| wanted.is_empty() || wanted.iter().any(|wanted| IpAddr::V4(*wanted) == ip);
    let up = || network.up().filter(|addr| addr.may_multicast);
    let mut usable: Vec<_> = up().filter_map(named_v4).filter(|v4| is_wanted(v4.interface.addr.ip)).collect();
    let on_v4: Vec<_> = usable.iter().map(|found| found.name.clone()).collect();
    for found in up().filter_map(named_v6) {
        let is_new = usable.iter().all(|known| known.interface.addr.scope != found.interface.addr.scope);
        if is_new && (wanted.is_empty() || on_v4.contains(&found.name)) {
            usable.push(found);
        }
    }
    usable
}

fn named_v4(addr: &InterfaceAddr) -> Option<NamedInterface> {
    let InterfaceAddr { ip: IpAddr::V4(ip), prefix_len, interface: name, .. } = addr else { return None };
    let interface = Interface { addr: LanAddr::v4(*ip), prefix_len: *prefix_len };
    (!ip.is_unspecified()).then(|| NamedInterface { interface, name: name.clone() })
}

fn named_v6(addr: &InterfaceAddr) -> Option<NamedInterface> {
    let InterfaceAddr { ip: IpAddr::V6(ip), prefix_len, interface: name, .. } = addr else { return None };
    let scope = ip.is_unicast_link_local().then(|| interface_index(name)).flatten()?;
    let interface = Interface { addr: LanAddr::v6(*ip, scope), prefix_len: *prefix_len };
    Some(NamedInterface { interface, name: name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::on_wifi;

    #[test]
    fn an_interface_that_may_not_multicast_is_left_out() {
        let addrs = vec![on_wifi("192.168.1.5", true), on_wifi("10.0.0.1", false)];
        let network = NetworkState { addrs, ..NetworkState::default() };
        let used: Vec<_> = usable(&network, &[]).iter().map(|it| it.interface.addr.ip.to_string()).collect();
        assert_eq!(used, ["192.168.1.5"]);
    }
}
