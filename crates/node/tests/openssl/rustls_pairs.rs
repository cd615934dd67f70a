//! Identities that OpenSSL made, on both of our own sides.

use std::sync::Arc;

use hardline_node::proto::KeyHash;
use hardline_node::session::v1;
use hardline_node::tls::identity::Identity;
use hardline_node::tls::pin::PinnedKey;
use hardline_node::tls::sni;
use rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::given::Given;

#[tokio::test]
async fn every_kind_of_identity_is_proved_in_both_versions_of_tls() {
    let given = Given::all();
    for path in &given.identities {
        let (identity, _) = Identity::load_or_create(path).unwrap();
        for version in rustls::ALL_VERSIONS {
            let (near, far) = duplex(64 * 1024);
            let name = sni::server_name(identity.key).unwrap();
            let client = TlsConnector::from(client_of_version(identity.key, version)).connect(name, near);
            let server = TlsAcceptor::from(v1::server_tls(&identity)).accept(far);
            let (mut client, mut server) = tokio::try_join!(client, server)
                .unwrap_or_else(|error| panic!("{} {:?}: {error}", path.display(), version.version));
            assert_eq!(client.get_ref().1.protocol_version(), Some(version.version));
            assert!([ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3].contains(&version.version));
            client.write_all(b"ping").await.unwrap();
            client.flush().await.unwrap();
            let mut heard = [0; 4];
            server.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"ping");
        }
    }
}

/// Our client, but of one version only.
fn client_of_version(key: KeyHash, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let verifier = Arc::new(PinnedKey { expected: key });
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Arc::new(config)
}
