//! `hardline run -- COMMAND`: a program whose proxy is the gateway.

use std::ffi::OsString;
use std::io;

use hardline_node::config::NodeConfig;
use tokio::process::{Child, Command};

use super::serve::{self, OtherGateway};
use crate::args::RunArgs;
use crate::failure::{Exit, Failure};
use crate::gateway::{self, Occupant};
use crate::proxy_env::{no_proxy_here, variables};
use crate::settings::Loaded;
use crate::system::process;
use crate::system::signals::Signals;

/// What shells end with when a program is not there.
const NOT_FOUND: u8 = 127;

/// What shells end with when a program is there and cannot be run.
const NOT_RUN: u8 = 126;

pub(super) async fn run(loaded: Loaded, args: RunArgs) -> Result<(), Failure> {
    let port = loaded.settings.gateway_port;
    if port != 0 && gateway::occupant(port).await == Occupant::Gateway {
        let mut signals = Signals::catch().map_err(|err| Failure::of(Exit::Failed, "cannot catch signals", &err))?;
        return until_ended(spawn(&args, port)?, &mut signals).await;
    }
    // None runs here: one of our own, for as long as the program runs.
    let config = only_a_gateway(loaded.settings.node_config()?, port);
    let mut running = serve::start(config, OtherGateway::Use).await?;
    let outcome = match spawn(&args, running.gateway_port) {
        Ok(child) => until_ended(child, running.signals()).await,
        Err(failure) => Err(failure),
    };
    running.stop().await;
    outcome
}

fn only_a_gateway(mut config: NodeConfig, port: u16) -> NodeConfig {
    config.gateway_port = Some(port);
    config.services.clear();
    config.ready.clear();
    config.relay = None;
    config
}

fn spawn(args: &RunArgs, port: u16) -> Result<Child, Failure> {
    let (program, arguments) =
        args.command.split_first().map_or((OsString::new(), &[][..]), |(it, rest)| (it.clone(), rest));
    let mut command = Command::new(&program);
    command.args(arguments).envs(variables(port, args.all, &no_proxy_here())).kill_on_drop(true);
    command.spawn().map_err(|err| {
        let status = if err.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
        Failure::of(Exit::Failed, &format!("cannot run {}", program.display()), &err).status(status)
    })
}

/// Waits for the program, which a request to stop is passed on to. Fails with its status.
async fn until_ended(mut child: Child, signals: &mut Signals) -> Result<(), Failure> {
    loop {
        tokio::select! {
            ended = child.wait() => {
                let status = ended.map_err(|err| Failure::of(Exit::Failed, "cannot wait for the program", &err))?;
                return match process::code(status) {
                    0 => Ok(()),
                    code => Err(Failure::silent(Exit::Failed).status(code)),
                };
            }
            // Ctrl-C reaches the program by itself, since both have the same terminal; being asked
            // to stop twice harms nobody.
            () = signals.next() => process::terminate(&child),
        }
    }
}
