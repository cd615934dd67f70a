//! Identity or pin → rustls configuration.

use std::sync::{Arc, LazyLock};

use hardline_proto::KeyHash;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::SingleCertAndKey;
use rustls::{CipherSuite, ClientConfig, ServerConfig, SupportedProtocolVersion};

use super::identity::Identity;
use super::pin::PinnedKey;

/// TLS 1.2 and 1.3, pinned to `key`, no client certificate. What else is said is the session's.
pub(crate) fn pinned_client(key: KeyHash) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedKey { expected: key }))
        .with_no_client_auth()
}

/// What the TLS settings of a service are made of, whatever session they are for.
#[derive(Debug, Clone, Copy)]
pub struct ServerSettings<'a> {
    /// Presented to everybody who got this far: the accept side chooses it by SNI.
    pub identity: &'a Identity,
    /// Whether rustls hands the keys over behind the handshake.
    pub own_records: bool,
}

impl<'a> From<&'a Identity> for ServerSettings<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self { identity, own_records: true }
    }
}

/// Settings for a service. Keeps no TLS sessions in memory.
pub(crate) fn server(settings: ServerSettings<'_>, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    server_by(Arc::new(SingleCertAndKey::from(Arc::clone(&settings.identity.certified))), versions)
}

/// The same for whatever certificate `resolver` presents.
pub(crate) fn server_by(
    resolver: Arc<dyn ResolvesServerCert>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    server_asking(resolver, versions, Arc::new(NoClientAuth))
}

/// The same with `verifier` for who comes.
pub(crate) fn server_asking(
    resolver: Arc<dyn ResolvesServerCert>,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<dyn ClientCertVerifier>,
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(versions)
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

/// The cryptography of both sides. Passed explicitly, so that an embedder's own default for its
/// process is left alone.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = rustls::crypto::ring::default_provider();
        // Stable: within TLS 1.2 the library's order stays.
        provider.cipher_suites.sort_by_key(|suite| cost(suite.suite(), has_aes()));
        Arc::new(provider)
    });
    &PROVIDER
}

/// The place of a cipher of TLS 1.3 among the others: the cheapest on this CPU first, all being
/// strong enough. The dialler's order counts, and it may be the phone.
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
