//! Our proxy and our proxy client, with our own node behind, and with proxies that mean harm.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hardline_node::dht::{Event, InfoHash, Value, ValueType};
use hardline_node::drivers::dht::proxy::client::{ProxyClient, ProxyError};
use hardline_node::drivers::dht::proxy::server::ProxyServer;
use hardline_node::drivers::dht::{Dht, DhtConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_value_put_through_the_proxy_is_got_through_it_and_by_udp() {
    let world = World::start().await;
    let key = InfoHash::of(b"through the proxy");
    let value = Value::new(5, ValueType::USER_DATA, b"hello", "text/plain").unwrap();
    let client = world.client();
    client.put(key, &value, false).await.unwrap();
    let (by_udp, _) = world.other.get_all(key, LIMIT).await;
    assert_eq!(by_udp, std::slice::from_ref(&value));
    let found = client.ask([1; 20], &[InfoHash::of(b"nothing here"), key], LIMIT, |_| true).await.unwrap();
    assert_eq!(found, Some(value));
}

#[tokio::test]
async fn only_what_is_accepted_is_taken() {
    let world = World::start().await;
    let key = InfoHash::of(b"many");
    for id in 1..=5 {
        let value = Value::new(id, ValueType::USER_DATA, &[id as u8; 3000], "").unwrap();
        world.client().put(key, &value, false).await.unwrap();
    }
    let found = world.client().ask([1; 20], &[key], LIMIT, |value| value.data()[0] == 4).await.unwrap();
    assert_eq!(found.unwrap().id(), 4);
    assert_eq!(world.client().ask([2; 20], &[key], LIMIT, |_| false).await.unwrap(), None);
}

#[tokio::test]
async fn a_service_is_asked_about_once_a_minute() {
    let world = World::start().await;
    let client = world.client();
    let key = InfoHash::of(b"nothing");
    assert_eq!(client.ask([1; 20], &[key], LIMIT, |_| true).await.unwrap(), None);
    assert!(matches!(client.ask([1; 20], &[key], LIMIT, |_| true).await, Err(ProxyError::AskedJustNow)));
    assert_eq!(client.ask([2; 20], &[key], LIMIT, |_| true).await.unwrap(), None);
}

#[tokio::test]
async fn the_routes_of_released_proxies_are_there() {
    let world = World::start().await;
    let key = InfoHash::of(b"routes").to_string();
    for path in ["/", "/node/info"] {
        let (status, body) = world.http("GET", path, "").await;
        let info: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &info["public_ip"]), (200, &"::ffff:127.0.0.1".into()));
    }
    assert_eq!(world.http("GET", "/node/stats", "").await.0, 200);
    assert_eq!(world.http("OPTIONS", &format!("/{key}"), "").await.0, 200);
    assert_eq!(world.http("GET", &format!("/key/{key}"), "").await, (200, String::new()));
    for (path, id) in [(format!("/{key}"), "1"), (format!("/key/{key}"), "2"), ("/key/routes".into(), "3")] {
        let (status, body) = world.http("POST", &path, &format!("{{\"data\":\"aGk=\",\"id\":\"{id}\"}}")).await;
        assert_eq!((status, body), (200, format!("{{\"data\":\"aGk=\",\"id\":\"{id}\",\"type\":0}}\n")));
    }
    assert_eq!(world.http("GET", &format!("/{key}"), "").await.1.lines().count(), 3);
    for (body, answer) in [("", "{\"err\":\"Missing parameters\"}"), ("{", "{\"err:\":\"Incorrect JSON\"}")] {
        assert_eq!(world.http("POST", &format!("/{key}"), body).await, (400, answer.to_owned()));
    }
    assert_eq!(world.http("GET", "/a/b/c/d", "").await, (501, String::new()));
    assert_eq!(world.http("STATS", &format!("/{key}"), "").await, (501, String::new()));
    assert_eq!(world.http("POST", &format!("/{key}"), &"x".repeat(200_000)).await.0, 413);
}

#[tokio::test]
async fn a_listener_at_the_proxy_hears_of_a_value() {
    let world = World::start().await;
    let key = InfoHash::of(b"listened");
    let mut stream = TcpStream::connect(world.proxy.addr()).await.unwrap();
    stream.write_all(format!("GET /key/{key}/listen HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "HTTP/1.1 200 OK");
    let value = Value::new(5, ValueType::USER_DATA, b"hi", "").unwrap();
    let mut put = world.other.put(key, value, false);
    assert!(matches!(put.next().await, Some(Event::PutDone { acknowledged: 1.., .. })));
    let heard = async {
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.starts_with('{') {
                return line;
            }
        }
    };
    assert_eq!(timeout(LIMIT, heard).await.unwrap(), "{\"data\":\"aGk=\",\"id\":\"5\",\"type\":0}");
}

#[tokio::test]
async fn who_listens_through_a_proxy_gets_what_is_there_and_what_comes() {
    let world = World::start().await;
    let (first, second) = (InfoHash::of(b"there"), InfoHash::of(b"to come"));
    let value = |id| Value::new(id, ValueType::USER_DATA, b"hi", "").unwrap();
    world.client().put(first, &value(5), false).await.unwrap();
    let mut listening = world.client().listen(&[first, second]).await.unwrap();
    assert_eq!(timeout(LIMIT, listening.next()).await.unwrap(), Some((0, value(5))));
    let mut put = world.other.put(second, value(6), false);
    assert!(matches!(put.next().await, Some(Event::PutDone { acknowledged: 1.., .. })));
    assert_eq!(timeout(LIMIT, listening.next()).await.unwrap(), Some((1, value(6))));
}

#[tokio::test]
async fn who_listens_hears_of_nothing_that_is_gone_and_of_the_end() {
    let lines = "{\"data\":\"aGk=\",\"id\":\"1\",\"expired\":true}\nno value\n{\"data\":\"aGk=\",\"id\":\"2\"}\n";
    let (url, _) = bad_proxy("200 OK", lines).await;
    let mut listening = ProxyClient::new(&[url]).unwrap().listen(&[InfoHash::of(b"gone")]).await.unwrap();
    let heard = timeout(LIMIT, listening.next()).await.unwrap();
    assert_eq!(heard.map(|(_, value)| value.id()), Some(2));
    assert_eq!(timeout(LIMIT, listening.next()).await.unwrap(), None);
    let (url, _) = bad_proxy("404 Not Found", "").await;
    assert!(matches!(
        ProxyClient::new(&[url]).unwrap().listen(&[InfoHash::of(b"none")]).await,
        Err(ProxyError::Failed { .. })
    ));
}

#[tokio::test]
async fn one_client_cannot_ask_without_end() {
    let world = World::start().await;
    let refused = async { while world.http("GET", "/", "").await.0 != 429 {} };
    timeout(LIMIT, refused).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_fails_is_left_alone_and_the_next_one_asked() {
    let world = World::start().await;
    let key = InfoHash::of(b"behind the bad ones");
    let value = Value::new(5, ValueType::USER_DATA, b"x", "").unwrap();
    world.client().put(key, &value, false).await.unwrap();
    let (garbage, garbage_asked) = bad_proxy("200 OK", "\x00\x01garbage\n{\"id\":\n").await;
    let (refusing, _) = bad_proxy("500 Internal Server Error", "").await;
    let client = ProxyClient::new(&[garbage, refusing, world.url()]).unwrap();
    for service in 1..=3 {
        assert_eq!(client.ask([service; 20], &[key], LIMIT, |_| true).await.unwrap(), Some(value.clone()));
    }
    assert_eq!(garbage_asked.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_proxy_that_has_only_the_older_paths_is_asked_by_those_and_from_then_on_by_no_others() {
    let world = World::start().await;
    for refusal in ["404 Not Found", "501 Not Implemented"] {
        let (url, mut paths) = older_proxy(world.proxy.addr(), refusal).await;
        let client = ProxyClient::new(&[url]).unwrap();
        let key = InfoHash::of(refusal.as_bytes());
        let value = Value::new(5, ValueType::USER_DATA, b"by the older path", "text/plain").unwrap();
        client.put(key, &value, false).await.unwrap();
        let found = client.ask([1; 20], &[key], LIMIT, |_| true).await.unwrap();
        assert_eq!(found, Some(value));
        let asked: Vec<String> = std::iter::from_fn(|| paths.try_recv().ok()).collect();
        assert_eq!(asked, [format!("POST /key/{key}"), format!("POST /{key}"), format!("GET /{key}")]);
    }
}

#[tokio::test]
async fn an_endless_answer_costs_a_bounded_number_of_bytes() {
    let line = format!("{}\n", "x".repeat(1000)).repeat(5000);
    let (endless, _) = bad_proxy("200 OK", &line).await;
    let (one_line, _) = bad_proxy("200 OK", &"x".repeat(500_000)).await;
    for url in [endless, one_line] {
        let client = ProxyClient::new(&[url]).unwrap();
        match client.ask([1; 20], &[InfoHash::of(b"x")], LIMIT, |_| true).await {
            Err(ProxyError::Failed { reason, .. }) => assert!(reason.contains("more than"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_silent_proxy_costs_its_deadline_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = ProxyClient::new(&[format!("http://{}", listener.local_addr().unwrap())]).unwrap();
    let keys = [InfoHash::of(b"x")];
    let asked = client.ask([1; 20], &keys, Duration::from_millis(200), |_| true);
    assert!(matches!(timeout(LIMIT, asked).await.unwrap(), Err(ProxyError::Failed { .. })));
    let again = client.ask([2; 20], &[InfoHash::of(b"x")], LIMIT, |_| true).await;
    assert!(matches!(again, Err(ProxyError::NoneLeft)));
}

#[tokio::test]
async fn https_is_spoken_with_those_whose_certificate_is_trusted() {
    let world = World::start().await;
    let key = InfoHash::of(b"secret");
    let value = Value::new(5, ValueType::USER_DATA, b"x", "").unwrap();
    world.client().put(key, &value, false).await.unwrap();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let url = tls_in_front_of(world.proxy.addr(), &issued).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let trusting = ProxyClient::with_roots(std::slice::from_ref(&url), roots).unwrap();
    assert_eq!(trusting.ask([1; 20], &[key], LIMIT, |_| true).await.unwrap(), Some(value));
    let careful = ProxyClient::with_roots(&[url], rustls::RootCertStore::empty()).unwrap();
    assert!(matches!(careful.ask([1; 20], &[key], LIMIT, |_| true).await, Err(ProxyError::Failed { .. })));
}

#[test]
fn addresses_that_are_none_are_refused() {
    for url in ["", "proxy", "ftp://proxy", "http://", "/path"] {
        assert!(matches!(ProxyClient::new(&[url.to_owned()]), Err(ProxyError::BadUrl(_))), "{url}");
    }
}

/// Two nodes that know each other, and a proxy in front of one.
struct World {
    other: Arc<Dht>,
    proxy: ProxyServer,
    _node: Arc<Dht>,
    _stop: tokio_util::sync::DropGuard,
}

impl World {
    async fn start() -> Self {
        let stop = CancellationToken::new();
        let config = DhtConfig {
            port: 0,
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            bootstrap: vec![],
            ..DhtConfig::default()
        };
        let node = Dht::start(config.clone(), None, stop.clone()).await.unwrap();
        let config = DhtConfig { bootstrap: vec![node.status().bound[0].to_string()], ..config };
        let other = Dht::start(config, None, stop.clone()).await.unwrap();
        timeout(LIMIT, other.connected()).await.unwrap();
        timeout(LIMIT, node.connected()).await.unwrap();
        let proxy = ProxyServer::start(([127, 0, 0, 1], 0).into(), Arc::clone(&node), stop.clone()).await.unwrap();
        Self { other, proxy, _node: node, _stop: stop.drop_guard() }
    }

    fn url(&self) -> String {
        format!("http://{}", self.proxy.addr())
    }

    fn client(&self) -> ProxyClient {
        ProxyClient::new(&[self.url()]).unwrap()
    }

    /// Status and body of one request, chunks joined.
    async fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.proxy.addr()).await.unwrap();
        let head = format!("{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        // The proxy may refuse a body before it has read all of it.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

/// A server that gives the same answer to everyone, and counts them.
async fn bad_proxy(status: &str, body: &str) -> (String, Arc<std::sync::atomic::AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{body}");
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

/// A proxy that answers `refusal` on `/key/KEY` and passes everything else on to `backend`. Tells
/// what it is asked.
async fn older_proxy(backend: SocketAddr, refusal: &'static str) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, paths) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut client = BufReader::new(stream);
            let mut first_line = String::new();
            client.read_line(&mut first_line).await.unwrap();
            let _ = asked.send(first_line.trim_end().trim_end_matches(" HTTP/1.1").to_owned());
            if first_line.contains(" /key/") {
                let answer = format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = client.write_all(answer.as_bytes()).await;
                // Closed with bytes unread, the connection would be reset and the answer lost.
                let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                continue;
            }
            let mut tcp = TcpStream::connect(backend).await.unwrap();
            tcp.write_all(first_line.as_bytes()).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut tcp).await;
        }
    });
    (url, paths)
}

/// A TLS server that passes everything on to `backend`.
async fn tls_in_front_of(backend: SocketAddr, issued: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(issued.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(stream).await else { continue };
            let mut tcp = TcpStream::connect(backend).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut tls, &mut tcp).await;
        }
    });
    format!("https://localhost:{port}")
}
