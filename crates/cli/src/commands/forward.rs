//! `hardline forward`: a local TCP port ⇄ a service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hardline_node::node::Node;
use hardline_node::proto::host::ServiceName;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{Instrument as _, debug, info_span, warn};

use crate::args::ForwardArgs;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::settings::Loaded;
use crate::signals::Signals;

use super::reach::dialler;

/// Connections carried at once. Each costs two sockets and some buffers; a port for people has a handful.
const MAX_CONNECTIONS: usize = 1000;

/// Pause after an accept that failed, for lack of descriptors as a rule.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

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

    let node = Arc::new(node);
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept(&listener, &node, &name, &mut connections) => {}
        () = signals.next() => {}
    }
    drop(listener);
    tokio::select! {
        _ = tokio::time::timeout(loaded.settings.grace, async { while connections.join_next().await.is_some() {} }) => {}
        () = signals.next() => {}
    }
    connections.shutdown().await;
    if let Some(node) = Arc::into_inner(node) {
        node.shutdown().await;
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

/// Accepts for ever.
async fn accept(listener: &TcpListener, node: &Arc<Node>, name: &ServiceName, connections: &mut JoinSet<()>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    let (node, name) = (Arc::clone(node), name.clone());
                    let span = info_span!("forward", key = %name.key.short());
                    connections.spawn(async move { carry(stream, &node, &name).await }.instrument(span));
                }
                Ok(_) => warn!("connection refused, all slots in use"),
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection. The program on this side sees a reset when the service is not reached or the tunnel breaks.
async fn carry(mut stream: TcpStream, node: &Node, name: &ServiceName) {
    let _ = stream.set_nodelay(true);
    let mut tunnel = match node.connect(name).await {
        Ok(tunnel) => tunnel,
        Err(error) => {
            warn!(%error, "service not reached");
            let _ = stream.set_zero_linger();
            return;
        }
    };
    if let Err(error) = tokio::io::copy_bidirectional(&mut stream, &mut tunnel).await {
        debug!(%error, "tunnel broke");
        let _ = stream.set_zero_linger();
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
