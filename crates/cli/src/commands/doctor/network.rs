//! Interfaces, multicast, own addresses, names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hardline_node::dns;
use hardline_node::drivers::lan::Lan;
use hardline_node::network::{NetworkMonitor, interface_addrs};
use hardline_node::proto::KeyHash;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use crate::system::kind::{HERE, System};

use super::Finding;

/// Whether ::1 is there: Chromium goes there first.
pub(super) async fn ipv6_loopback() -> Finding {
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await {
        Ok(_) => {
            Finding::fine("ipv6_loopback", "The IPv6 loopback ::1 is there; the gateway takes both halves of its port.")
        }
        Err(err) => Finding::note(
            "ipv6_loopback",
            format!("There is no IPv6 loopback ::1 ({err}); browsers reach the gateway at 127.0.0.1."),
            "nothing is needed, unless browsers wait a moment before each first page",
        ),
    }
}

/// Time for the first question to leave: whether the system lets it go is known only then.
const ASKING: Duration = Duration::from_millis(200);

/// Whether discovery works, per interface.
pub(super) async fn multicast(settings: &Settings, networks: &NetworkMonitor) -> Vec<Finding> {
    const REMEDY: &str = "check that the interface is up and that no firewall drops UDP port 6771 to 239.192.152.143 and ff12::efc0:988f";
    if !settings.node.lan.enabled {
        return vec![Finding::fine("multicast", "Discovery on the local network is turned off.")];
    }
    let shutdown = CancellationToken::new();
    let _stop = shutdown.clone().drop_guard();
    let interfaces = match Lan::start(settings.node.lan.clone(), networks, shutdown).await {
        Ok(lan) => {
            let _asking = lan.browse();
            tokio::time::sleep(ASKING).await;
            lan.interfaces()
        }
        Err(err) => {
            let sentence = format!("Discovery on the local network does not work: {err}.");
            return vec![Finding::wrong("multicast", sentence, REMEDY)];
        }
    };
    if interfaces.is_empty() {
        let sentence = "No interface can multicast, so the local network finds nothing here and is not found.";
        return vec![Finding::wrong("multicast", sentence, REMEDY)];
    }
    interfaces
        .into_iter()
        .map(|interface| {
            let name = interface.name.unwrap_or_else(|| "an interface".into());
            match interface.error {
                None => Finding::fine("multicast", format!("Discovery works on {name} ({}).", interface.addr)),
                Some(err) => Finding::wrong(
                    "multicast",
                    format!("Discovery does not work on {name} ({}): {err}.", interface.addr),
                    REMEDY,
                ),
            }
        })
        .collect()
}

/// Whether names below `localhost` resolve for programs that are no browsers.
pub(super) async fn names(settings: &Settings) -> Finding {
    let name = format!("{}.localhost", KeyHash::from_bytes([0xab; KeyHash::LEN]));
    if settings.dns_enabled && !is_answering(settings.dns_port, &name).await {
        return no_dns(settings.dns_port);
    }
    let resolved = tokio::net::lookup_host((name.as_str(), 80)).await;
    match resolved.map(|addrs| addrs.map(|addr| addr.ip()).collect::<Vec<_>>()) {
        Ok(ips) if !ips.is_empty() && ips.iter().all(IpAddr::is_loopback) => {
            let sentence = "Names below localhost lead to this computer, for every program.";
            match settings.dns_enabled {
                true => {
                    Finding::fine("names", format!("{sentence} Hardline answers DNS at port {}.", settings.dns_port))
                }
                false => Finding::fine("names", sentence),
            }
        }
        Ok(ips) if !ips.is_empty() => Finding::wrong(
            "names",
            format!("Names below localhost lead to {}, not to this computer.", ips[0]),
            "ask who runs the name server of this network; browsers are not affected, they know these names by themselves",
        ),
        _ if settings.dns_enabled => dns_unused(HERE, settings.dns_port),
        _ => Finding::note(
            "names",
            "Names below localhost are known to browsers here, and to no other program.",
            unknown_names(HERE),
        ),
    }
}

/// Whether the DNS server of a hardline answers at this port.
async fn is_answering(port: u16, name: &str) -> bool {
    let said = dns::ask((Ipv4Addr::LOCALHOST, port).into(), name).await;
    said.is_some_and(|ips| ips == [IpAddr::V4(Ipv4Addr::LOCALHOST)])
}

/// Nobody answers where the configuration has the DNS server.
fn no_dns(port: u16) -> Finding {
    Finding::note(
        "names",
        format!("dns.enabled is set, and no hardline answers DNS at port {port} of this computer."),
        "start it with `hardline`, with the same configuration",
    )
}

/// What helps programs that do not know names below `localhost`.
fn unknown_names(system: System) -> &'static str {
    match system {
        System::Windows | System::Macos => {
            "curl of these years knows them too; for other programs use `hardline run` or `hardline forward`, or turn on dns.enabled"
        }
        System::Other => {
            "curl of these years knows them too; for other programs install libnss-myhostname, use `hardline run` or `hardline forward`, or turn on dns.enabled"
        }
    }
}

/// The system does not ask the DNS server of the hardline that runs here.
fn dns_unused(system: System, port: u16) -> Finding {
    let remedy = match system {
        System::Macos => {
            format!("write the two lines `nameserver 127.0.0.1` and `port {port}` into /etc/resolver/localhost")
        }
        System::Windows => {
            "in PowerShell, as administrator: Add-DnsClientNrptRule -Namespace .localhost -NameServers 127.0.0.1, \
             with dns.port = 53, the only port that Windows asks at"
                .to_owned()
        }
        System::Other => format!(
            "with systemd-resolved, write [Resolve], DNS=127.0.0.1:{port} and Domains=~localhost, a line each, into \
             /etc/systemd/resolved.conf.d/hardline.conf and restart it; with dnsmasq, server=/localhost/127.0.0.1#{port}"
        ),
    };
    let sentence = format!(
        "Hardline answers DNS at port {port}, but this system does not ask there: names below localhost are unknown \
         to programs that are no browsers."
    );
    Finding::note("names", sentence, remedy)
}

/// Addresses other computers may reach this one at.
pub(super) fn addresses() -> Finding {
    let addrs = match interface_addrs() {
        Ok(addrs) => addrs,
        Err(err) => {
            let sentence = format!("The addresses of this computer cannot be read: {err}.");
            return Finding::wrong("addresses", sentence, "check that this user may list network interfaces");
        }
    };
    let mut found: Vec<String> =
        addrs.iter().filter_map(|addr| Some(format!("{} ({}, {})", addr.ip, addr.interface, kind(addr.ip)?))).collect();
    found.sort();
    let mut link_local: Vec<String> = addrs
        .iter()
        .filter(|addr| matches!(addr.ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
        .map(|addr| format!("{}%{}", addr.ip, addr.interface))
        .collect();
    link_local.sort();
    if found.is_empty() && !link_local.is_empty() {
        return Finding::note(
            "addresses",
            format!("This computer has addresses for the network it is in, and no others: {}.", link_local.join("; ")),
            "who is to reach it from elsewhere needs a router here that gives it an address",
        );
    }
    if found.is_empty() {
        return Finding::wrong(
            "addresses",
            "This computer has no address that another one could reach.",
            "connect it to a network; links of its own services open here all the same",
        );
    }
    Finding::fine("addresses", format!("Addresses of this computer: {}.", found.join("; ")))
}

/// What an address is good for, `None` when no other computer can use it.
fn kind(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_unspecified() => None,
        IpAddr::V4(ip) if ip.is_link_local() => Some("this network only, given without a router"),
        IpAddr::V4(ip) if ip.is_private() => Some("local network"),
        IpAddr::V4(ip) if is_shared(ip) => Some("behind the provider's router"),
        IpAddr::V4(_) => Some("public"),
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() => None,
        IpAddr::V6(ip) if ip.is_unique_local() => Some("local network"),
        IpAddr::V6(ip) if is_yggdrasil(ip) => Some("Yggdrasil mesh"),
        IpAddr::V6(_) => Some("public"),
    }
}

/// Shared address space of providers (RFC 6598): 100.64.0.0/10.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

/// Yggdrasil's 200::/7.
fn is_yggdrasil(ip: Ipv6Addr) -> bool {
    ip.octets()[0] & 0xfe == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ip: &str, expected: Option<&str>) {
        assert_eq!(kind(ip.parse().unwrap()), expected, "{ip}");
    }

    /// Words that mean nothing on a system, and one that its advice needs.
    #[test]
    fn advice_is_for_the_system_at_hand() {
        let rows = [
            (System::Windows, "NrptRule", &["libnss", "systemd", "dnsmasq", "/etc/"][..]),
            (System::Macos, "/etc/resolver/", &["libnss", "systemd", "dnsmasq", "PowerShell"]),
            (System::Other, "libnss-myhostname", &["PowerShell", "/etc/resolver/"]),
        ];
        for (system, needed, foreign) in rows {
            let advice = format!("{} {}", unknown_names(system), dns_unused(system, 7053).remedy.unwrap());
            assert!(advice.contains(needed), "{system:?}: {advice}");
            assert!(foreign.iter().all(|word| !advice.contains(word)), "{system:?}: {advice}");
        }
    }

    #[test]
    fn addresses_are_told_by_what_they_are_good_for() {
        check("127.0.0.1", None);
        check("192.168.1.5", Some("local network"));
        check("100.64.0.1", Some("behind the provider's router"));
        check("100.128.0.1", Some("public"));
        check("203.0.113.1", Some("public"));
        check("::1", None);
        check("fe80::1", None);
        check("fd00::1", Some("local network"));
        check("200::1", Some("Yggdrasil mesh"));
        check("302::1", Some("Yggdrasil mesh"));
        check("2001:db8::1", Some("public"));
    }
}
