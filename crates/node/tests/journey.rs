//! From a browser's connection to a backend and back, through two nodes.
#![allow(clippy::unwrap_used)]

mod common;

use common::{TestNode, backend, echo, get, nobody, open, pair, pair_for, path_in, service, service_for};
use hardline_node::access::Access;
use hardline_node::config::{IdentityConfig, LocalAddr, Target};
use hardline_node::limits::{HANDSHAKE_TIMEOUT, HEAD_TIMEOUT};
use hardline_node::node::Cause;
use hardline_node::proto::head::HTTP2_ANSWER;
use hardline_node::proto::host::ServiceName;
use hardline_node::proto::tunnel::{Reason, Refusal};
use hardline_node::session::v1;
use hardline_node::tls::identity::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A backend that answers every request head with a small page and keeps the connection.
async fn pages() -> std::net::SocketAddr {
    backend(|mut stream| async move {
        let mut bytes = Vec::new();
        loop {
            while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
            let closes = String::from_utf8_lossy(&bytes[..end]).contains("Connection: close");
            bytes.drain(..end);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
            if closes {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_browser_sees_the_service_at_its_key_hash() {
    let (listener, gateway) = pair(pages().await).await;
    for host in [
        format!("{}.localhost:7009", listener.key()),
        format!("{}.LOCALHOST.", listener.key().to_string().to_uppercase()),
        format!("www.{}.localhost", listener.key()),
        format!("text-{}.localhost", listener.key()),
    ] {
        let answer = get(gateway.browser_addr(), &host, "Connection: close\r\n").await;
        assert!(answer.ends_with("hello"), "{host}: {answer}");
    }
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_turn_pipelined_or_not() {
    let (listener, gateway) = pair(pages().await).await;
    let host = format!("{}.localhost", listener.key());
    let mut browser = open(gateway.browser_addr(), &host, "").await;
    let one = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".len();
    let mut answer = vec![0; one];
    browser.read_exact(&mut answer).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    browser.write_all(head.repeat(3).as_bytes()).await.unwrap();
    let mut answers = vec![0; 3 * one];
    browser.read_exact(&mut answers).await.unwrap();
    assert!(answers.ends_with(b"hello"));
}

#[tokio::test]
async fn the_head_and_what_follows_reach_the_backend_unchanged() {
    let (listener, gateway) = pair(echo().await).await;
    let odd = "X-Odd:   kept  \r\nexpect: 100-continue\r\nTransfer-Encoding: chunked\r\n";
    let mut browser = open(gateway.browser_addr(), &format!("{}.localhost", listener.key()), odd).await;
    browser.write_all(b"5\r\nab\0cd\r\n0\r\n\r\n").await.unwrap();
    browser.shutdown().await.unwrap();
    let mut heard = Vec::new();
    browser.read_to_end(&mut heard).await.unwrap();
    let sent = format!("GET / HTTP/1.1\r\nHost: {}.localhost\r\n{odd}\r\n5\r\nab\0cd\r\n0\r\n\r\n", listener.key());
    assert_eq!(heard, sent.as_bytes());
}

#[tokio::test]
async fn half_close_in_each_direction_delivers_all() {
    // The backend says its all and ends; only then the dialling side speaks.
    let talker = backend(|mut stream| async move {
        stream.write_all(&vec![7; 3_000_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, vec![9; 2_000_000]);
    })
    .await;
    let (listener, gateway) = pair(talker).await;
    let name = ServiceName { key: listener.key(), password: None };
    let mut tunnel = gateway.node.connect(&name).await.unwrap();
    let mut heard = Vec::new();
    tunnel.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, vec![7; 3_000_000]);
    tunnel.write_all(&vec![9; 2_000_000]).await.unwrap();
    tunnel.shutdown().await.unwrap();

    // The dialling side says its all and ends; the answer still comes.
    let (listener, gateway) = pair(echo().await).await;
    let name = ServiceName { key: listener.key(), password: None };
    let (mut from, mut to) = tokio::io::split(gateway.node.connect(&name).await.unwrap());
    let sending = tokio::spawn(async move {
        to.write_all(&vec![5; 4_000_000]).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut heard = Vec::new();
    from.read_to_end(&mut heard).await.unwrap();
    sending.await.unwrap();
    assert_eq!(heard, vec![5; 4_000_000]);
}

#[tokio::test]
async fn a_service_that_speaks_first_is_heard() {
    let greeter = backend(|mut stream| async move {
        stream.write_all(b"SSH-2.0-test\r\n").await.unwrap();
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let (listener, gateway) = pair(greeter).await;
    let mut tunnel = gateway.node.connect(&ServiceName { key: listener.key(), password: None }).await.unwrap();
    let mut banner = [0; 14];
    tunnel.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-test\r\n");
}

#[tokio::test]
async fn a_backend_that_breaks_is_seen_as_broken() {
    let breaking = backend(|mut stream| async move {
        let _ = stream.read(&mut [0; 64]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").await.unwrap();
        stream.set_zero_linger().unwrap();
    })
    .await;
    let (listener, gateway) = pair(breaking).await;
    let mut browser = open(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "").await;
    let error = browser.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_unix_socket_is_a_service_too() {
    let dir = tempfile::tempdir().unwrap();
    let socket = tokio::net::UnixListener::bind(path_in(&dir, "socket")).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        stream.write_all(b"from a unix socket").await.unwrap();
    });
    let (listener, gateway) = pair_for(service_for(Target::Unix(path_in(&dir, "socket")))).await;
    let answer = get(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "").await;
    assert_eq!(answer, "from a unix socket");
}

#[tokio::test]
async fn a_folder_is_a_service_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(path_in(&dir, "index.html"), "from a folder").unwrap();
    let (listener, gateway) = pair_for(service_for(Target::Folder(dir.path().to_owned()))).await;
    let answer = get(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "Connection: close\r\n").await;
    assert!(answer.ends_with("from a folder"), "{answer}");
}

#[tokio::test]
async fn several_services_in_one_process_are_told_apart_by_their_names() {
    let greet = |text: &'static str| {
        backend(move |mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(text.as_bytes()).await.unwrap();
        })
    };
    let listener = TestNode::listener(vec![service(greet("one").await), service(greet("two").await)]).await;
    let keys: Vec<_> = listener.node.status().services.iter().map(|service| service.key).collect();
    let gateway = TestNode::gateway(&[(keys[0], listener.p2p()), (keys[1], listener.p2p())]).await;
    assert_eq!(get(gateway.browser_addr(), &format!("{}.localhost", keys[0]), "").await, "one");
    assert_eq!(get(gateway.browser_addr(), &format!("{}.localhost", keys[1]), "").await, "two");
}

#[tokio::test]
async fn a_node_reaches_its_own_services_without_asking_anybody() {
    let backend = pages().await;
    let both = TestNode::start(|config| config.services = vec![service(backend)]).await;
    let answer = get(both.browser_addr(), &format!("{}.localhost", both.key()), "Connection: close\r\n").await;
    assert!(answer.ends_with("hello"));
}

#[tokio::test]
async fn a_tls_client_at_the_gateway_is_routed_by_its_server_name() {
    let (hello, heard) = tokio::sync::oneshot::channel();
    let hello = std::sync::Mutex::new(Some(hello));
    let tls_backend = backend(move |mut stream| {
        let hello = hello.lock().unwrap().take();
        async move {
            let mut first = [0; 3];
            stream.read_exact(&mut first).await.unwrap();
            hello.unwrap().send(first).unwrap();
        }
    })
    .await;
    let (listener, gateway) = pair(tls_backend).await;
    let name = format!("{}.localhost", listener.key());
    let config = v1::client_tls(listener.key());
    let connector = tokio_rustls::TlsConnector::from(config);
    let tcp = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    let _ = connector.connect(name.try_into().unwrap(), tcp).await;
    assert_eq!(heard.await.unwrap(), [22, 3, 1], "the backend sees the client's own TLS record");
}

#[tokio::test]
async fn a_tls_client_that_names_no_service_gets_the_alert_for_it() {
    let gateway = TestNode::gateway(&[]).await;
    let config = v1::client_tls(hardline_node::proto::KeyHash::from_bytes([1; 20]));
    let tcp = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let error = connector.connect("example.localhost".try_into().unwrap(), tcp).await.unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
}

#[tokio::test]
async fn the_password_in_the_name_is_asked_for() {
    let mut guarded = service(pages().await);
    guarded.access = Some(Access::Password("Sesame".into()));
    let (listener, gateway) = pair_for(guarded).await;
    let key = listener.key();
    let ask = async |host: String| get(gateway.browser_addr(), &host, "Connection: close\r\n").await;
    assert!(ask(format!("sesame-{key}.localhost")).await.ends_with("hello"));
    for refused in [format!("wrong-{key}.localhost"), format!("{key}.localhost")] {
        let answer = ask(refused).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("password"), "{answer}");
    }
}

#[tokio::test]
async fn a_backend_that_is_down_is_said_soon() {
    let (listener, gateway) = pair(nobody().await).await;
    let began = std::time::Instant::now();
    let answer = get(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "Accept: text/html\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert!(answer.contains("The program behind this service does not answer"), "{answer}");
    assert!(began.elapsed() < hardline_node::limits::LOOKUP_TIMEOUT, "told without waiting for the whole lookup");
}

#[tokio::test]
async fn somebody_elses_certificate_gets_a_loud_page_and_not_a_byte() {
    let impostor = Identity::ephemeral().unwrap();
    let wanted = Identity::ephemeral().unwrap().key;
    let (got_bytes, mut has_got_bytes) = tokio::sync::mpsc::channel(1);
    let config = v1::server_tls(&impostor);
    let forger = backend(move |stream| {
        let (got_bytes, acceptor) = (got_bytes.clone(), tokio_rustls::TlsAcceptor::from(config.clone()));
        async move {
            if let Ok(mut tls) = acceptor.accept(stream).await
                && tls.read(&mut [0]).await.is_ok_and(|n| n > 0)
            {
                got_bytes.send(()).await.unwrap();
            }
        }
    })
    .await;
    let gateway = TestNode::gateway(&[(wanted, forger)]).await;
    let answer = get(gateway.browser_addr(), &format!("{wanted}.localhost"), "Accept: application/json\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("\"wrong_certificate\"") && answer.contains(&impostor.key.to_string()), "{answer}");
    assert!(has_got_bytes.try_recv().is_err());
}

#[tokio::test]
async fn an_unknown_service_is_told_with_all_that_was_tried() {
    let gateway = TestNode::gateway(&[]).await;
    let key = "e868423731872b8235a0adc9102bb45bb9e8321e";
    let answer = get(gateway.browser_addr(), &format!("{key}.localhost"), "Accept: application/json\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
    let json: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(json["error"], "not_found");
    assert_eq!(json["key"], key);
    let remembered = &json["tried"]["sources"][0];
    assert_eq!(remembered["source"], "remembered");
    assert!(remembered["took_ms"].is_number());
    assert!(json["retry_after_seconds"].is_number());
}

#[tokio::test]
async fn what_cannot_be_served_is_answered_with_the_right_status() {
    let gateway = TestNode::gateway(&[]).await;
    let key = "e868423731872b8235a0adc9102bb45bb9e8321e";
    let long = format!("Cookie: {}\r\n", "x".repeat(70_000));
    for (host, headers, status) in [
        ("example.org", "", 421),
        ("192.168.1.5", "", 421),
        ("nothing.localhost", "", 404),
        ("localhost", "Host: localhost\r\n", 400),
        ("bad host", "", 400),
        ("localhost", long.as_str(), 431),
        (&format!("{key}.localhost"), &format!("Host: {key}.localhost\r\n"), 400),
    ] {
        let answer = get(gateway.browser_addr(), host, headers).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}

#[tokio::test]
async fn answers_of_the_gateway_are_pages_json_or_text_as_asked() {
    let gateway = TestNode::gateway(&[]).await;
    for (accept, content_type) in [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("*/*", "text/plain; charset=utf-8"),
    ] {
        for host in ["nothing.localhost", "localhost"] {
            let answer = get(gateway.browser_addr(), host, &format!("Accept: {accept}\r\n")).await;
            assert!(answer.contains(&format!("Content-Type: {content_type}\r\n")), "{host} {accept}: {answer}");
            assert!(answer.contains("Content-Security-Policy: default-src 'none';"), "{answer}");
        }
    }
}

#[tokio::test]
async fn pages_of_other_origins_get_nothing_of_the_gateways_own() {
    let gateway = TestNode::gateway(&[]).await;
    let host = "localhost:7009";
    for headers in [
        "Origin: http://example.org\r\n",
        "Origin: null\r\n",
        "Origin: http://e868423731872b8235a0adc9102bb45bb9e8321e.localhost:7009\r\nSec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
    ] {
        let answer = get(gateway.browser_addr(), host, headers).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{headers}: {answer}");
    }
    for headers in [
        "Sec-Fetch-Site: none\r\n",
        "Origin: http://localhost:7009\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
    ] {
        let answer = get(gateway.browser_addr(), host, headers).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{headers}: {answer}");
    }
}

#[tokio::test]
async fn the_first_page_lists_what_can_be_opened() {
    let (listener, gateway) = pair(pages().await).await;
    let key = listener.key();
    assert!(!get(gateway.browser_addr(), "localhost:7009", "Accept: text/html\r\n").await.contains(&key.to_string()));
    get(gateway.browser_addr(), &format!("{key}.localhost"), "Connection: close\r\n").await;
    let link = format!("http://{key}.localhost:{}/", gateway.browser_addr().port());
    // The address is written down behind the answer's back.
    let shown = async {
        loop {
            let page = get(gateway.browser_addr(), "localhost:7009", "Accept: text/html\r\n").await;
            if page.contains(&link) {
                break page;
            }
        }
    };
    let page = tokio::time::timeout(std::time::Duration::from_secs(30), shown).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"));
    let own = TestNode::start(|config| config.services = vec![service("127.0.0.1:1".parse().unwrap())]).await;
    assert!(get(own.browser_addr(), "[::1]:7009", "").await.contains(&own.key().to_string()));
}

#[tokio::test]
async fn a_service_is_reached_again_where_it_was_reached_before() {
    let (listener, gateway) = pair(pages().await).await;
    let key = listener.key();
    let host = format!("{key}.localhost");
    get(gateway.browser_addr(), &host, "Connection: close\r\n").await;
    let TestNode { node, dir } = gateway;
    node.shutdown().await;
    let again = TestNode::start(|config| config.data_dir = dir.path().to_owned()).await;
    let remembered = again.node.remembered().await.unwrap();
    assert_eq!(remembered[0].addresses[0].at, listener.p2p().into());
}

#[tokio::test]
async fn what_a_verified_listener_says_of_its_addresses_is_remembered() {
    let identity = Identity::ephemeral().unwrap();
    let config = v1::server_tls(&identity);
    let listener = backend(move |stream| {
        let acceptor = tokio_rustls::TlsAcceptor::from(config.clone());
        async move {
            let mut tls = acceptor.accept(stream).await.unwrap();
            tls.write_all(b"{\"WANHosts\": \"203.0.113.9:7008,2001:db8::7:7009,nonsense\"}\nhello").await.unwrap();
            let _ = tls.read(&mut [0; 4096]).await;
        }
    })
    .await;
    let gateway = TestNode::gateway(&[(identity.key, listener)]).await;
    let answer = get(gateway.browser_addr(), &format!("{}.localhost", identity.key), "").await;
    assert_eq!(answer, "hello");
    let TestNode { node, dir } = gateway;
    node.shutdown().await;
    let again = TestNode::start(|config| config.data_dir = dir.path().to_owned()).await;
    let service = again.node.remembered().await.unwrap().remove(0);
    let addresses: Vec<_> = service.addresses.iter().map(|address| address.at.to_string()).collect();
    assert_eq!(addresses, [&listener.to_string(), "203.0.113.9:7008", "[2001:db8::7]:7009"]);
}

#[tokio::test]
async fn addresses_set_by_hand_are_told_to_diallers() {
    let backend = pages().await;
    let listener = TestNode::start(|config| {
        config.gateway_port = None;
        config.services = vec![service(backend)];
        config.p2p.public_addresses = vec!["home.example.org:7008".parse().unwrap()];
    })
    .await;
    let gateway = TestNode::gateway(&[(listener.key(), listener.p2p())]).await;
    get(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "Connection: close\r\n").await;
    let TestNode { node, dir } = gateway;
    node.shutdown().await;
    let again = TestNode::start(|config| config.data_dir = dir.path().to_owned()).await;
    let addresses = again.node.remembered().await.unwrap().remove(0).addresses;
    assert!(addresses.iter().any(|address| address.at.to_string() == "home.example.org:7008"), "{addresses:?}");
}

#[tokio::test]
async fn a_stop_closes_every_socket_and_ends_every_task() {
    let (listener, gateway) = pair(pages().await).await;
    let host = format!("{}.localhost", listener.key());
    let mut idle = open(gateway.browser_addr(), &host, "").await;
    idle.read_exact(&mut [0; 20]).await.unwrap();
    let silent = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    let (browser_addr, p2p) = (gateway.browser_addr(), listener.p2p());
    let began = std::time::Instant::now();
    gateway.node.shutdown().await;
    listener.node.shutdown().await;
    assert!(began.elapsed().as_secs() < 10, "idle connections do not hold a stop for the whole grace");
    assert!(TcpStream::connect(browser_addr).await.is_err());
    assert!(TcpStream::connect(p2p).await.is_err());
    drop((idle, silent));
}

/// Reads what still comes, in simulated time: the clock jumps ahead as soon as every task waits.
async fn rest_in_simulated_time(mut stream: TcpStream) -> (String, std::time::Duration) {
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest).await;
    let took = began.elapsed();
    tokio::time::resume();
    (rest, took)
}

#[tokio::test]
async fn a_peer_that_says_nothing_delays_nobody_and_is_gone_after_the_handshake_limit() {
    let (listener, gateway) = pair(pages().await).await;
    let silent = TcpStream::connect(listener.p2p()).await.unwrap();
    let host = format!("{}.localhost", listener.key());
    assert!(get(gateway.browser_addr(), &host, "Connection: close\r\n").await.ends_with("hello"));
    let (said, took) = rest_in_simulated_time(silent).await;
    assert_eq!(said, "");
    assert!(took <= HANDSHAKE_TIMEOUT + std::time::Duration::from_millis(100), "{took:?}");
}

#[tokio::test]
async fn a_browser_that_says_nothing_is_let_go_without_an_answer_and_a_slow_head_is_told() {
    let gateway = TestNode::gateway(&[]).await;
    let silent = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    let (said, took) = rest_in_simulated_time(silent).await;
    assert_eq!(said, "");
    assert!(took <= HEAD_TIMEOUT + std::time::Duration::from_millis(100), "{took:?}");

    let mut slow = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    slow.write_all(b"GET / HT").await.unwrap();
    let (said, _) = rest_in_simulated_time(slow).await;
    assert!(said.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{said}");
}

#[tokio::test]
async fn two_services_with_one_identity_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = service(nobody().await);
    service.identity = IdentityConfig::File(path_in(&dir, "id"));
    let mut config = hardline_node::config::NodeConfig::new(dir.path().to_owned());
    config.services = vec![service.clone(), service];
    config.gateway_port = None;
    let error = hardline_node::node::Node::start(config).await.unwrap_err();
    assert!(error.to_string().contains("same identity"), "{error}");
}

#[tokio::test]
async fn the_reasons_are_told_to_programs_too() {
    let (listener, gateway) = pair(nobody().await).await;
    let name = ServiceName { key: listener.key(), password: None };
    let error = gateway.node.connect(&name).await.unwrap_err();
    let refusal = Refusal { reason: Reason::Backend, unknown: Vec::new() };
    assert_eq!(error.cause, Cause::Refused { at: listener.p2p().into(), refusal, with_password: false });
}

/// Through the gateway, through a forwarded port, and by a program of the embedder's.
#[tokio::test]
async fn every_tunnel_is_counted_with_its_bytes_and_result_whoever_opened_it() {
    let (listener, dialler) = pair(echo().await).await;
    let name = ServiceName { key: listener.key(), password: None };
    let any_port = "127.0.0.1:0".parse().unwrap();
    let LocalAddr::Tcp(port) = dialler.node.forward(&any_port, &name).unwrap() else { panic!("a port") };

    let mut echoed = 0;
    // Over new connections, and over those that are left of them.
    for tunnels in [3, 6] {
        let browser = open(dialler.browser_addr(), &format!("{}.localhost", listener.key()), "").await;
        let mut program = TcpStream::connect(port).await.unwrap();
        program.write_all(&[1; 1000]).await.unwrap();
        let mut tunnel = dialler.node.connect(&name).await.unwrap();
        tunnel.write_all(&[2; 500]).await.unwrap();
        for mut stream in [Either::Tcp(browser), Either::Tcp(program), Either::Tunnel(tunnel)] {
            stream.shutdown().await;
            echoed += stream.read_to_end().await as u64;
        }
        let of = |node: &TestNode, name: &str| node.node.status().metrics[name].as_u64().unwrap();
        for node in [&dialler, &listener] {
            while node.node.status().tunnels > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!((of(node, "tunnels_opened"), of(node, "tunnels_clean")), (tunnels, tunnels));
            assert!(echoed > 500 * tunnels, "the browser's head is echoed too");
            assert_eq!((of(node, "bytes_to_services"), of(node, "bytes_to_diallers")), (echoed, echoed));
        }
    }
}

/// What an application has in its hands.
enum Either {
    Tcp(TcpStream),
    Tunnel(hardline_node::node::TunnelStream),
}

impl Either {
    async fn shutdown(&mut self) {
        match self {
            Self::Tcp(stream) => stream.shutdown().await.unwrap(),
            Self::Tunnel(stream) => stream.shutdown().await.unwrap(),
        }
    }

    async fn read_to_end(&mut self) -> usize {
        let mut heard = Vec::new();
        match self {
            Self::Tcp(stream) => stream.read_to_end(&mut heard).await.unwrap(),
            Self::Tunnel(stream) => stream.read_to_end(&mut heard).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_target_that_names_a_service_leads_there() {
    let (listener, gateway) = pair(pages().await).await;
    let mut browser = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    let key = listener.key();
    let request = format!("GET http://{key}.localhost:7009/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    browser.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn who_begins_with_http_2_hears_that_http_1_1_is_required() {
    let gateway = TestNode::gateway(&[]).await;
    let mut client = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, HTTP2_ANSWER);
}
