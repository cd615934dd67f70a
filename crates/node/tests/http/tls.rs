use std::path::PathBuf;
use std::sync::Arc;

use hardline_node::config::{BackendCertificate, HostHeader, HttpSettings, ServiceConfig, Target};
use hardline_node::node::{Node, Notice};
use hardline_node::tls::backend::fingerprint;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio_rustls::TlsAcceptor;

use super::common::{TestNode, backend, get, pair_for, path_in, service_for};
use super::{bytes, head};

/// A program that speaks TLS, and its certificate.
struct Secure {
    at: std::net::SocketAddr,
    certificate: CertificateDer<'static>,
    dir: TempDir,
}

impl Secure {
    /// One with a certificate for `names` by itself, that speaks `versions`. It repeats heads, and
    /// after an upgrade bytes.
    async fn new(names: &[&str], versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let at = backend(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                loop {
                    let heard = head(&mut stream).await;
                    if heard.is_empty() {
                        return;
                    }
                    if heard.contains("Upgrade: websocket") {
                        let answer =
                            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        let (mut from, mut to) = split(stream);
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                        let _ = to.shutdown().await;
                        return;
                    }
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{heard}", heard.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path_in(&dir, "cert.pem"), made.cert.pem()).unwrap();
        Self { at, certificate, dir }
    }

    fn pem(&self) -> PathBuf {
        path_in(&self.dir, "cert.pem")
    }

    fn sha256(&self) -> BackendCertificate {
        BackendCertificate::read(&fingerprint(&self.certificate), std::path::Path::new("")).unwrap()
    }

    fn service(&self, certificate: Option<BackendCertificate>) -> ServiceConfig {
        let http = HttpSettings { backend_certificate: certificate, ..HttpSettings::default() };
        ServiceConfig { http, ..service_for(Target::Https(self.at.into())) }
    }

    /// What a visitor sees with this certificate set.
    async fn answer(&self, certificate: Option<BackendCertificate>) -> String {
        let (listener, gateway) = pair_for(self.service(certificate)).await;
        get(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "Connection: close\r\n").await
    }
}

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

#[tokio::test]
async fn a_program_that_speaks_tls_is_believed_by_its_certificate() {
    for versions in [BOTH, &[&rustls::version::TLS12]] {
        let program = Secure::new(&["127.0.0.1"], versions).await;
        for right in [program.sha256(), BackendCertificate::File(program.pem()), BackendCertificate::Any] {
            let answer = program.answer(Some(right.clone())).await;
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("GET / HTTP/1.1"),
                "{right}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn whoever_answers_with_another_certificate_gets_no_request() {
    let program = Secure::new(&["127.0.0.1"], BOTH).await;
    let other = Secure::new(&["127.0.0.1"], BOTH).await;
    for wrong in [None, Some(other.sha256()), Some(BackendCertificate::File(other.pem()))] {
        let answer = program.answer(wrong.clone()).await;
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{wrong:?}: {answer}");
        assert!(answer.contains("is not verified"), "{wrong:?}: {answer}");
        assert!(!answer.contains("GET / HTTP/1.1"), "{wrong:?}: {answer}");
    }
}

#[tokio::test]
async fn a_certificate_of_an_authority_is_for_its_name_only() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    for (name, status) in [("127.0.0.1", "200"), ("127.0.0.2", "502")] {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(BOTH).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let at = backend(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                let _ = stream.read(&mut [0]).await;
            }
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path_in(&dir, "ca.pem"), authority.pem()).unwrap();
        let certificate = Some(BackendCertificate::File(path_in(&dir, "ca.pem")));
        let http = HttpSettings { backend_certificate: certificate, ..HttpSettings::default() };
        let (listener, gateway) = pair_for(ServiceConfig { http, ..service_for(Target::Https(at.into())) }).await;
        let host = format!("{}.localhost", listener.key());
        let answer = get(gateway.browser_addr(), &host, "Connection: close\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_websocket_runs_through_tls_and_the_program_is_named_by_its_scheme() {
    let program = Secure::new(&["127.0.0.1"], BOTH).await;
    let mut config = program.service(Some(program.sha256()));
    config.http.host_header = Some(HostHeader::Target);
    let (listener, gateway) = pair_for(config).await;
    let host = format!("{}.localhost:7009", listener.key());
    let heard = get(gateway.browser_addr(), &host, &format!("Origin: http://{host}\r\nConnection: close\r\n")).await;
    assert!(heard.contains(&format!("Host: {0}\r\nOrigin: https://{0}\r\n", program.at)), "{heard}");

    let asks = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut browser = super::common::open(gateway.browser_addr(), &host, asks).await;
    assert!(head(&mut browser).await.starts_with("HTTP/1.1 101 "));
    browser.write_all(&vec![7; 300_000]).await.unwrap();
    assert_eq!(bytes(&mut browser, 300_000).await, vec![7; 300_000]);
}

#[tokio::test]
async fn a_program_that_speaks_no_tls_is_said_to_be_unverified() {
    let plain = super::repeats().await;
    let http = HttpSettings { backend_certificate: Some(BackendCertificate::Any), ..HttpSettings::default() };
    let (listener, gateway) = pair_for(ServiceConfig { http, ..service_for(Target::Https(plain.into())) }).await;
    let answer = get(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "Connection: close\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
}

#[tokio::test]
async fn that_any_certificate_is_accepted_is_said_at_the_start_and_in_the_status() {
    let program = Secure::new(&["127.0.0.1"], BOTH).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = hardline_node::config::NodeConfig::new(dir.path().to_owned());
    (config.gateway_port, config.lan.enabled, config.dht.enabled) = (None, false, false);
    (config.p2p.port, config.p2p.bind) = (0, vec!["127.0.0.1".parse().unwrap()]);
    config.services = vec![program.service(Some(BackendCertificate::Any))];
    let (node, notices) = Node::start(config).await.unwrap();
    assert!(notices.contains(&Notice::AnyCertificate { service: 0 }), "{notices:?}");
    let status = node.status();
    assert!(status.sentences().iter().any(|sentence| sentence.contains("Any certificate")), "{:?}", status.sentences());
    assert_eq!(status.to_json()["services"][0]["any_certificate"], true);
}

#[tokio::test]
async fn a_file_without_a_certificate_is_told_at_the_start() {
    let program = Secure::new(&["127.0.0.1"], BOTH).await;
    let node = TestNode::start(|_| {}).await;
    for path in [path_in(&program.dir, "absent.pem"), PathBuf::from("/dev/null")] {
        let added = node.node.add_service(program.service(Some(BackendCertificate::File(path))));
        assert!(added.is_err());
    }
    let mut raw = program.service(Some(BackendCertificate::Any));
    raw.target = Target::Tcp(program.at.into());
    assert!(node.node.add_service(raw).is_err(), "there is nothing to verify");
}
