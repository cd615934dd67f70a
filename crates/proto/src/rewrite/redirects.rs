//! Where a browser is sent: addresses of the backend become this service's own.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;

use super::names::BackendNames;

/// `Refresh: 5; url=…`, which browsers follow as they do `Location`.
const REFRESH: HeaderName = HeaderName::from_static("refresh");

/// Rewrites what names `backend`; `own` is what the visitor calls this service.
pub(super) fn rewrite(headers: &mut HeaderMap, backend: &BackendNames, own: &Authority) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        each(headers, &name, |text| moved(text, backend, own));
    }
    each(headers, &REFRESH, |text| {
        let at = text.to_ascii_lowercase().find("url=")? + "url=".len();
        let (before, address) = text.split_at_checked(at)?;
        let quote = address.chars().next().filter(|first| matches!(first, '"' | '\''));
        let address = address.trim_start().trim_matches(['"', '\'']);
        let quote = quote.map(String::from).unwrap_or_default();
        Some(format!("{before}{quote}{}{quote}", moved(address, backend, own)?))
    });
    each(headers, &header::SET_COOKIE, |text| without_domain(text, backend));
}

fn moved(address: &str, backend: &BackendNames, own: &Authority) -> Option<String> {
    let rest = backend.below(address.trim())?;
    Some(format!("http://{own}{rest}"))
}

/// A cookie without the `Domain=` that names the backend: so it belongs to the host that set it,
/// and to no other (RFC 6265, section 5.3).
fn without_domain(cookie: &str, backend: &BackendNames) -> Option<String> {
    let is_backends = |attribute: &str| {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        name.trim().eq_ignore_ascii_case("domain") && backend.has_host(value.trim().trim_start_matches('.'))
    };
    // The first part is the cookie itself, whatever its name.
    let mut parts = cookie.split(';').enumerate();
    if !parts.any(|(index, part)| index > 0 && is_backends(part)) {
        return None;
    }
    let kept: Vec<&str> = cookie
        .split(';')
        .enumerate()
        .filter(|(index, part)| *index == 0 || !is_backends(part))
        .map(|(_, part)| part)
        .collect();
    Some(kept.join(";"))
}

/// Replaces the values of `name` for which there is another, in their order.
fn each(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&str) -> Option<String>) {
    let change = |value: &HeaderValue| HeaderValue::try_from(change(value.to_str().ok()?)?).ok();
    if !headers.get_all(name).iter().any(|value| change(value).is_some()) {
        return;
    }
    if let header::Entry::Occupied(mut entry) = headers.entry(name) {
        for value in entry.iter_mut() {
            if let Some(changed) = change(value) {
                *value = changed;
            }
        }
    }
}
