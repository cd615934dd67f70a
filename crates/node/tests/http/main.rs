//! HTTP-aware services, over real sockets and through two nodes: what a browser sends and what the
//! program behind the service hears, and back.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod bad_backends; // programs that do not answer as they should
mod heads; // what is rewritten
mod smuggling; // what could be read in two ways
mod streams; // bodies, trailers, interim answers, upgrades
mod tls; // programs that speak TLS

use std::net::SocketAddr;
use std::time::Duration;

use common::{TestNode, pair_for, service};
use hardline_node::config::{HttpSettings, ServiceConfig};
use hardline_node::node::TunnelStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

/// Settings that ask for HTTP to be understood, and for nothing else.
fn aware() -> HttpSettings {
    HttpSettings { forwarded: Some(false), ..HttpSettings::default() }
}

fn with(backend: SocketAddr, http: HttpSettings) -> ServiceConfig {
    ServiceConfig { http, ..service(backend) }
}

/// A service in front of `backend`, and a browser's connection to it.
struct World {
    listener: TestNode,
    gateway: TestNode,
}

impl World {
    async fn new(backend: SocketAddr, http: HttpSettings) -> Self {
        let (listener, gateway) = pair_for(with(backend, http)).await;
        Self { listener, gateway }
    }

    fn host(&self) -> String {
        format!("{}.localhost:7009", self.listener.key())
    }

    async fn browser(&self) -> TcpStream {
        TcpStream::connect(self.gateway.browser_addr()).await.unwrap()
    }

    /// Sends `request`, with `HOST` and line ends replaced, on a connection of its own and reads
    /// the answer to the connection's end.
    async fn ask(&self, request: &str) -> String {
        let mut browser = self.browser().await;
        browser.write_all(self.text(request).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(LIMIT, browser.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// A tunnel to the service that no gateway looks into.
    async fn tunnel(&self) -> TunnelStream {
        self.gateway.node.connect(&common::name(self.listener.key())).await.unwrap()
    }

    fn text(&self, text: &str) -> String {
        text.replace("HOST", &self.host()).replace('\n', "\r\n")
    }
}

/// One head, and nothing behind it; empty at the end of the stream.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match timeout(LIMIT, stream.read_u8()).await.unwrap() {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// So many bytes.
async fn bytes(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(LIMIT, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// A program that answers each request with what it has heard of its head.
async fn repeats() -> SocketAddr {
    common::backend(|mut stream| async move {
        loop {
            let heard = head(&mut stream).await;
            if heard.is_empty() {
                return;
            }
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{heard}", heard.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

/// A program that hears one head on each connection and answers so.
async fn says(answer: &'static str) -> SocketAddr {
    common::backend(move |mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(answer.replace('\n', "\r\n").as_bytes()).await;
        let _ = stream.shutdown().await;
        let _ = stream.read(&mut [0]).await;
    })
    .await
}
