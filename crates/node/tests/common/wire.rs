//! Somebody on the wire, who reads along.

use std::net::SocketAddr;

use hardline_node::proto::KeyHash;
use hardline_node::proto::client_hello::{Hello, read_client_hello};
use hardline_node::proto::rolling::{Day, RollingCode};
use hardline_node::session::v2;
use hardline_node::tls::sni;
use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::backend;

/// The first bytes of a connection: a ClientHello.
pub struct Heard {
    bytes: Vec<u8>,
    server_name: String,
}

impl Heard {
    /// Whether it says nothing of `key` but its code of today.
    pub fn hides(&self, key: KeyHash) -> bool {
        let says = |text: &str| self.bytes.windows(text.len()).any(|bytes| bytes.eq_ignore_ascii_case(text.as_bytes()));
        let codes = today().with_neighbours().map(|day| RollingCode::of(&key, day).to_string());
        codes.contains(&self.server_name)
            && !says(&key.to_string())
            && !self.bytes.windows(20).any(|bytes| bytes == key.as_bytes())
    }

    /// Whether it names `key`.
    pub fn names(&self, key: KeyHash) -> bool {
        self.server_name == key.to_string()
    }
}

/// What `listener` says first to a client that asks for `name`, which may be a rolling code: seven
/// bytes, or an alert and what follows until the connection is closed.
pub async fn first_answer(listener: SocketAddr, name: KeyHash) -> Vec<u8> {
    let mut hello = Vec::new();
    let config = v2::client_tls(name, true);
    ClientConnection::new(config, sni::server_name(name).unwrap()).unwrap().write_tls(&mut hello).unwrap();
    let mut tcp = TcpStream::connect(listener).await.unwrap();
    tcp.write_all(&hello).await.unwrap();
    let mut answer = vec![0; 7];
    tcp.read_exact(&mut answer).await.unwrap();
    if answer[0] == 21 {
        tcp.read_to_end(&mut answer).await.unwrap();
    }
    answer
}

/// A way to a listener, and what is heard there.
pub async fn wiretap(listener: SocketAddr) -> (SocketAddr, UnboundedReceiver<Heard>) {
    let (sender, heard) = unbounded_channel();
    let addr = backend(move |mut near| {
        let sender = sender.clone();
        async move {
            let mut bytes = Vec::new();
            let server_name = loop {
                near.read_buf(&mut bytes).await.unwrap();
                if let Hello::Complete { server_name } = read_client_hello(&bytes).unwrap() {
                    break server_name.unwrap();
                }
            };
            let mut far = TcpStream::connect(listener).await.unwrap();
            far.write_all(&bytes).await.unwrap();
            let _ = sender.send(Heard { bytes, server_name });
            let _ = copy_bidirectional(&mut near, &mut far).await;
        }
    })
    .await;
    (addr, heard)
}

fn today() -> Day {
    Day::from_unix_seconds(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs())
}
