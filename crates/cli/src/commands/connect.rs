//! `hardline connect`: stdin and stdout ⇄ a service. Nothing else appears on stdout.

use std::io::{self, IsTerminal as _};

use hardline_node::node::TunnelStream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use crate::args::ReachArgs;
use crate::failure::{Exit, Failure};
use crate::links;
use crate::settings::Loaded;
use crate::system::process::close_stdout;
use crate::system::signals::Signals;

use super::reach::{dialler, static_addresses};

pub(super) async fn run(loaded: Loaded, args: ReachArgs) -> Result<(), Failure> {
    let mut signals = Signals::catch().map_err(|err| Failure::of(Exit::Failed, "cannot catch signals", &err))?;
    let name = links::read(&args.link)?;
    let node = dialler(&loaded, static_addresses(&name, &args.address)?).await?;
    let outcome = tokio::select! {
        tunnel = node.connect(&name) => match tunnel {
            Ok(tunnel) => tokio::select! {
                () = node.left(&tunnel) => Err(moved()),
                outcome = relay(tunnel) => outcome,
                () = signals.next() => Ok(()),
            },
            Err(error) => Err(Failure::from(&error)),
        },
        () = signals.next() => Ok(()),
    };
    node.shutdown().await;
    outcome
}

/// Carries bytes both ways until both directions have ended. Each ends by itself: the end of stdin
/// is a half-close, and the end of what the service sends closes stdout, which is how ssh learns of
/// it.
async fn relay(tunnel: TunnelStream) -> Result<(), Failure> {
    let (from_service, to_service) = tokio::io::split(tunnel);
    let up = upstream(tokio::io::stdin(), to_service);
    let down = downstream(from_service, tokio::io::stdout());
    tokio::pin!(up, down);
    tokio::select! {
        sent = &mut up => match sent {
            Ok(()) => down.await,
            Err(error) => Err(broken(&error)),
        },
        received = &mut down => {
            received?;
            // A person at a terminal has no more to say to a service that has ended.
            if io::stdin().is_terminal() { Ok(()) } else { up.await.or(Ok(())) }
        }
    }
}

async fn upstream(mut stdin: impl AsyncRead + Unpin, mut to_service: WriteHalf<TunnelStream>) -> io::Result<()> {
    tokio::io::copy(&mut stdin, &mut to_service).await?;
    to_service.shutdown().await
}

async fn downstream(
    mut from_service: ReadHalf<TunnelStream>,
    mut stdout: impl AsyncWrite + Unpin,
) -> Result<(), Failure> {
    tokio::io::copy(&mut from_service, &mut stdout).await.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(Exit::Done),
        _ => broken(&error),
    })?;
    stdout.flush().await.map_err(|error| broken(&error))?;
    close_stdout().map_err(|error| broken(&error))
}

fn broken(error: &io::Error) -> Failure {
    Failure::of(Exit::Failed, "the tunnel broke, and what it carried may be incomplete", error)
        .remedy("check that the other computer is still there, and connect again")
}

fn moved() -> Failure {
    Failure::new(Exit::Failed, "this computer has moved to another network, and the tunnel stayed behind")
        .remedy("connect again; what the tunnel carried may be incomplete")
}
