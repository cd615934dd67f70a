//! What a person types or pastes → key hash and password.

use crate::host::{HostError, ServiceName, parse_service_name, strip_port};

/// Reads a link in any of the forms people have: `KEYHASH`, `text-KEYHASH`, `KEYHASH.localhost`,
/// `http://KEYHASH.localhost:7009/path`, with white space around it. Scheme, port and path do not matter.
///
/// # Errors
/// [`HostError`] when no key hash can be found in it.
pub fn parse_link(text: &str) -> Result<ServiceName, HostError> {
    let text = text.trim();
    let after_scheme = text.split_once("://").map_or(text, |(_scheme, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or(after_scheme);
    parse_service_name(strip_port(authority)?)
}
