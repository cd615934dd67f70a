//! What a visitor would see of the program behind a service, without a tunnel in between.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hardline_proto::hosts::HostPort;
use hardline_proto::rewrite::{BackendNames, Scheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Backend, BackendTimeouts};
use crate::config::{BackendCertificate, ServiceConfig, Target};
use crate::limits::BACKEND_CONNECT_TIMEOUT;
use crate::tls::backend::{BackendTls, fingerprint};
use crate::transport::tcp;

/// Time for the program to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that are read of an answer.
const MAX_ANSWER: u64 = 64 * 1024;

/// What a visitor calls a service: the name of none.
const HOST: &str = "0000000000000000000000000000000000000000.localhost:7009";

/// The beginning of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status; `None` if it is not HTTP.
    pub status: Option<u16>,
    /// Head and body, as far as they were read.
    pub text: String,
}

/// Asks the program of `service` for `path` as a browser would, through what is set for it.
///
/// # Errors
/// When the program is not reached, or the settings cannot be used.
pub async fn visit(service: &ServiceConfig, path: &str) -> io::Result<Answer> {
    let backend = Backend::new(service, BackendTimeouts { connect: BACKEND_CONNECT_TIMEOUT, answer: ANSWER_TIMEOUT })?;
    let mut stream = backend.connect(IpAddr::V4(Ipv4Addr::LOCALHOST)).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/plain, */*;q=0.9\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let asking = async {
        stream.write_all(request.as_bytes()).await?;
        (&mut stream).take(MAX_ANSWER).read_to_end(&mut answer).await
    };
    // What has come so far may say enough: of one that goes on without end, or was reset.
    let _ = timeout(ANSWER_TIMEOUT + Duration::from_secs(1), asking).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let words = text.split(' ').nth(1).filter(|_| text.starts_with("HTTP/1."));
    Ok(Answer { status: words.and_then(|status| status.parse().ok()), text })
}

/// The fingerprint of the certificate that whoever is at the target of `service` presents, whether
/// or not it is believed, as `backend_certificate` takes it; `None` if no TLS is spoken there.
pub async fn presented_certificate(service: &ServiceConfig) -> Option<String> {
    let at = address(&service.target)?;
    let tls = BackendTls::new(&at.host, Some(&BackendCertificate::Any)).ok()?;
    let asking = async { tls.connect(tcp::connect(at, BACKEND_CONNECT_TIMEOUT).await?).await };
    let stream = timeout(ANSWER_TIMEOUT, asking).await.ok()?.ok()?;
    stream.get_ref().1.peer_certificates()?.first().map(|certificate| fingerprint(certificate))
}

impl Answer {
    /// Where the answer sends a browser, if that is the program's own address instead of the
    /// service's.
    #[must_use]
    pub fn leads_away(&self, service: &ServiceConfig) -> Option<&str> {
        let scheme = if matches!(service.target, Target::Https(_)) { Scheme::Https } else { Scheme::Http };
        let names = BackendNames::new(scheme, address(&service.target).cloned(), None);
        let head = self.text.split("\r\n\r\n").next()?;
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        let (_, location) = lines.find(|(name, _)| name.eq_ignore_ascii_case("location"))?;
        Some(location.trim()).filter(|location| names.are_in(location))
    }
}

fn address(target: &Target) -> Option<&HostPort> {
    match target {
        Target::Tcp(at) | Target::Https(at) => Some(at),
        Target::Udp(_) | Target::Unix(_) | Target::Folder(_) => None,
    }
}
