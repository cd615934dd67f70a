//! Which addresses are the backend's, and which are this service's own.

use std::net::IpAddr;

use http::header::HeaderValue;
use http::uri::Authority;

use crate::hosts::{Host, HostPort};

/// How a backend is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in an address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of an address that names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }
}

/// The addresses by which a backend may call itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendNames {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Where; `None` for a socket or a folder.
    at: Option<HostPort>,
    /// What its `Host` is set to.
    called: Option<Authority>,
}

impl BackendNames {
    /// A backend that is spoken to by `scheme` at `at`, and told that it is called `called`.
    #[must_use]
    pub fn new(scheme: Scheme, at: Option<HostPort>, called: Option<Authority>) -> Self {
        Self { scheme, at, called }
    }

    /// `Host` for the backend's own address; the scheme's port is left out.
    #[must_use]
    pub fn host(&self) -> HeaderValue {
        let text = self.at.as_ref().map(|at| {
            let text = without_zone(at);
            let default = format!(":{}", self.scheme.default_port());
            text.strip_suffix(&default).map(str::to_owned).unwrap_or(text)
        });
        let text = text.unwrap_or_else(|| "localhost".to_owned());
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
    }

    /// Whether `address` is one of the backend's: `http://localhost:8080/path`.
    #[must_use]
    pub fn are_in(&self, address: &str) -> bool {
        self.below(address).is_some()
    }

    /// Whether `authority`, in an address of `scheme`, is the backend's.
    fn has(&self, scheme: Scheme, authority: &Authority) -> bool {
        let port = authority.port_u16().unwrap_or(scheme.default_port());
        let port_of_called = self.called.as_ref().map(|called| called.port_u16().unwrap_or(self.scheme.default_port()));
        let is_port = self.at.as_ref().is_some_and(|at| at.port == port) || port_of_called == Some(port);
        !authority.as_str().contains('@') && is_port && self.has_host(authority.host())
    }

    /// Whether `host` is the backend's, whatever the port.
    pub(super) fn has_host(&self, host: &str) -> bool {
        let is_called = self.called.as_ref().is_some_and(|called| is_same(called.host(), host));
        is_called
            || self.at.as_ref().is_some_and(|at| is_same(&host_of(at), host) || is_loopback(at) && is_of_loopback(host))
    }

    /// What follows the authority in `address`, if that is the backend's: `/path` of
    /// `http://localhost:8080/path`, and of `//localhost:8080/path`.
    pub(super) fn below<'a>(&self, address: &'a str) -> Option<&'a str> {
        let (scheme, rest) = match address.strip_prefix("//") {
            Some(rest) => (self.scheme, rest),
            None => split_scheme(address)?,
        };
        let (authority, rest) = split_authority(rest)?;
        self.has(scheme, &authority).then_some(rest)
    }
}

/// What follows the authority in `address`, if that is `own`.
pub(super) fn below<'a>(address: &'a str, own: &Authority) -> Option<&'a str> {
    let (scheme, rest) = split_scheme(address)?;
    let (authority, rest) = split_authority(rest)?;
    let port = |authority: &Authority| authority.port_u16().unwrap_or(scheme.default_port());
    let is_own =
        !authority.as_str().contains('@') && is_same(authority.host(), own.host()) && port(&authority) == port(own);
    is_own.then_some(rest)
}

/// Whether no page elsewhere can have its name lead here: an IP address, or below `localhost`,
/// which browsers never ask a server for.
pub(super) fn is_local(authority: &Authority) -> bool {
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || ip(&host).is_some()
}

fn split_scheme(address: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    Some((Scheme::read(scheme)?, rest))
}

/// An authority and what follows. A backslash counts as a slash for browsers.
fn split_authority(rest: &str) -> Option<(Authority, &str)> {
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Some((Authority::try_from(authority).ok()?, rest))
}

fn is_same(one: &str, other: &str) -> bool {
    let plain = |host: &str| host.trim_end_matches('.').to_ascii_lowercase();
    plain(one) == plain(other)
}

fn host_of(at: &HostPort) -> String {
    let text = without_zone(at);
    text.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or(text)
}

/// As in an address: a zone means nothing to the other side.
fn without_zone(at: &HostPort) -> String {
    match &at.host {
        Host::LinkLocal(addr, _) => format!("[{addr}]:{}", at.port),
        _ => at.to_string(),
    }
}

fn is_loopback(at: &HostPort) -> bool {
    match &at.host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name == "localhost",
        Host::LinkLocal(..) => false,
    }
}

fn is_of_loopback(host: &str) -> bool {
    is_same(host, "localhost") || ip(host).is_some_and(|ip| ip.is_loopback())
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}
