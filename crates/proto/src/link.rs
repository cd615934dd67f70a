//! What a person types or pastes → key hash and password.

use crate::host::{HostError, ServiceName};

/// Reads a link in any of the forms people have: `KEYHASH`, `text-KEYHASH`, `KEYHASH.localhost`,
/// `http://KEYHASH.localhost:7009/path`, with white space around it.
///
/// # Errors
/// [`HostError`] when no key hash can be found in it.
pub fn parse_link(text: &str) -> Result<ServiceName, HostError> {
    let _ = text;
    todo!()
}
