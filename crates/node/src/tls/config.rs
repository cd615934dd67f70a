//! Identity or pin → rustls configuration.

use std::sync::{Arc, LazyLock};

use hardline_proto::KeyHash;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};

use super::identity::Identity;
use super::pin::PinnedKey;
use crate::limits::V1_RECORD;

/// What `max_fragment_size` counts beside the plaintext: the record's header (RFC 8446, section 5.1), in bytes.
const RECORD_HEADER: usize = 5;

/// TLS 1.2 and 1.3, pinned to `key`, no ALPN, records of at most [`V1_RECORD`] bytes of plaintext, no client
/// certificate, no resumption.
#[must_use]
pub fn client(key: KeyHash) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedKey { expected: key }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.max_fragment_size = Some(V1_RECORD + RECORD_HEADER);
    Arc::new(config)
}

/// TLS 1.2 and 1.3, presents `identity` to everybody who got this far (the accept side chooses it by SNI), records of at
/// most [`V1_RECORD`] bytes of plaintext, no resumption.
#[must_use]
pub fn server(identity: &Identity) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified))));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_fragment_size = Some(V1_RECORD + RECORD_HEADER);
    Arc::new(config)
}

/// The cryptography of both sides. Passed explicitly, so that an embedder's own default for its process is left alone.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    &PROVIDER
}
