//! `hardline doctor`: what works here, in sentences, and what to do about the rest.

mod dht; // the DHT
mod network; // interfaces, multicast, own addresses, names
mod ports; // who has the ports
mod reach; // the way here from outside
mod service; // what a visitor would see of a service

use std::path::Path;

use hardline_node::network::NetworkMonitor;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::{Exit, Failure};
use crate::gateway;
use crate::output::Output;
use crate::settings::{self, Loaded, Sources};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Fine,
    /// Worth knowing; Hardline works all the same.
    Note,
    /// Something does not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    /// For programs.
    about: &'static str,
    state: State,
    sentence: String,
    remedy: Option<String>,
}

impl Finding {
    fn fine(about: &'static str, sentence: impl Into<String>) -> Self {
        Self { about, state: State::Fine, sentence: sentence.into(), remedy: None }
    }

    fn note(about: &'static str, sentence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { about, state: State::Note, sentence: sentence.into(), remedy: Some(remedy.into()) }
    }

    fn wrong(about: &'static str, sentence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { about, state: State::Wrong, sentence: sentence.into(), remedy: Some(remedy.into()) }
    }
}

pub(super) async fn run(sources: &Sources, of: Option<&str>, output: Output) -> Result<(), Failure> {
    match of {
        Some(of) => {
            let loaded = super::load(sources, output)?;
            tell(&service::findings(&service::find(&loaded.settings, of)?).await, output)
        }
        None => of_all(sources, output).await,
    }
}

async fn of_all(sources: &Sources, output: Output) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let loaded = configuration(sources, &mut findings);
    let settings = &loaded.settings;
    crate::logging::start(&settings.log_filter, settings.log_format);
    findings.push(data_folder(settings.data_dir().ok().as_deref()));
    findings.push(ports::gateway(settings).await);
    findings.push(ports::p2p(settings).await);
    findings.push(network::ipv6_loopback().await);
    let shutdown = CancellationToken::new();
    let _stop = shutdown.clone().drop_guard();
    let networks = NetworkMonitor::start(shutdown, &TaskTracker::new());
    findings.extend(network::multicast(settings, &networks).await);
    findings.push(network::names(settings).await);
    findings.push(network::addresses());
    let running = gateway::status(settings.gateway_port).await;
    let (of_dht, seen) = dht::findings(settings, running.as_ref()).await;
    findings.extend(of_dht);
    findings.extend(reach::findings(settings, &networks, running.as_ref(), &seen).await);
    tell(&findings, output)
}

/// The settings; the defaults when they have problems, so that the rest can be looked at.
fn configuration(sources: &Sources, findings: &mut Vec<Finding>) -> Loaded {
    match settings::load(sources) {
        Ok(loaded) => {
            let file = loaded.file.as_ref().map(|path| path.display().to_string());
            findings.push(Finding::fine(
                "configuration",
                file.map_or_else(
                    || "There is no configuration file, so everything has its default.".into(),
                    |file| format!("The configuration {file} has no problems."),
                ),
            ));
            loaded
        }
        Err(problems) => {
            let remedy = "`hardline config check` says the same; what follows is for the default settings";
            let sentence = format!("The configuration has problems:\n{problems}");
            findings.push(Finding::wrong("configuration", sentence, remedy));
            Loaded::default()
        }
    }
}

fn data_folder(folder: Option<&Path>) -> Finding {
    let Some(folder) = folder else {
        let sentence = "This user has no home, and so no folder for data.";
        return Finding::wrong("data_folder", sentence, "name a folder with --data-dir or HARDLINE_DATA_DIR");
    };
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&probe, "hardline doctor"));
    let removed = std::fs::remove_file(&probe);
    match written.and(removed) {
        Ok(()) => Finding::fine("data_folder", format!("The data folder {} can be written.", folder.display())),
        Err(err) => Finding::wrong(
            "data_folder",
            format!("The data folder {} cannot be written: {err}.", folder.display()),
            "make it writable for this user, or choose another one with --data-dir",
        ),
    }
}

fn tell(findings: &[Finding], output: Output) -> Result<(), Failure> {
    for finding in findings {
        let (word, sign) = match finding.state {
            State::Fine => ("fine", "ok   "),
            State::Note => ("note", "note "),
            State::Wrong => ("wrong", "WRONG"),
        };
        output.event(&json!({
            "event": "finding",
            "about": finding.about,
            "state": word,
            "sentence": finding.sentence,
            "remedy": finding.remedy,
        }))?;
        if output.is_quiet && finding.state == State::Fine {
            continue;
        }
        output.line(format_args!("{sign}  {}", finding.sentence.replace('\n', "\n         ")))?;
        if let Some(remedy) = &finding.remedy {
            output.line(format_args!("         {remedy}"))?;
        }
    }
    let wrong = findings.iter().filter(|finding| finding.state == State::Wrong).count();
    output.event(&json!({"event": "done", "wrong": wrong}))?;
    if wrong == 0 { Ok(()) } else { Err(Failure::silent(Exit::ChecksFailed)) }
}
