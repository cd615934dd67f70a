//! What a service's settings ask for.

use std::io;

use hardline_proto::hosts::{Host, HostPort};
use hardline_proto::rewrite::{BackendNames, Rules, Scheme};
use http::header::HeaderValue;
use http::uri::Authority;

use crate::apps;
use crate::config::{HostHeader, HttpSettings, ServiceConfig, Target};
use crate::tls::backend::BackendTls;

/// How heads are rewritten; `None` where bytes are carried as they come.
pub(super) fn rules(config: &ServiceConfig) -> Option<Rules> {
    let (settings, target) = (&config.http, &config.target);
    if *settings == HttpSettings::default() && !matches!(target, Target::Https(_)) {
        return None;
    }
    let (scheme, at) = match target {
        Target::Https(at) => (Scheme::Https, Some(at.clone())),
        Target::Tcp(at) => (Scheme::Http, Some(at.clone())),
        Target::Udp(_) | Target::Unix(_) | Target::Folder(_) => (Scheme::Http, None),
    };
    let host = host(settings, scheme, at.as_ref());
    let called = host.as_ref().and_then(|host| Authority::try_from(host.as_bytes()).ok());
    Some(Rules {
        redirects: settings.rewrite_redirects.unwrap_or(host.is_some()),
        forwarded: settings.forwarded.unwrap_or(settings.app.is_some_and(|app| app.forwarded)),
        headers: settings.headers.clone(),
        backend: BackendNames::new(scheme, at, called),
        host,
    })
}

fn host(settings: &HttpSettings, scheme: Scheme, at: Option<&HostPort>) -> Option<HeaderValue> {
    let of_app = || {
        settings.app.map(|app| match app.host {
            apps::Host::Target => HostHeader::Target,
            apps::Host::Localhost => HostHeader::Localhost,
        })
    };
    let called = |at: Option<HostPort>| BackendNames::new(scheme, at, None).host();
    Some(match settings.host_header.clone().or_else(of_app)? {
        HostHeader::Target => called(at.cloned()),
        HostHeader::Localhost => {
            called(at.map(|at| HostPort { host: Host::Name("localhost".to_owned()), port: at.port }))
        }
        HostHeader::Is(authority) => HeaderValue::try_from(authority.as_str()).ok()?,
    })
}

/// How the program is verified, where it speaks TLS.
pub(super) fn tls(config: &ServiceConfig) -> io::Result<Option<BackendTls>> {
    let certificate = config.http.backend_certificate.as_ref();
    match &config.target {
        Target::Https(at) => BackendTls::new(&at.host, certificate).map(Some),
        _ if certificate.is_some() => {
            let reason = "backend_certificate is for a target that begins with https://";
            Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
        }
        _ => Ok(None),
    }
}
