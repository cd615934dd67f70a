//! The gateway as a proxy: for services, and for nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;

use common::{TestNode, backend, echo, nobody, pair};
use hardline_node::limits::HEAD_TIMEOUT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A backend that answers with the head that it got, and closes.
async fn mirror() -> SocketAddr {
    backend(|mut stream| async move {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
        let _ = stream.write_all(&[head.as_bytes(), &bytes].concat()).await;
    })
    .await
}

/// What comes back for `bytes`, until the connection is closed.
async fn ask(gateway: &TestNode, bytes: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    client.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    answer
}

async fn ask_text(gateway: &TestNode, text: &str) -> String {
    String::from_utf8(ask(gateway, text.as_bytes()).await).unwrap()
}

/// A SOCKS5 request to connect to `name`, behind a greeting.
fn socks(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    [&[5, 1, 0, 5, 1, 0, 3, length], name.as_bytes(), &[0, 80]].concat()
}

/// Opens a tunnel with `request`, checks that it is answered with `opened`, and that bytes are
/// echoed: those sent ahead of the answer first.
async fn check_echo(gateway: &TestNode, request: &[u8], opened: &[u8]) {
    let mut client = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    client.write_all(&[request, b"ahead "].concat()).await.unwrap();
    let mut answer = vec![0; opened.len() + b"ahead ".len()];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [opened, b"ahead "].concat());
    client.write_all(b"\0\xff\r\n\r\nmore").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"\0\xff\r\n\r\nmore");
}

#[tokio::test]
async fn a_request_as_to_a_proxy_reaches_the_service_as_one_to_itself() {
    let (listener, gateway) = pair(mirror().await).await;
    let key = listener.key();
    let request = format!(
        "GET http://{key}.localhost/a?b HTTP/1.1\r\nHost: example.org\r\nProxy-Connection: keep-alive\r\nX-A: b\r\n\r\n"
    );
    let answer = ask_text(&gateway, &request).await;
    let seen = answer.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(seen, format!("GET /a?b HTTP/1.1\r\nHost: {key}.localhost\r\nX-A: b\r\nConnection: close\r\n\r\n"));
}

#[tokio::test]
async fn a_tunnel_by_connect_carries_bytes_as_they_are() {
    let (listener, gateway) = pair(echo().await).await;
    let key = listener.key();
    for request in [
        format!("CONNECT {key}.localhost:22 HTTP/1.1\r\nHost: {key}.localhost:22\r\n\r\n"),
        format!("CONNECT {key}:443 HTTP/1.0\r\n\r\n"),
    ] {
        check_echo(&gateway, request.as_bytes(), b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    }
}

#[tokio::test]
async fn a_tunnel_by_socks_carries_bytes_as_they_are() {
    let (listener, gateway) = pair(echo().await).await;
    let opened = [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for name in [format!("{}.localhost", listener.key()), listener.key().to_string()] {
        check_echo(&gateway, &socks(&name), &opened).await;
    }
}

#[tokio::test]
async fn a_socks_client_may_send_byte_by_byte() {
    let (listener, gateway) = pair(echo().await).await;
    let mut client = TcpStream::connect(gateway.browser_addr()).await.unwrap();
    client.set_nodelay(true).unwrap();
    for byte in socks(&listener.key().to_string()) {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..4], [5, 0, 5, 0]);
}

#[tokio::test]
async fn nothing_but_a_service_is_reached_through_the_proxy() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = other.local_addr().unwrap();
    let gateway = TestNode::gateway(&[]).await;
    let own = gateway.browser_addr();
    for line in [
        format!("CONNECT {at}"),
        format!("CONNECT localhost:{}", at.port()),
        format!("CONNECT localhost:{}", own.port()),
        format!("CONNECT [::1]:{}", at.port()),
        "CONNECT example.org:443".to_owned(),
        format!("GET http://{at}/"),
        format!("GET http://localhost:{}/", at.port()),
        "GET http://localhost/".to_owned(),
        "GET http://example.org/".to_owned(),
        "POST http://no-key.localhost/".to_owned(),
    ] {
        let answer = ask_text(&gateway, &format!("{line} HTTP/1.1\r\nHost: {own}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{line}: {answer}");
        assert!(answer.contains("services only"), "{line}: {answer}");
    }
    for name in ["example.org", "localhost", "127.0.0.1", &at.to_string(), "no-key.localhost"] {
        assert_eq!(ask(&gateway, &socks(name)).await, [5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0], "{name}");
    }
    let to_addr = [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &at.port().to_be_bytes()].concat();
    assert_eq!(ask(&gateway, &to_addr).await[2..4], [5, 8]);
    assert!(tokio::time::timeout(std::time::Duration::ZERO, other.accept()).await.is_err(), "somebody connected");
}

#[tokio::test]
async fn who_does_not_keep_to_socks_is_let_go() {
    let gateway = TestNode::gateway(&[]).await;
    assert_eq!(ask(&gateway, b"\x05\x01\x02").await, [5, 0xff], "only with a password");
    assert_eq!(ask(&gateway, b"\x05\x00").await, [5, 0xff], "no method at all");
    assert_eq!(ask(&gateway, b"\x05\x01\x00\x05\x02\x00\x03").await[2..4], [5, 7], "to listen");
    assert_eq!(ask(&gateway, b"\x05\x01\x00\x05\x03\x00\x03").await[2..4], [5, 7], "UDP");
    assert_eq!(ask(&gateway, b"\x05\x01\x00\x04").await[2..4], [5, 1], "another version in between");
    let flood = [&[5, 255][..], &[7; 100_000]].concat();
    assert!(ask(&gateway, &flood).await.len() <= 2, "a greeting that goes on");
}

#[tokio::test(start_paused = true)]
async fn a_slow_socks_client_is_let_go_in_time() {
    let gateway = TestNode::gateway(&[]).await;
    for begun in [&b"\x05"[..], b"\x05\x01\x00", b"\x05\x01\x00\x05\x01\x00\x03\x28abc"] {
        let start = tokio::time::Instant::now();
        ask(&gateway, begun).await;
        let took = start.elapsed();
        assert!(took >= HEAD_TIMEOUT && took < 2 * HEAD_TIMEOUT, "{took:?} for {begun:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_reached_is_said_so_in_the_client_s_words() {
    let (listener, gateway) = pair(nobody().await).await;
    let key = listener.key();
    let answer = ask_text(&gateway, &format!("CONNECT {key}.localhost:80 HTTP/1.1\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("does not answer"), "{answer}");
    assert_eq!(ask(&gateway, &socks(&key.to_string())).await[2..4], [5, 5]);
    let stranger = "e868423731872b8235a0adc9102bb45bb9e8321e";
    assert_eq!(ask(&gateway, &socks(stranger)).await[2..4], [5, 4]);
}

#[tokio::test]
async fn proxy_pac_names_the_proxy_for_services_and_is_for_own_pages_alone() {
    let gateway = TestNode::gateway(&[]).await;
    let port = gateway.browser_addr().port();
    let get = |headers: &str| format!("GET /proxy.pac HTTP/1.1\r\nHost: localhost:{port}\r\n{headers}\r\n");
    let answer = ask_text(&gateway, &get("Accept: text/html\r\n")).await;
    assert!(answer.contains("\r\nContent-Type: application/x-ns-proxy-autoconfig\r\n"), "{answer}");
    assert!(answer.contains(&format!("\"PROXY 127.0.0.1:{port}\" : \"DIRECT\"")), "{answer}");
    for headers in ["Origin: http://evil.localhost\r\n", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"] {
        assert!(ask_text(&gateway, &get(headers)).await.starts_with("HTTP/1.1 403 "), "{headers}");
    }
}
