//! Records of our own against OpenSSL's, as client and as server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hardline_node::proto::tunnel::ALPN;
use hardline_node::session::v2;
use hardline_node::tls::identity::Identity;
use hardline_node::tls::sni;
use hardline_node::transport::{handshake, secure::SecureStream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::given::Given;
use crate::program::{Peer, key_hash};

/// What makes OpenSSL's records differ: their size, padding, and the cipher.
const FLAGS: [&str; 6] = [
    "-ciphersuites TLS_AES_128_GCM_SHA256",
    "-ciphersuites TLS_AES_256_GCM_SHA384",
    "-ciphersuites TLS_CHACHA20_POLY1305_SHA256",
    "-max_send_frag 512",
    "-record_padding 1000",
    "-record_padding 16384",
];

/// More than a record, in lines, none like another.
fn many_lines() -> String {
    (0..3000).map(|line| format!("line {line} of payload\n")).collect()
}

#[tokio::test]
async fn what_openssl_serves_and_is_sent_arrives_whatever_its_records_are_like() {
    for flags in FLAGS {
        exchange(dial(flags).await, flags).await;
    }
}

#[tokio::test]
async fn what_openssl_asks_for_and_sends_arrives_whatever_its_records_are_like() {
    for flags in FLAGS {
        exchange(be_dialled(flags).await, flags).await;
    }
}

/// Many lines in each direction, several times.
async fn exchange((mut peer, mut stream): (Peer, SecureStream<TcpStream>), flags: &str) {
    assert!(stream.is_alpn_agreed() && stream.has_own_records());
    for _ in 0..3 {
        let lines = many_lines();
        peer.say(&lines).await;
        let mut got = vec![0; lines.len()];
        stream.read_exact(&mut got).await.unwrap();
        assert!(got == lines.as_bytes(), "{flags}");
        stream.write_all(lines.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        peer.read_until("line 2999 of payload\n").await;
        assert!(peer.printed.contains(&lines), "{flags}");
    }
}

#[tokio::test]
async fn keys_change_when_either_side_wants_it() {
    let (server, dialled) = dial("-msg").await;
    change_keys(server, dialled).await;
    let (client, accepted) = be_dialled("-msg").await;
    change_keys(client, accepted).await;
}

/// Has each side change its keys, and OpenSSL ask for ours too, with payload in between.
async fn change_keys(mut peer: Peer, mut stream: SecureStream<TcpStream>) {
    for (command, answers) in [("k\n", false), ("K\n", true), ("k\n", false), ("K\n", true)] {
        peer.say(command).await;
        peer.read_until(">>> TLS 1.3, Handshake [length 0005], KeyUpdate").await;
        peer.say("under the new key\n").await;
        assert_eq!(read_line(&mut stream).await, "under the new key\n");
        stream.write_all(b"heard\n").await.unwrap();
        stream.flush().await.unwrap();
        if answers {
            peer.read_until("<<< TLS 1.3, Handshake [length 0005], KeyUpdate").await;
        }
        peer.read_until("heard\n").await;
    }
    stream.change_keys_after(70);
    for round in 0..20 {
        stream.write_all(format!("round {round}\n").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        peer.read_until(&format!("round {round}\n")).await;
    }
    let updates = peer.printed.matches("<<< TLS 1.3, Handshake [length 0005], KeyUpdate").count();
    assert!(updates > 3, "two that were asked for, and {updates} in all");
}

#[tokio::test]
async fn both_sides_know_that_the_other_has_ended() {
    let (mut client, mut stream) = be_dialled("").await;
    client.say("last\n").await;
    assert_eq!(read_line(&mut stream).await, "last\n");
    client.say("Q\n").await; // its command to end
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "not cut off, but ended");

    let (mut client, mut stream) = be_dialled("-msg").await;
    stream.shutdown().await.unwrap();
    client.read_until("<<< TLS 1.3, Alert [length 0002], warning close_notify").await;
}

#[tokio::test]
async fn a_byte_changed_on_the_way_to_us_is_told_to_openssl() {
    let identity = Identity::ephemeral().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = Relay::to(listener.local_addr().unwrap()).await;
    let mut client = Peer::client_with_commands(relay.addr, Some(&identity.key.to_string()), V2);
    let mut stream = accept(&listener, &identity).await;
    client.say("sound\n").await;
    assert_eq!(read_line(&mut stream).await, "sound\n");
    relay.spoil();
    client.say("spoilt\n").await;
    let error = stream.read_u8().await.unwrap_err();
    assert!(error.to_string().contains("not the peer's"), "{error}");
    client.read_until("alert bad record mac").await;
}

#[tokio::test]
async fn a_byte_changed_on_the_way_to_openssl_is_told_to_us() {
    let given = Given::all();
    let (mut server, addr) = serve(&given, "").await;
    let relay = Relay::to(addr).await;
    let mut stream = connect(&given, relay.addr).await;
    stream.write_all(b"sound\n").await.unwrap();
    stream.flush().await.unwrap();
    server.read_until("sound\n").await;
    relay.spoil();
    stream.write_all(b"spoilt\n").await.unwrap();
    stream.flush().await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

/// What chooses version 2.
const V2: &str = "-tls1_3 -alpn hardline/2";

/// Ours, connected to `openssl s_server`.
async fn dial(flags: &str) -> (Peer, SecureStream<TcpStream>) {
    assert_eq!(ALPN, b"hardline/2");
    let given = Given::all();
    let (server, addr) = serve(&given, flags).await;
    (server, connect(&given, addr).await)
}

async fn serve(given: &Given, flags: &str) -> (Peer, SocketAddr) {
    Peer::server(&format!("{V2} {flags} -cert {0} -key {0}.private", identity(given).display())).await
}

async fn connect(given: &Given, addr: SocketAddr) -> SecureStream<TcpStream> {
    let key = key_hash(identity(given));
    let tcp = TcpStream::connect(addr).await.unwrap();
    let mut stream = handshake::connect(v2::client_tls(key, true), sni::server_name(key).unwrap(), tcp).await.unwrap();
    // The last of the handshake goes with the first that is written.
    stream.flush().await.unwrap();
    stream
}

fn identity(given: &Given) -> &Path {
    given.identities.iter().find(|path| path.ends_with("v1-p256")).unwrap()
}

/// `openssl s_client`, connected to ours.
async fn be_dialled(flags: &str) -> (Peer, SecureStream<TcpStream>) {
    let identity = Identity::ephemeral().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = identity.key.to_string();
    let client = Peer::client_with_commands(listener.local_addr().unwrap(), Some(&name), &format!("{V2} {flags}"));
    (client, accept(&listener, &identity).await)
}

async fn accept(listener: &TcpListener, identity: &Identity) -> SecureStream<TcpStream> {
    let hello = handshake::hello(listener.accept().await.unwrap().0).await.unwrap();
    let mut stream = hello.accept(v2::server_tls(identity)).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

async fn read_line(stream: &mut SecureStream<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line
}

/// Hands one connection on, and changes a byte of what its client says once it is told to.
struct Relay {
    addr: SocketAddr,
    is_spoiling: Arc<AtomicBool>,
}

impl Relay {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { addr: listener.local_addr().unwrap(), is_spoiling: Arc::default() };
        let is_spoiling = Arc::clone(&relay.is_spoiling);
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = listener.accept().await.unwrap().0.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
                if is_spoiling.load(Ordering::Relaxed) {
                    bytes[length - 1] ^= 1;
                }
                to_server.write_all(&bytes[..length]).await.unwrap();
            }
        });
        relay
    }

    fn spoil(&self) {
        self.is_spoiling.store(true, Ordering::Relaxed);
    }
}
