//! `hardline forward`: a local TCP port ⇄ a service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hardline_node::proto::host::ServiceName;
use serde_json::json;
use tokio::net::TcpListener;

use crate::args::ForwardArgs;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::settings::Loaded;
use crate::signals::Signals;

use super::reach::dialler;

pub(super) async fn run(loaded: Loaded, args: ForwardArgs, output: Output) -> Result<(), Failure> {
    let wanted = local_address(&args.local).ok_or_else(|| {
        Failure::new(Exit::Usage, format_args!("--local {:?} is no [ADDR:]PORT", args.local))
            .remedy("write a port, or an IP address and a port: 2222, 127.0.0.1:2222, [::1]:2222")
    })?;
    let mut signals = Signals::catch().map_err(|err| Failure::of(Exit::Failed, "cannot catch signals", &err))?;
    let (node, name) = dialler(&loaded, &args.reach).await?;
    let listener = TcpListener::bind(wanted).await.map_err(|err| cannot_listen(wanted, &err))?;
    let local = listener.local_addr().map_err(|err| cannot_listen(wanted, &err))?;
    announce(local, &name, output);

    node.forward(listener, name);
    signals.next().await;
    tokio::select! {
        () = node.shutdown() => {}
        () = signals.next() => tracing::info!("stopped at once"),
    }
    Ok(())
}

fn announce(local: SocketAddr, name: &ServiceName, output: Output) {
    // Carrying goes on when nobody reads this.
    let _ = output.event(&json!({"event": "ready", "local": local.to_string(), "key": name.key.to_string()}));
    let _ = output.line(format_args!("Forwarding {local} to {}. Ctrl-C ends this.", name.key));
    if !local.ip().is_loopback() {
        output.remark(format_args!("warning: everybody who reaches {local} reaches the service"));
    }
}

fn cannot_listen(at: SocketAddr, error: &std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::AddrInUse { Exit::InUse } else { Exit::Failed };
    Failure::of(exit, &format!("cannot listen at {at}"), error).remedy("choose another port, or 0 for a free one")
}

/// Reads `[ADDR:]PORT`. Without an address it is 127.0.0.1.
fn local_address(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("localhost:").unwrap_or(text);
    match text.parse::<u16>() {
        Ok(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(local_address(text).map(|addr| addr.to_string()).as_deref(), expected);
    }

    #[test]
    fn a_port_alone_is_on_the_loopback() {
        check("2222", Some("127.0.0.1:2222"));
        check("0", Some("127.0.0.1:0"));
        check("localhost:2222", Some("127.0.0.1:2222"));
        check("[::1]:2222", Some("[::1]:2222"));
        check("0.0.0.0:2222", Some("0.0.0.0:2222"));
        check("", None);
        check("70000", None);
        check("example.org:22", None);
        check("::1", None);
    }
}
