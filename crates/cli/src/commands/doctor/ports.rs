//! Who has the ports: nobody, a hardline, or another program.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::gateway::{self, Occupant};
use crate::settings::Settings;

use super::Finding;

/// Browsers of this computer: both halves of the port.
pub(super) async fn gateway(settings: &Settings) -> Finding {
    if !settings.gateway_enabled {
        return Finding::fine("gateway_port", "The gateway is turned off: this computer only publishes.");
    }
    let port = settings.gateway_port;
    if port == 0 {
        return Finding::fine("gateway_port", "The gateway takes a free port at each start, so links change with it.");
    }
    let halves = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let refused = halves.into_iter().find_map(|ip| bind(SocketAddr::new(ip, port)).err().filter(is_about_the_port));
    let Some(error) = refused else {
        return Finding::fine("gateway_port", format!("Port {port}, where browsers connect, is free."));
    };
    let remedy = "choose another port with --gateway-port; links then carry that port";
    if error.kind() != ErrorKind::AddrInUse {
        let sentence = format!("Port {port}, where browsers connect, cannot be used: {error}.");
        return Finding::wrong("gateway_port", sentence, remedy);
    }
    match gateway::occupant(port).await {
        Occupant::Gateway => {
            Finding::fine("gateway_port", format!("A hardline serves browsers at port {port}: links open here."))
        }
        other => {
            let by = if other == Occupant::Nobody { Occupant::Other(gateway::program(port).await) } else { other };
            let sentence = format!("Port {port}, where browsers connect, is used by {by}.");
            Finding::wrong("gateway_port", sentence, format!("stop that program, or {remedy}"))
        }
    }
}

/// Other computers. When the port is taken the next free one serves, so it is never wrong.
pub(super) async fn p2p(settings: &Settings) -> Finding {
    let port = settings.node.p2p.port;
    if port == 0 {
        return Finding::fine("p2p_port", "Other computers connect at a free port, another one at each start.");
    }
    let everywhere = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let Some(error) =
        everywhere.into_iter().find_map(|ip| bind(SocketAddr::new(ip, port)).err().filter(is_about_the_port))
    else {
        return Finding::fine("p2p_port", format!("Port {port}, where other computers connect, is free."));
    };
    let by = match gateway::program(port).await {
        Some(program) if program.starts_with("hardline ") => {
            let sentence = format!("Port {port}, where other computers connect, is used by {program}.");
            return Finding::fine("p2p_port", sentence);
        }
        Some(program) => format!("used by {program}"),
        None if error.kind() == ErrorKind::AddrInUse => "used by another program".into(),
        None => format!("not to be had ({error})"),
    };
    Finding::note(
        "p2p_port",
        format!("Port {port}, where other computers connect, is {by}; the next free one will serve."),
        "a router that forwards the port by hand needs a fixed one: choose a free one with --p2p-port",
    )
}

fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(at)
}

/// Whether an error is about the port, not about an address family this computer does not have.
fn is_about_the_port(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}
