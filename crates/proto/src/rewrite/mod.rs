//! Heads of requests and answers → what a backend and a browser should see of each other.
//!
//! Many programs believe that they are reached by one name: they refuse another `Host`, and send
//! browsers to addresses of their own. Here the one name becomes the other, in heads alone and only
//! as far as [`Rules`] ask for it; bodies are not touched. What belongs to one connection alone is
//! taken away always (RFC 9110, section 7.6.1).

mod forwarded; // who asked, in `Forwarded` and its kin
mod hops; // what belongs to one connection
mod names; // which addresses are the backend's
mod redirects; // where a browser is sent

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, StatusCode, Uri, Version, request, response};

pub use names::{BackendNames, Scheme};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What the backend is told in `Host`, and in `Origin` and `Referer` where they name this
    /// service; `None`: what the visitor's browser says.
    pub host: Option<HeaderValue>,
    /// Whether the backend is told who asked, and how.
    pub forwarded: bool,
    /// Set in each request, in place of what the visitor sent by these names.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether addresses of the backend in answers become this service's own.
    pub redirects: bool,
    /// The addresses by which the backend may call itself.
    pub backend: BackendNames,
}

/// What an answer is rewritten by: how the request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What the visitor calls this service; `None` if it did not say, or said nonsense.
    pub authority: Option<Authority>,
    /// Whether another protocol was asked for, by `Upgrade` or `CONNECT`.
    pub asks_upgrade: bool,
    /// Whether the visitor understands interim answers (1xx): HTTP/1.0 does not.
    pub takes_interim: bool,
}

/// Headers that `headers` may not set: they say where the message goes and how it ends.
pub const RESERVED: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

impl Rules {
    /// Makes a visitor's request one for the backend.
    ///
    /// An absolute-form target overrides `Host` (RFC 9112, section 3.2.2). `Host` is replaced only
    /// where the visitor's is an IP address or below `localhost`. Other names can be those of a
    /// page elsewhere that had its name lead here (DNS rebinding), and the backend should see them.
    pub fn request(&self, head: &mut request::Parts, visitor: IpAddr) -> Asked {
        take_absolute_form(head);
        let asks_upgrade = hops::take_from_request(head);
        let takes_interim = std::mem::replace(&mut head.version, Version::HTTP_11) == Version::HTTP_11;
        let authority = head.headers.get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        if self.forwarded {
            forwarded::set(&mut head.headers, visitor);
        }
        match (&self.host, &authority) {
            (Some(host), Some(authority)) if names::is_local(authority) => {
                self.name_backend(&mut head.headers, authority, host);
            }
            (_, None) if !head.headers.contains_key(header::HOST) => {
                head.headers.insert(header::HOST, self.host.clone().unwrap_or_else(|| self.backend.host()));
            }
            _ => {}
        }
        for (name, value) in &self.headers {
            head.headers.insert(name, value.clone());
        }
        Asked { authority, asks_upgrade: asks_upgrade || head.method == Method::CONNECT, takes_interim }
    }

    /// Makes the backend's answer one for the visitor.
    pub fn response(&self, head: &mut response::Parts, asked: &Asked) {
        hops::take_from_response(head);
        head.version = Version::HTTP_11;
        if let Some(authority) = asked.authority.as_ref().filter(|_| self.redirects) {
            redirects::rewrite(&mut head.headers, &self.backend, authority);
        }
    }

    fn name_backend(&self, headers: &mut HeaderMap, authority: &Authority, host: &HeaderValue) {
        headers.insert(header::HOST, host.clone());
        for name in [header::ORIGIN, header::REFERER] {
            let renamed = headers.get(&name).and_then(|value| {
                let rest = names::below(value.to_str().ok()?, authority)?;
                let host = host.to_str().ok()?;
                HeaderValue::try_from(format!("{}://{host}{rest}", self.backend.scheme.as_str())).ok()
            });
            if let Some(value) = renamed {
                headers.insert(name, value);
            }
        }
    }
}

/// Takes the authority out of an absolute-form target.
fn take_absolute_form(head: &mut request::Parts) {
    if head.method == Method::CONNECT {
        return;
    }
    let Some(authority) = head.uri.authority() else { return };
    if let Ok(host) = HeaderValue::try_from(authority.as_str()) {
        head.headers.insert(header::HOST, host);
    }
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
}

/// Whether a response of `status` to a request that was `asked` begins another protocol.
#[must_use]
pub fn is_upgrade(asked: &Asked, method: &Method, status: StatusCode) -> bool {
    asked.asks_upgrade
        && (status == StatusCode::SWITCHING_PROTOCOLS || (*method == Method::CONNECT && status.is_success()))
}

#[cfg(test)]
mod tests;
