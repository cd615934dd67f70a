//! `hardline config`: check, show, example.

use serde_json::json;

use crate::args::ConfigCommand;
use crate::docs;
use crate::failure::{Exit, Failure};
use crate::output::{self, Output};
use crate::settings::schema::{FORWARD_KEYS, KEYS, Key, PEER_KEYS, SERVICE_KEYS};
use crate::settings::{self, Loaded, Sources};

pub(super) fn run(command: ConfigCommand, mut sources: Sources, output: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file } => {
            sources.file = file.or(sources.file);
            check(&sources, output)
        }
        ConfigCommand::Show => show(&super::load(&sources, output)?, output),
        ConfigCommand::Example => output::write(&docs::example_file()),
    }
}

fn check(sources: &Sources, output: Output) -> Result<(), Failure> {
    match settings::load(sources) {
        Ok(loaded) => {
            let file = loaded.file.as_ref().map(|path| path.display().to_string());
            let (services, peers) = (loaded.settings.services.len(), loaded.settings.peers.len());
            output.event(&json!({"event": "checked", "file": file, "services": services, "peers": peers}))?;
            let name = file.unwrap_or_else(|| "no configuration file".into());
            output.line(format_args!("{name}: no problems; {services} services, {peers} peers"))?;
            loaded.warnings.iter().for_each(|warning| output.remark(format_args!("warning: {warning}")));
            Ok(())
        }
        Err(problems) if output.is_json => {
            for problem in &problems.0 {
                let place = problem.origin.to_string();
                output.event(&json!({"event": "problem", "where": place, "message": problem.message}))?;
            }
            Err(Failure::silent(Exit::Configuration))
        }
        Err(problems) => Err(super::config_failure(&problems)),
    }
}

fn show(loaded: &Loaded, output: Output) -> Result<(), Failure> {
    let settings = &loaded.settings;
    for key in KEYS {
        let value = (key.get)(settings).map(|value| value.to_string());
        let origin = loaded.origins.get(key.name).map_or_else(|| "default".into(), ToString::to_string);
        output.event(&json!({"event": "key", "key": key.name, "value": value, "where": origin}))?;
        output.line(format_args!("{} = {}  # {origin}", key.name, value.as_deref().unwrap_or("the platform's")))?;
    }
    settings.services.iter().try_for_each(|service| show_table("service", SERVICE_KEYS, service, output))?;
    settings.peers.iter().try_for_each(|peer| show_table("peer", PEER_KEYS, peer, output))?;
    settings.forwards.iter().try_for_each(|forward| show_table("forward", FORWARD_KEYS, forward, output))
}

fn show_table<T>(name: &str, keys: &[Key<T>], table: &T, output: Output) -> Result<(), Failure> {
    output.line(format_args!("\n[[{name}]]"))?;
    let mut event = serde_json::Map::from_iter([("event".to_owned(), name.into())]);
    for key in keys {
        let Some(value) = (key.get)(table) else { continue };
        output.line(format_args!("{} = {value}", key.name))?;
        event.insert(key.name.into(), value.to_string().into());
    }
    output.event(&event.into())
}
