//! Who asked, and how: `Forwarded` (RFC 7239) and the headers before it. What a visitor says of
//! itself there is taken away first: a backend that believes them believes us alone.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

const PREFIX: &str = "x-forwarded-";
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Between browser and gateway it is always this one.
const HTTP: HeaderValue = HeaderValue::from_static("http");

/// Says that `visitor` asked, for what `Host` says.
pub(super) fn set(headers: &mut HeaderMap, visitor: IpAddr) {
    let old: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect();
    for name in &old {
        headers.remove(name);
    }
    headers.remove(header::FORWARDED);
    let node = match visitor.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let host = headers.get(header::HOST).cloned();
    let named = host.as_ref().and_then(|host| host.to_str().ok()).filter(|host| !host.contains(['"', '\\']));
    let forwarded = match named {
        Some(host) => format!("for={node};host=\"{host}\";proto=http"),
        None => format!("for={node};proto=http"),
    };
    let texts = [(header::FORWARDED, forwarded), (FOR, visitor.to_canonical().to_string())];
    for (name, text) in texts {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
    headers.insert(PROTO, HTTP);
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
}
