//! One file per command.

mod mobile; // a gateway that is told of networks, for an app on a phone
mod run; // gateway and every service of the configuration
mod serve; // a node until it is told to stop
mod share; // one service, now

mod browse; // the local network, live
mod id; // own identities, and new ones
mod open; // a link in the browser
mod peers; // what is remembered
mod visitors; // who may come in to private services

mod child; // a program whose proxy is the gateway
mod connect; // stdin and stdout
mod env; // what makes a program use the gateway as its proxy
mod forward; // a local port
mod reach; // what connect and forward have in common

mod relay; // a relay, and its tokens

mod dht; // values, nodes and proxies of the DHT

mod config; // check, show, example
mod doctor; // what works here
mod manual; // completions and man pages
mod status; // what runs here

use crate::args::{self, Args, Command, GlobalArgs};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::settings::{self, Loaded, Sources};
use crate::{identities, logging};

/// Does what the command line asks for.
///
/// # Errors
/// [`Failure`] with the exit code, the cause and the remedy.
pub fn run(args: Args) -> Result<(), Failure> {
    if let Err(refusal) = args::check(&args) {
        refusal.exit();
    }
    let output = Output { is_json: args.global.json, is_quiet: args.global.quiet };
    let sources = sources(&args);
    let load = || load(&sources, output);
    match args.command {
        None if args.mobile => block_on(mobile::run(load()?, output)),
        None => block_on(run::run(load()?, args.legacy, output)),
        Some(Command::Share(args)) => block_on(share::run(load()?, args, output)),
        Some(Command::Browse(args)) => block_on(browse::run(load()?, args, output)),
        Some(Command::Peers(args)) => block_on(peers::run(load()?, args, output)),
        Some(Command::Invite(args)) => block_on(visitors::invite(load()?, args, output)),
        Some(Command::Accept(args)) => block_on(visitors::accept(load()?, args, output)),
        Some(Command::Visitors(args)) => block_on(visitors::visitors(load()?, args, output)),
        Some(Command::Revoke(args)) => block_on(visitors::revoke(load()?, args, output)),
        Some(Command::Id { identity }) => id::run(&load()?, identity.as_deref(), output),
        Some(Command::Open { link }) => block_on(open::run(load()?, &link, output)),
        Some(Command::Key(command)) => id::key(&load()?, command, output),
        Some(Command::Status) => block_on(status::run(load()?, output)),
        Some(Command::Doctor { service }) => block_on(doctor::run(&sources, service.as_deref(), output)),
        Some(Command::Connect(args)) => block_on(connect::run(load()?, args)),
        Some(Command::Forward(args)) => block_on(forward::run(load()?, args, output)),
        Some(Command::Run(args)) => block_on(child::run(load()?, args)),
        Some(Command::Env(args)) => block_on(env::run(load()?, args, output)),
        Some(Command::Relay { command }) => relay::run(load()?, command, output),
        Some(Command::Dht(args)) => block_on(dht::run(load()?, args, output)),
        Some(Command::Config(command)) => config::run(command, sources, output),
        Some(Command::Completions { shell }) => manual::completions(shell),
        Some(Command::Man { dir }) => manual::man(dir.as_deref()),
    }
}

/// Runs a command. What still runs when it has ended (a thread that reads stdin, say) is left to
/// the end of the process.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Who sets this knows better; tokio reads it.
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        builder.worker_threads(workers());
    }
    let runtime =
        builder.enable_all().build().map_err(|err| Failure::of(Exit::Failed, "cannot start threads", &err))?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

/// Threads that carry tunnels: half as many as there are cores. Tunnels that wander between threads
/// cost wake-ups, one thread carries about a GiB a second (docs/performance.md), and the other half
/// is for the services and the browsers themselves.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// Reads the settings and starts logging.
fn load(sources: &Sources, output: Output) -> Result<Loaded, Failure> {
    let loaded = settings::load(sources).map_err(|problems| config_failure(&problems))?;
    logging::start(&loaded.settings.log_filter, loaded.settings.log_format);
    for warning in &loaded.warnings {
        output.remark(format_args!("warning: {warning}"));
    }
    Ok(loaded)
}

fn config_failure(problems: &settings::Problems) -> Failure {
    let count = problems.0.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    Failure::new(Exit::Configuration, format_args!("the configuration has {count} {noun}\n{problems}"))
        .remedy("`hardline config example` says what every key means")
}

/// Where the settings of this run come from.
fn sources(args: &Args) -> Sources {
    Sources {
        file: args.global.config.clone(),
        default_file: identities::platform_config_file(),
        environment: environment(),
        flags: flags(&args.global, args.legacy.localport),
    }
}

fn environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with("HARDLINE_"))
        .collect()
}

/// The flags that stand for keys, general ones first.
fn flags(global: &GlobalArgs, localport: Option<u16>) -> Vec<(String, String, String)> {
    let mut flags = Vec::new();
    let mut add = |flag: &str, key: &str, value: String| flags.push((flag.to_owned(), key.to_owned(), value));
    for (key, value) in &global.set {
        add("--set", key, value.clone());
    }
    if let Some(folder) = &global.data_dir {
        add("--data-dir", "data_dir", folder.to_string_lossy().into_owned());
    }
    if let Some(port) = global.gateway_port {
        add("--gateway-port", "gateway.port", port.to_string());
    }
    if let Some(port) = global.p2p_port {
        add("--p2p-port", "p2p.port", port.to_string());
    }
    if !global.public_address.is_empty() {
        let addresses: Vec<_> = global.public_address.iter().map(ToString::to_string).collect();
        add("--public-address", "p2p.public_addresses", addresses.join(","));
    }
    if global.no_port_mapping {
        add("--no-port-mapping", "p2p.port_mapping", "false".into());
    }
    for (flag, key, values) in [
        ("--relay", "relays", &global.relay),
        ("--dht-bootstrap", "dht.bootstrap", &global.dht_bootstrap),
        ("--dht-proxy", "dht.proxies", &global.dht_proxy),
    ] {
        if !values.is_empty() {
            add(flag, key, values.join(","));
        }
    }
    if let Some(port) = &global.dht_port {
        add("--dht-port", "dht.port", port.clone());
    }
    if global.no_dht {
        add("--no-dht", "dht.enabled", "false".into());
    }
    match localport {
        Some(0) => add("--localport", "gateway.enabled", "false".into()),
        Some(port) => add("--localport", "gateway.port", port.to_string()),
        None => {}
    }
    match (global.quiet, global.verbose) {
        (true, _) => add("--quiet", "log.filter", "error".into()),
        (false, 0) => {}
        (false, 1) => add("-v", "log.filter", "info".into()),
        (false, 2) => add("-vv", "log.filter", "debug".into()),
        // Beneath the watching of interfaces, netlink tells of every poll.
        (false, _) => add("-vvv", "log.filter", "trace,netlink_proto=warn,netlink_sys=warn".into()),
    }
    if let Some(format) = global.log_format {
        let name = if format == logging::LogFormat::Json { "json" } else { "human" };
        add("--log-format", "log.format", name.into());
    }
    flags
}
