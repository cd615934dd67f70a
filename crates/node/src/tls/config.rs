//! Identity or pin → rustls configuration.

use std::sync::Arc;

use hardline_proto::KeyHash;
use rustls::{ClientConfig, ServerConfig};

use super::identity::Identity;

/// TLS 1.2 and 1.3, pinned to `key`, no ALPN, records of at most [`crate::limits::V1_RECORD`] bytes of plaintext, no
/// client certificate, no resumption.
#[must_use]
pub fn client(key: KeyHash) -> Arc<ClientConfig> {
    let _ = key;
    todo!()
}

/// TLS 1.2 and 1.3, presents `identity` to everybody who got this far (the accept side chooses it by SNI), records of at
/// most [`crate::limits::V1_RECORD`] bytes of plaintext, no resumption.
#[must_use]
pub fn server(identity: &Identity) -> Arc<ServerConfig> {
    let _ = identity;
    todo!()
}
