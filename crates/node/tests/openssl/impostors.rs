//! Who answers for an address that is another's gets neither the password nor a byte of payload.

use std::net::SocketAddr;
use std::sync::Arc;

use hardline_node::node::Cause;
use hardline_node::proto::KeyHash;
use hardline_node::proto::host::ServiceName;
use hardline_node::tls::identity::Identity;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{ServerConfig, SignatureAlgorithm, SignatureScheme};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::common::{TestNode, get};
use crate::given::{Given, KEYS};
use crate::program::{Peer, TLS_VERSIONS, key_hash};

#[tokio::test]
async fn the_right_name_with_the_wrong_certificate_is_told_apart() {
    let given = Given::all();
    let victim = key_hash(&given.path("v1-p256"));
    for (key, _) in KEYS {
        let impostor = given.path(&format!("v3-{key}"));
        for version in TLS_VERSIONS {
            let (server, addr) =
                Peer::server(&format!("{version} -cert {0} -key {0}.private", impostor.display())).await;
            let cause = dial(victim, addr).await;
            assert_eq!(cause, Cause::WrongKey { at: addr.into(), got: key_hash(&impostor) });
            assert_got_nothing(server).await;
        }
    }
}

#[tokio::test]
async fn a_browser_is_shown_the_stranger_and_the_stranger_nothing() {
    let given = Given::all();
    let victim = key_hash(&given.path("v1-p256"));
    let impostor = given.path("v3-p256");
    let (server, addr) = Peer::server(&format!("-cert {0} -key {0}.private", impostor.display())).await;
    let node = TestNode::gateway(&[(victim, addr)]).await;
    let page = get(node.browser_addr(), &format!("opensesame-{victim}.localhost"), "Connection: close\r\n").await;
    assert!(page.starts_with("HTTP/1.1 5"), "{page}");
    assert!(page.contains(&key_hash(&impostor).to_string()), "{page}");
    assert_got_nothing(server).await;
}

#[tokio::test]
async fn no_certificate_at_all_is_refused() {
    let victim = key_hash(&Given::all().path("v1-p256"));
    for flags in ["-tls1_2 -nocert -cipher aNULL:@SECLEVEL=0", "-tls1_2 -nocert", "-tls1_3 -nocert"] {
        let (server, addr) = Peer::server(flags).await;
        assert_eq!(dial(victim, addr).await, Cause::Unreachable, "{flags}");
        assert_got_nothing(server).await;
    }
}

/// Impostors that OpenSSL refuses to play: they present the victim's own certificate.
#[tokio::test]
async fn the_right_certificate_without_its_key_is_refused() {
    let given = Given::all();
    for (kind, _) in KEYS {
        let victim = load(&given, &format!("v1-{kind}"));
        let certificates = victim.certified.cert.clone();
        // A key of the same kind where the signature can tell, one of another kind, and the right
        // key signing badly.
        let stranger = load(&given, if kind == "p256" { "v1-rsa2048" } else { "v1-p256" });
        let mut keys: Vec<(&str, Arc<dyn SigningKey>)> = vec![
            ("a key of another kind", Arc::clone(&stranger.certified.key)),
            ("a broken signature", broken(&victim)),
        ];
        if kind.starts_with("rsa") {
            let other = load(&given, if kind == "rsa2048" { "v1-rsa3072" } else { "v1-rsa2048" });
            keys.push(("another RSA key", Arc::clone(&other.certified.key)));
        }
        if kind == "p256" {
            keys.push(("another P-256 key", Arc::clone(&Identity::ephemeral().unwrap().certified.key)));
        }
        for (what, key) in keys {
            refused(&victim, certificates.clone(), key, what).await;
        }
        refused(&victim, Vec::new(), Arc::clone(&victim.certified.key), "no certificate").await;
    }
}

/// The test of the tests above: the same server with the right key is reached, and gets what they
/// must not.
#[tokio::test]
async fn the_right_certificate_with_its_key_gets_the_password() {
    let victim = load(&Given::all(), "v1-p256");
    for version in rustls::ALL_VERSIONS {
        let certified = CertifiedKey::new(victim.certified.cert.clone(), Arc::clone(&victim.certified.key));
        let (addr, heard) = impostor(certified, version).await;
        dial(victim.key, addr).await;
        let heard = heard.await.unwrap();
        assert!(heard.windows(10).any(|window| window == b"opensesame"), "{heard:?}");
    }
}

/// Dials an impostor for `victim` that presents `certificates` and signs with `key`.
async fn refused(victim: &Identity, certificates: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>, what: &str) {
    for version in rustls::ALL_VERSIONS {
        let certified = CertifiedKey::new(certificates.clone(), Arc::clone(&key));
        let (addr, heard) = impostor(certified, version).await;
        assert_eq!(dial(victim.key, addr).await, Cause::Unreachable, "{what}, {:?}", version.version);
        assert_eq!(heard.await.unwrap(), b"", "{what}, {:?}", version.version);
    }
}

/// What a dialler that has a password to tell learns at `addr`.
async fn dial(key: KeyHash, addr: SocketAddr) -> Cause {
    let node = TestNode::gateway(&[(key, addr)]).await;
    let name = ServiceName { key, password: Some("opensesame".into()) };
    let error = node.node.connect(&name).await.unwrap_err();
    assert_eq!(error.report.attempts.len(), 1, "{error:?}");
    error.cause
}

/// Our own server for one connection, with a certificate and key of which one may be another's.
/// Returns all the plaintext it got; it never says its preamble.
async fn impostor(
    certified: CertifiedKey,
    version: &'static rustls::SupportedProtocolVersion,
) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 100];
        match TlsAcceptor::from(Arc::new(config)).accept(tcp).await {
            Ok(mut tls) => {
                let length = tls.read(&mut heard).await.unwrap_or(0);
                heard.truncate(length);
            }
            Err(_) => heard.clear(),
        }
        heard
    });
    (addr, heard)
}

/// Ends an OpenSSL server and looks through all it printed.
async fn assert_got_nothing(server: Peer) {
    let printed = server.finish().await;
    assert!(!printed.contains("opensesame") && !printed.contains("GET /"), "{printed}");
    assert!(printed.to_lowercase().contains("error") || printed.contains("alert"), "nobody was there: {printed}");
}

fn load(given: &Given, name: &str) -> Identity {
    Identity::load_or_create(&given.path(name)).unwrap().0
}

/// The key of `identity`, but one bit of each signature is wrong.
fn broken(identity: &Identity) -> Arc<dyn SigningKey> {
    Arc::new(Broken(Arc::clone(&identity.certified.key)))
}

#[derive(Debug)]
struct Broken(Arc<dyn SigningKey>);

impl SigningKey for Broken {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(offered).map(|signer| Box::new(BrokenSigner(signer)) as _)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct BrokenSigner(Box<dyn Signer>);

impl Signer for BrokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut signature = self.0.sign(message)?;
        if let Some(last) = signature.last_mut() {
            *last ^= 1;
        }
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}
