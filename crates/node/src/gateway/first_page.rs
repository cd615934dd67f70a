//! What can be opened from here → the gateway's first page.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::KeyHash;
use http::StatusCode;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;
use tracing::debug;

use super::answer::{Answer, Content};
use crate::discovery::Resolver;
use crate::drivers::lan::{FoundService, Lan};
use crate::services::{Service, Services};

/// How long the page waits for the LAN to answer. Services that were heard before are shown all the
/// same.
const LISTEN: Duration = Duration::from_millis(400);

/// The first page of one gateway.
pub(crate) struct FirstPage {
    /// Services of this computer.
    pub(crate) own: Arc<Services>,
    /// The gateway's own port, for links.
    pub(crate) port: u16,
}

/// A service that can be opened.
#[derive(Debug, Serialize)]
struct Entry {
    key: String,
    title: String,
    link: String,
    addresses: Vec<String>,
}

impl FirstPage {
    pub(super) async fn answer(&self, resolver: &Resolver) -> Answer {
        let entry =
            |own: &Arc<Service>| self.entry(own.key(), None, &own.config.title, vec![own.config.target.to_string()]);
        let own: Vec<_> = self.own.now().services.iter().map(entry).collect();
        let found = match &resolver.context.lan {
            Some(lan) => self.found(lan).await,
            None => Vec::new(),
        };
        let found: Vec<_> = found.into_iter().filter(|entry| !own.iter().any(|own| own.key == entry.key)).collect();
        let mut answer = Answer::new(StatusCode::OK, "services", "Services");
        let remembered = self.remembered(resolver).await;
        let remembered: Vec<_> = remembered
            .into_iter()
            .filter(|entry| !own.iter().chain(&found).any(|shown| shown.key == entry.key))
            .collect();
        let sections = [
            ("On this network now", "found", "Nothing is announced on this network.", found),
            ("Remembered", "remembered", "Services you have opened are remembered here.", remembered),
            ("Of this computer", "own", "", own),
        ];
        answer.content =
            Some(Content { html: page_html(&sections), text: page_text(&sections), json: page_json(&sections) });
        answer
    }

    async fn found(&self, lan: &Lan) -> Vec<Entry> {
        let mut live = lan.browse();
        // Ends by the time-out: the list is live for as long as somebody looks.
        let _ = timeout(LISTEN, async { while live.changed().await.is_ok() {} }).await;
        let heard = live.borrow();
        let addresses = |addrs: &[std::net::SocketAddr]| addrs.iter().map(ToString::to_string).collect();
        // A text heard here is no secret: it was told to everybody who asked on this network.
        let text = |service: &FoundService| service.password.as_ref().map(|text| text.as_str().to_owned());
        heard
            .iter()
            .map(|service| self.entry(service.key, text(service), &service.title, addresses(&service.addrs)))
            .collect()
    }

    async fn remembered(&self, resolver: &Resolver) -> Vec<Entry> {
        let Some(store) = &resolver.context.store else { return Vec::new() };
        let services = store.services().await.unwrap_or_else(|error| {
            debug!(%error, "remembered services not read");
            Vec::new()
        });
        services
            .iter()
            .map(|service| {
                let addresses = service.addresses.iter().map(|address| address.at.to_string()).collect();
                self.entry(service.key, None, service.title.as_deref().unwrap_or_default(), addresses)
            })
            .collect()
    }

    /// The link of one's own and of remembered services is without the password, if there is one:
    /// every user of this computer can read this page.
    fn entry(&self, key: KeyHash, text: Option<String>, title: &str, addresses: Vec<String>) -> Entry {
        let title = if title.is_empty() { key.short() } else { title.to_owned() };
        let text = text.map(|text| text + "-").unwrap_or_default();
        let link = format!("http://{text}{key}.localhost:{}/", self.port);
        Entry { key: key.to_string(), title, link, addresses }
    }
}

type Section = (&'static str, &'static str, &'static str, Vec<Entry>);

fn page_html(sections: &[Section]) -> Markup {
    html! {

        @for (heading, _, when_empty, entries) in sections {
            @if !entries.is_empty() || !when_empty.is_empty() {
                h2 { (heading) }
                @if entries.is_empty() { p .muted { (when_empty) } }
                @for entry in entries {
                    div .card {
                        a href=(entry.link) { (entry.title) }
                        div .muted { code { (entry.key) } " " (entry.addresses.join(", ")) }
                    }
                }
            }
        }
        footer { "Titles are what the other computers say of themselves. The key hash in the link is what is checked." }
    }
}

fn page_text(sections: &[Section]) -> String {
    let mut text = String::new();
    for (heading, _, when_empty, entries) in sections {
        if entries.is_empty() && when_empty.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{heading}:");
        if entries.is_empty() {
            let _ = writeln!(text, "  {when_empty}");
        }
        for entry in entries {
            let _ = writeln!(text, "  {}  {}  {}", entry.title, entry.link, entry.addresses.join(", "));
        }
    }
    text
}

fn page_json(sections: &[Section]) -> serde_json::Value {
    let mut object = json!({});
    for (_, name, _, entries) in sections {
        object[*name] = json!(entries);
    }
    object
}
