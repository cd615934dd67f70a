//! `hardline env`: what makes a program use the gateway as its proxy.

use serde_json::{Map, Value};

use crate::args::EnvArgs;
use crate::failure::{Exit, Failure};
use crate::gateway::{self, Occupant};
use crate::output::{self, Output};
use crate::proxy_env::{VariablesFor, no_proxy_here, variables};
use crate::settings::Loaded;

pub(super) async fn run(loaded: Loaded, args: EnvArgs, output: Output) -> Result<(), Failure> {
    let port = loaded.settings.gateway_port;
    if port == 0 {
        return Err(Failure::new(Exit::Configuration, "the gateway's port is 0, any free one")
            .remedy("say which with --gateway-port"));
    }
    let variables = variables(port, args.all, &no_proxy_here());
    if output.is_json {
        let object: Map<String, Value> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        output.event(&object.into())?;
    } else {
        output::write(&args.shell.unwrap_or_else(VariablesFor::here).lines(&variables))?;
    }
    if gateway::occupant(port).await != Occupant::Gateway {
        output.remark(format_args!("note: no gateway runs at port {port} yet; `hardline` runs one"));
    }
    Ok(())
}
