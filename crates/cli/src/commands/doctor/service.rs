//! What a visitor would see of one service, and what to do about it.

use hardline_node::apps;
use hardline_node::backend::visit::{Answer, presented_certificate, visit};
use hardline_node::config::{ServiceConfig, Target};

use super::Finding;
use crate::failure::{Exit, Failure};
use crate::output::printable;
use crate::settings::{ServiceSettings, Settings};
use crate::target;

/// For programs.
const ABOUT: &str = "service";

/// The service that `text` names: one of the configuration, or a target of its own.
pub(super) fn find(settings: &Settings, text: &str) -> Result<ServiceConfig, Failure> {
    let data_dir = settings.data_dir()?;
    let configs: Vec<_> = settings.services.iter().filter_map(|it| Some((it, it.node_config(&data_dir)?))).collect();
    let parsed = target::parse(text, &target::here());
    let is_named = |(settings, config): &&(&ServiceSettings, ServiceConfig)| {
        settings.name.as_deref() == Some(text) || config.title == text || parsed.as_ref() == Ok(&config.target)
    };
    if let Some((_, config)) = configs.iter().find(is_named) {
        return Ok(config.clone());
    }
    let target = parsed.map_err(|reason| {
        Failure::new(
            Exit::Usage,
            format_args!("no service of the configuration has this title, name or target: {reason}"),
        )
        .remedy(format_args!("a target is {}", target::FORMS))
    })?;
    let service = ServiceSettings { target: Some(target), ephemeral: true, ..ServiceSettings::default() };
    service.node_config(&data_dir).ok_or_else(|| Failure::new(Exit::Usage, "this is no service"))
}

/// Asks the program as a visitor would.
pub(super) async fn findings(service: &ServiceConfig) -> Vec<Finding> {
    if let Target::Udp(_) = service.target {
        let sentence =
            format!("{} speaks UDP, so it is not asked: what answers is between the programs.", name(service));
        return vec![Finding::note(ABOUT, sentence, "`hardline forward LINK=udp:PORT` reaches it on other computers")];
    }
    let answer = match visit(service, "/").await {
        Ok(answer) => answer,
        Err(error) => {
            let sentence = format!("{} is not reached: {error}.", name(service));
            return vec![Finding::wrong(ABOUT, sentence, "start the program, or correct the target")];
        }
    };
    if let Some(finding) = refused(service, "/", &answer) {
        return vec![finding];
    }
    if let Some(finding) = distrusts(service, &answer).await {
        return vec![finding];
    }
    for path in other_paths(&answer) {
        if let Ok(answer) = visit(service, path).await
            && let Some(finding) = refused(service, path, &answer)
        {
            return vec![finding];
        }
    }
    vec![answered(service, &answer).await]
}

/// Paths of programs that the answer is one of.
fn other_paths(answer: &Answer) -> impl Iterator<Item = &'static str> {
    apps::REFUSALS.iter().filter(|it| it.path != "/" && answer.text.contains(it.sign)).map(|it| it.path)
}

fn refused(service: &ServiceConfig, path: &str, answer: &Answer) -> Option<Finding> {
    let refusal = apps::refusal(path, answer.status?, &answer.text)?;
    let sentence =
        format!("{}: {} answers {} because {}.", name(service), refusal.who, refusal.status, refusal.because);
    Some(Finding::wrong(ABOUT, sentence, format!("add {} to the service; see docs/apps.md", refusal.setting)))
}

/// A program that answers as long as it is not told who asked.
async fn distrusts(service: &ServiceConfig, answer: &Answer) -> Option<Finding> {
    let status = answer.status.filter(|status| *status >= 400 && service.http.forwarded == Some(true))?;
    let mut silent = service.clone();
    silent.http.forwarded = Some(false);
    let otherwise = visit(&silent, "/").await.ok()?.status.filter(|status| *status < 400)?;
    let known = apps::distrust(status, &answer.text);
    let sentence = format!(
        "{}: {} answers {status} because it is told who asks, and {otherwise} where it is not.",
        name(service),
        known.map_or("The program", |it| it.who),
    );
    let remedy = match known {
        Some(known) => format!("add {}", known.remedy),
        None => "have the program believe this computer as a proxy".to_owned(),
    };
    let remedy = format!("{remedy}, or take forwarded = true out of the service; see docs/apps.md");
    Some(Finding::wrong(ABOUT, sentence, remedy))
}

async fn answered(service: &ServiceConfig, answer: &Answer) -> Finding {
    let name = name(service);
    if let Some(location) = answer.leads_away(service) {
        let sentence = format!("{name} sends browsers to {}, which is its own address.", printable(location));
        return Finding::wrong(ABOUT, sentence, "add rewrite_redirects = true to the service");
    }
    let body = answer.text.split("\r\n\r\n").nth(1).unwrap_or_default();
    let is_ours = body.starts_with("The program behind this service");
    match answer.status {
        Some(502) if is_ours && body.contains("not verified") => unverified(service, body).await,
        Some(502 | 504) if is_ours => {
            Finding::wrong(ABOUT, format!("{name}: {}", printable(body.trim())), "look at the program")
        }
        Some(status) => Finding::fine(ABOUT, format!("{name} answers a visitor with {status}.")),
        None => no_http(service, answer).await,
    }
}

async fn unverified(service: &ServiceConfig, body: &str) -> Finding {
    let sentence = format!("{}: {}", name(service), printable(body.trim()));
    let remedy = match presented_certificate(service).await {
        Some(fingerprint) => {
            format!("if you know that this is the right program, add backend_certificate = \"{fingerprint}\"")
        }
        None => "look whether the program speaks HTTPS at this port".to_owned(),
    };
    Finding::wrong(ABOUT, sentence, remedy)
}

async fn no_http(service: &ServiceConfig, answer: &Answer) -> Finding {
    let name = name(service);
    if let (Target::Tcp(at), Some(_)) = (&service.target, presented_certificate(service).await) {
        let sentence = format!("{name} speaks HTTPS, so browsers see nothing at http://.");
        return Finding::wrong(ABOUT, sentence, format!("make its target \"https://{at}\""));
    }
    let sentence = match printable(answer.text.lines().next().unwrap_or_default().trim()) {
        said if said.is_empty() => format!("{name} does not answer HTTP."),
        said => format!("{name} does not speak HTTP; it says {said:?}."),
    };
    Finding::note(ABOUT, sentence, "browsers show nothing of it; `hardline connect` and `hardline forward` reach it")
}

fn name(service: &ServiceConfig) -> String {
    let target = service.target.to_string();
    if service.title == target { target } else { format!("{} ({target})", printable(&service.title)) }
}
