//! Identity or pin → rustls configuration.

use std::sync::{Arc, LazyLock};

use hardline_proto::KeyHash;
use hardline_proto::tunnel::ALPN;
use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::{CipherSuite, ClientConfig, CommonState, ServerConfig};

use super::identity::Identity;
use super::pin::PinnedKey;
use crate::limits::V1_RECORD;

/// What `max_fragment_size` counts beside the plaintext: the record's header (RFC 8446, section 5.1), in bytes.
const RECORD_HEADER: usize = 5;

/// Names whose sessions are kept for one service: the key hash, and the codes of two days. rustls counts in tickets, and
/// keeps 8 for a name.
const SESSIONS: usize = 3 * 8;

/// Tickets given with each handshake. One is used up by each resumption, and a second lets the pool grow.
const TICKETS: usize = 2;

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

/// The same for peers of either version: offers version 2 by ALPN, leaves the size of records to the tunnel, and resumes
/// sessions of TLS 1.3. The sessions belong to this configuration, and so to `key` alone. With `own_records`, rustls hands the
/// keys over behind the handshake.
#[must_use]
pub fn client_v2(key: KeyHash, own_records: bool) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&client(key));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_fragment_size = None;
    config.enable_secret_extraction = own_records;
    config.resumption = Resumption::in_memory_sessions(SESSIONS).tls12_resumption(Tls12Resumption::Disabled);
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

/// For diallers that offer version 2: TLS 1.3, full records, of our own with `own_records`, and sessions that can be
/// resumed. The key that seals the
/// tickets belongs to this configuration, and so to `identity` alone.
///
/// # Panics
/// When the system has no randomness, as every use of TLS would.
#[must_use]
pub fn server_v2(identity: &Identity, own_records: bool) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has cipher suites for TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = own_records;
    config.ticketer = rustls::crypto::ring::Ticketer::new().expect("the system has randomness");
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    Arc::new(config)
}

/// Whether version 2 was agreed on.
#[must_use]
pub fn is_v2(tls: &CommonState) -> bool {
    tls.alpn_protocol() == Some(ALPN)
}

/// The cryptography of both sides. Passed explicitly, so that an embedder's own default for its process is left alone.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = rustls::crypto::ring::default_provider();
        // Stable: within TLS 1.2 the library's order stays.
        provider.cipher_suites.sort_by_key(|suite| cost(suite.suite(), has_aes()));
        Arc::new(provider)
    });
    &PROVIDER
}

/// The place of a cipher of TLS 1.3 among the others: the cheapest on this CPU first, all being strong enough. The dialler's
/// order counts, and it may be the phone.
fn cost(suite: CipherSuite, has_aes: bool) -> u8 {
    match suite {
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 if has_aes => 2,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 0,
        CipherSuite::TLS13_AES_128_GCM_SHA256 if has_aes => 0,
        CipherSuite::TLS13_AES_128_GCM_SHA256 | CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
        _ => 3,
    }
}

/// Whether the CPU itself knows AES.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_that_the_cpu_is_good_at_is_asked_for_first() {
        let (aes, chacha) = (CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        assert!(cost(aes, true) < cost(chacha, true) && cost(chacha, false) < cost(aes, false));
        let first = provider().cipher_suites[0].suite();
        assert_eq!(first, if has_aes() { aes } else { chacha });
        let all = rustls::crypto::ring::default_provider().cipher_suites.len();
        assert_eq!(provider().cipher_suites.len(), all);
    }
}
