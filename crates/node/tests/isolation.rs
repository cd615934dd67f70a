//! What the gateway adds to answers of other computers' services, and whom each request goes to.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;

use common::{TestNode, backend, greeting, open, service};
use hardline_node::proto::exchange::POLICY;
use hardline_node::proto::host::ServiceName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A backend that answers each request with its own `text` and the request's path, in chunks, and
/// a WebSocket's handshake with 101 and an echo.
async fn site(text: &'static str) -> SocketAddr {
    backend(move |mut stream| async move {
        let mut bytes = Vec::new();
        while let Some(head) = next_head(&mut stream, &mut bytes).await {
            if head.contains("Upgrade: websocket") {
                stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                return;
            }
            let path = head.split(' ').nth(1).unwrap();
            let body = format!("{text} {path}");
            let chunks = format!("1\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &body[..1], body.len() - 1, &body[1..]);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Security-Policy: default-src *\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// The next head of a connection, without its body.
async fn next_head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(String::from_utf8(bytes.drain(..end + 4).collect()).unwrap());
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Two services of one computer, and a gateway that knows both and trusts neither.
async fn two(one: SocketAddr, two: SocketAddr) -> (TestNode, TestNode, [String; 2]) {
    let listener = TestNode::listener(vec![service(one), service(two)]).await;
    let keys: Vec<_> = listener.node.status().services.iter().map(|service| service.key).collect();
    let gateway = TestNode::isolating_gateway(&[(keys[0], listener.p2p()), (keys[1], listener.p2p())]).await;
    let hosts = [format!("{}.localhost:7009", keys[0]), format!("{}.localhost:7009", keys[1])];
    (listener, gateway, hosts)
}

fn policies(head: &str) -> Vec<&str> {
    head.lines().filter(|line| line.starts_with("Content-Security-Policy: ")).collect()
}

/// Asks for `path` at `host`, and returns head and body of the answer, which is chunked.
async fn ask(browser: &mut TcpStream, host: &str, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    browser.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let head = next_head(browser, &mut bytes).await.unwrap();
    while !bytes.ends_with(b"0\r\n\r\n") {
        assert_ne!(browser.read_buf(&mut bytes).await.unwrap(), 0);
    }
    (head, String::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn each_request_of_a_connection_goes_to_its_own_service_and_each_answer_has_the_policy() {
    let (_listener, gateway, [one, two]) = two(site("one").await, site("two").await).await;
    let mut browser = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    for host in [&one, &one, &two, &two, &one] {
        let text = if *host == one { "ne /path" } else { "wo /path" };
        let (head, body) = ask(&mut browser, host, "/path").await;
        assert!(body.contains(text), "{host}: {body}");
        let policy = std::str::from_utf8(POLICY).unwrap().trim_end();
        assert_eq!(policies(&head), [policy, "Content-Security-Policy: default-src *"], "both are in force");
    }
}

#[tokio::test]
async fn an_own_service_and_a_trusted_one_are_carried_as_they_are() {
    let site = site("own").await;
    let own = TestNode::start(|config| config.services = vec![service(site)]).await;
    let mut browser = TcpStream::connect(own.browser_addr()).await.unwrap();
    let (head, _) = ask(&mut browser, &format!("{}.localhost", own.key()), "/").await;
    assert_eq!(policies(&head), ["Content-Security-Policy: default-src *"]);

    let trusting = TestNode::gateway(&[(own.key(), own.p2p())]).await;
    let mut browser = TcpStream::connect(trusting.browser_addr()).await.unwrap();
    let (head, _) = ask(&mut browser, &format!("{}.localhost", own.key()), "/").await;
    assert_eq!(policies(&head), ["Content-Security-Policy: default-src *"]);
}

#[tokio::test]
async fn a_service_worker_is_refused_and_the_connection_is_not_the_service_s() {
    let (_listener, gateway, [one, _]) = two(site("one").await, site("two").await).await;
    let mut browser = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    ask(&mut browser, &one, "/").await;
    let request = format!("GET /worker.js HTTP/1.1\r\nHost: {one}\r\nService-Worker: script\r\n\r\n");
    browser.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("service worker"), "{answer}");
    assert!(!answer.contains("one /"), "{answer}");
}

#[tokio::test]
async fn a_websocket_carries_bytes_as_they_are() {
    let (_listener, gateway, [one, _]) = two(site("one").await, site("two").await).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut browser = open(gateway.browser_addr(), &one, upgrade).await;
    let mut bytes = Vec::new();
    let head = next_head(&mut browser, &mut bytes).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let odd = b"GET \0\xffHTTP/1.1 200 OK\r\n\r\n".repeat(10_000);
    let (mut from, mut to) = browser.split();
    let (_, heard) = tokio::join!(to.write_all(&odd), async {
        let mut heard = vec![0; odd.len()];
        from.read_exact(&mut heard).await.unwrap();
        heard
    });
    assert_eq!(heard, odd);
}

#[tokio::test]
async fn an_answer_that_can_be_read_in_two_ways_does_not_reach_the_browser() {
    let garbage = |text: &'static str| {
        backend(move |mut stream| async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.read(&mut [0; 1]).await;
        })
    };
    for text in [
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 100\r\n\r\nsecret",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nsecret",
        "\r\nHTTP/1.1 200 OK\r\n\r\nsecret",
    ] {
        let (_listener, gateway, [one, _]) = two(garbage(text).await, site("two").await).await;
        let mut answer = String::new();
        open(gateway.browser_addr(), &one, "").await.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("secret"), "{text:?}: {answer}");
    }
}

#[tokio::test]
async fn what_a_proxy_s_client_asks_for_is_followed_if_it_is_http_and_raw_if_not() {
    let (_listener, gateway, [one, two]) = two(site("one").await, greeting(b'!').await).await;
    let connect = async |host: &str| {
        let mut client = TcpStream::connect(gateway.browser_addr()).await.unwrap();
        let name = host.replace(":7009", ":80");
        client.write_all(format!("CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let head = next_head(&mut client, &mut bytes).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        (client, bytes)
    };
    let (mut browser, _) = connect(&one).await;
    assert_eq!(policies(&ask(&mut browser, &one, "/").await.0).len(), 2);
    let (mut program, mut bytes) = connect(&two).await;
    program.write_all(b"GET \0 raw").await.unwrap();
    while bytes.len() < 10 {
        program.read_buf(&mut bytes).await.unwrap();
    }
    assert_eq!(bytes, b"!GET \0 raw");
    let mut tunnel =
        gateway.node.connect(&ServiceName { key: one[..40].parse().unwrap(), password: None }).await.unwrap();
    tunnel.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = vec![0; 17 + 30];
    tunnel.read_exact(&mut first).await.unwrap();
    assert!(!String::from_utf8_lossy(&first).contains("data: blob:"), "who embeds a node gets bytes as they are");
}
