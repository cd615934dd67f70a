//! What the gateway says itself → a page, plain text or JSON.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::head::Accept;
use http::StatusCode;
use maud::{Markup, html};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::discovery::Report;
use crate::page::{CONTENT_SECURITY_POLICY, FORM_SECURITY_POLICY, page};

/// Seconds after which a page that may help itself loads again.
const RETRY_SECONDS: u32 = 3;

/// Headers of every answer: nothing is loaded, framed, kept, or read by another origin. `Server`
/// tells another hardline of this computer that the port is in good hands.
const HEADERS: [(&str, &str); 8] = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Server", "hardline"),
];

/// Time for the browser to take the answer and to close.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a request's body that are read and thrown away, so that closing does not reset the
/// connection before the answer has been read.
const DISCARD: u64 = 256 * 1024;

/// An answer of the gateway's own, in all its forms.
pub(super) struct Answer {
    status: StatusCode,
    /// For programs.
    code: &'static str,
    title: String,
    sentences: Vec<String>,
    is_loud: bool,
    retries: bool,
    links_first_page: bool,
    about: Option<KeyHash>,
    tried: Option<Arc<Report>>,
    header: Option<(&'static str, &'static str)>,
    /// Whether it has a form that is sent to where it comes from.
    has_form: bool,
    /// A file with its type, which is sent whatever the client likes to read.
    file: Option<(&'static str, String)>,
    /// Takes the place of the sentences, where there is more to show than those.
    pub(super) content: Option<Content>,
}

/// Content beyond a title and sentences.
pub(super) struct Content {
    pub(super) html: Markup,
    pub(super) text: String,
    pub(super) json: serde_json::Value,
}

impl Answer {
    pub(super) fn new(status: StatusCode, code: &'static str, title: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title: title.into(),
            sentences: Vec::new(),
            is_loud: false,
            retries: false,
            links_first_page: false,
            about: None,
            tried: None,
            header: None,
            has_form: false,
            file: None,
            content: None,
        }
    }

    /// Adds a sentence or two.
    pub(super) fn say(mut self, text: impl Into<String>) -> Self {
        self.sentences.push(text.into());
        self
    }

    /// Marks a warning that must not be overlooked.
    pub(super) fn loud(mut self) -> Self {
        self.is_loud = true;
        self
    }

    /// Lets the page load again by itself.
    pub(super) fn retry(mut self) -> Self {
        self.retries = true;
        self
    }

    pub(super) fn link_first_page(mut self) -> Self {
        self.links_first_page = true;
        self
    }

    pub(super) fn about(mut self, key: KeyHash) -> Self {
        self.about = Some(key);
        self
    }

    pub(super) fn tried(mut self, report: &Arc<Report>) -> Self {
        self.tried = Some(Arc::clone(report));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Lets the page have a form that is sent to where the page comes from.
    pub(super) fn with_form(mut self) -> Self {
        self.has_form = true;
        self
    }

    /// Sends `content` of the type `media_type` as it is.
    pub(super) fn file(mut self, media_type: &'static str, content: String) -> Self {
        self.file = Some((media_type, content));
        self
    }

    /// Writes the answer, without its body for HEAD, and closes the connection so that the browser
    /// has read it.
    pub(super) async fn send(&self, browser: TcpStream, accept: Accept, with_body: bool) {
        let Ok(here) = browser.local_addr() else { return };
        send_bytes(browser, &self.encode(accept, with_body, here.port())).await;
    }

    fn encode(&self, accept: Accept, with_body: bool, port: u16) -> Vec<u8> {
        let (content_type, body) = match accept {
            _ if self.file.is_some() => self.file.clone().unwrap_or_default(),
            Accept::Html => ("text/html; charset=utf-8", self.html(port).into_string()),
            Accept::Json => ("application/json", format!("{}\n", self.json())),
            Accept::Text => ("text/plain; charset=utf-8", self.text()),
        };
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.status.as_str(),
            self.status.canonical_reason().unwrap_or("Error"),
            body.len(),
        );
        for (name, value) in HEADERS.iter().chain(&self.header) {
            let value = match *name {
                "Content-Security-Policy" if self.has_form => FORM_SECURITY_POLICY,
                // Otherwise browsers do not say of whose page the form is (Fetch, section 3.2).
                "Referrer-Policy" if self.has_form => "same-origin",
                _ => value,
            };
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if self.retries {
            // `Refresh` makes a browser load the page again (HTML, section 4.2.5.3); programs go by
            // `Retry-After`.
            let _ = write!(head, "Retry-After: {RETRY_SECONDS}\r\nRefresh: {RETRY_SECONDS}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if with_body {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }

    fn html(&self, port: u16) -> Markup {
        page(
            &self.title,
            &html! {
                h1 { (self.title) }
                @if !self.sentences.is_empty() {
                    div .card[!self.is_loud] .notice[self.is_loud] .danger[self.is_loud] {
                        @for sentence in &self.sentences { p { (sentence) } }
                    }
                }
                @if let Some(content) = &self.content { (content.html) }
                @if self.retries { p .muted { "The search goes on: this page tries again by itself every " (RETRY_SECONDS) " seconds." } }
                @if let Some(report) = &self.tried { (tried_html(report)) }
                @if let Some(key) = self.about { p .muted { "Service " code { (key) } } }
                @if self.links_first_page { p { a href=(format!("http://localhost:{port}/")) { "List of services" } } }
            },
        )
    }

    fn text(&self) -> String {
        if let Some(content) = &self.content {
            return content.text.clone();
        }
        let mut text = format!("{}\n\n", self.title);
        for sentence in &self.sentences {
            let _ = writeln!(text, "{sentence}");
        }
        if let Some(report) = &self.tried {
            let _ = write!(text, "\n{}", tried_text(report));
        }
        if let Some(key) = self.about {
            let _ = writeln!(text, "\nService {key}");
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        if let Some(content) = &self.content {
            return content.json.clone();
        }
        let mut object = json!({ "error": self.code, "title": self.title, "message": self.sentences.join(" ") });
        if let Some(key) = self.about {
            object["key"] = key.to_string().into();
        }
        if let Some(report) = &self.tried {
            object["tried"] = json!(**report);
        }
        if self.retries {
            object["retry_after_seconds"] = RETRY_SECONDS.into();
        }
        object
    }
}

/// Writes `bytes` and closes the connection so that the browser has read them.
pub(super) async fn send_bytes(mut browser: TcpStream, bytes: &[u8]) {
    // A browser that went away, or does not read, gets nothing; that is all there is to do about
    // it.
    let _ = timeout(SEND_TIMEOUT, async {
        browser.write_all(bytes).await?;
        browser.shutdown().await?;
        tokio::io::copy(&mut browser.take(DISCARD), &mut tokio::io::sink()).await
    })
    .await;
}

fn tried_html(report: &Report) -> Markup {
    html! {
        details open {
            summary { "What was tried, " (seconds(report.took)) " in all" }
            ul { @for line in tried_lines(report) { li { (line) } } }
        }
    }
}

fn tried_text(report: &Report) -> String {
    let mut text = format!("Tried, {} in all:\n", seconds(report.took));
    for line in tried_lines(report) {
        let _ = writeln!(text, "- {line}");
    }
    text
}

fn tried_lines(report: &Report) -> Vec<String> {
    let sources = report.sources.iter().map(|entry| {
        let found = match entry.found {
            0 => "nothing".to_owned(),
            1 => "1 address".to_owned(),
            n => format!("{n} addresses"),
        };
        let problem = entry.problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default();
        format!("Asked {}: {found} after {}{problem}", entry.source.label, seconds(entry.took))
    });
    let attempts = report.attempts.iter().map(|attempt| {
        format!("Dialled {} ({}): {} ({})", attempt.addr, attempt.path, attempt.outcome, seconds(attempt.took))
    });
    sources.chain(attempts).collect()
}

fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
