//! The TLS settings of our dialler with those of our listener, in memory.

use std::io::Write;
use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::tunnel::ALPN;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, TlsConnector, client, server};

use super::{v1, v2};
use crate::tls::identity::Identity;
use crate::tls::pin::{PinnedKey, WrongKey, proven_key, wrong_key};
use crate::tls::{config, sni};
use crate::transport::handshake;

/// Room in the pipe between client and server, in bytes: a whole flight, so that neither waits for
/// the other's reading.
const PIPE: usize = 64 * 1024;

#[tokio::test]
async fn a_client_reaches_the_server_that_its_pin_names() {
    let identity = Identity::ephemeral().unwrap();
    let (client, server) = shake_hands(identity.key, &identity).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    client.write_all(b"ping").await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"ping");
}

#[tokio::test]
async fn a_server_with_another_certificate_is_told_apart_as_the_wrong_key() {
    let (expected, other) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (client, server) = shake_hands(expected.key, &other).await;
    let error = client.unwrap_err();
    assert_eq!(wrong_key(&error), Some(WrongKey { expected: expected.key, got: other.key }));
    assert!(server.is_err());
}

#[tokio::test]
async fn a_listener_reads_the_name_before_it_chooses_a_certificate_and_refuses_an_unknown_one() {
    let key = Identity::ephemeral().unwrap().key;
    let (near, far) = duplex(PIPE);
    let name = sni::server_name(key).unwrap();
    let client = tokio::spawn(TlsConnector::from(v1::client_tls(key)).connect(name, near));
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), far).await.unwrap();
    assert_eq!(start.client_hello().server_name(), Some(key.to_string().as_str()));
    sni::refuse_unknown_name(&mut start.io).await.unwrap();
    let error = client.await.unwrap().unwrap_err();
    let error = error.get_ref().unwrap().downcast_ref::<rustls::Error>().unwrap();
    assert_eq!(*error, rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName));
}

#[tokio::test]
async fn a_second_connection_is_verified_as_the_first_was() {
    let identity = Identity::ephemeral().unwrap();
    let (client_config, server_config) = (v1::client_tls(identity.key), v1::server_tls(&identity));
    for _ in 0..3 {
        let (near, far) = duplex(PIPE);
        let name = sni::server_name(identity.key).unwrap();
        let client = TlsConnector::from(client_config.clone()).connect(name, near);
        let server = TlsAcceptor::from(server_config.clone()).accept(far);
        let (mut client, mut server) = tokio::try_join!(client, server).unwrap();
        server.write_all(b"a ticket would come with this").await.unwrap();
        client.read_u8().await.unwrap();
        assert_eq!(client.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.get_ref().1.alpn_protocol(), None);
    }
}

#[test]
fn no_record_carries_more_plaintext_than_a_released_peer_reads_at_once() {
    let identity = Identity::ephemeral().unwrap();
    for (version, overhead) in [(&rustls::version::TLS13, 1 + 16), (&rustls::version::TLS12, 8 + 16)] {
        let verifier = Arc::new(PinnedKey { expected: identity.key });
        let builder = ClientConfig::builder_with_provider(config::provider().clone());
        let builder = builder.with_protocol_versions(&[version]).unwrap().dangerous();
        let mut client_config = builder.with_custom_certificate_verifier(verifier).with_no_client_auth();
        client_config.max_fragment_size = v1::client_tls(identity.key).max_fragment_size;
        let name = sni::server_name(identity.key).unwrap();
        let mut client = Connection::from(ClientConnection::new(Arc::new(client_config), name).unwrap());
        let mut server = Connection::from(ServerConnection::new(v1::server_tls(&identity)).unwrap());
        while client.is_handshaking() || server.is_handshaking() {
            pass(&mut client, &mut server);
            pass(&mut server, &mut client);
        }
        for side in [&mut client, &mut server] {
            assert_eq!(longest_record(side) - overhead, v1::RECORD, "{version:?}");
        }
    }
}

/// Hands over what `from` has to send.
fn pass(from: &mut Connection, to: &mut Connection) {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = &wire[..];
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
        to.process_new_packets().unwrap();
    }
}

/// Length of the longest record, without its header, that a long write becomes.
fn longest_record(side: &mut Connection) -> usize {
    side.writer().write_all(&[0; 40_000]).unwrap();
    let mut wire = Vec::new();
    while side.wants_write() {
        side.write_tls(&mut wire).unwrap();
    }
    let (mut rest, mut longest) = (&wire[..], 0);
    while let [_, _, _, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        longest = longest.max(length);
        rest = &after[length..];
    }
    longest
}

#[test]
fn an_all_decimal_address_is_no_server_name() {
    let key = KeyHash::from_bytes([0x12; 20]);
    assert_eq!(sni::server_name(key), Err(sni::AllDecimal { key }));
    assert!(sni::server_name(KeyHash::from_bytes([0xab; 20])).is_ok());
}

/// Both results of a handshake between a client pinned to `expected` and a server with `identity`.
async fn shake_hands(
    expected: KeyHash,
    identity: &Identity,
) -> (std::io::Result<client::TlsStream<DuplexStream>>, std::io::Result<server::TlsStream<DuplexStream>>) {
    let (near, far) = duplex(PIPE);
    let name = sni::server_name(expected).unwrap();
    let client = TlsConnector::from(v1::client_tls(expected)).connect(name, near);
    let server =
        async { LazyConfigAcceptor::new(Acceptor::default(), far).await?.into_stream(v1::server_tls(identity)).await };
    tokio::join!(client, server)
}

/// A handshake of version 2 with `server`: of which kind it was, and whose key was proved.
async fn link(client: &Arc<ClientConfig>, server: Arc<ServerConfig>, name: KeyHash) -> (HandshakeKind, KeyHash) {
    let (near, far) = duplex(PIPE);
    let client = TlsConnector::from(client.clone()).connect(sni::server_name(name).unwrap(), near);
    let server = TlsAcceptor::from(server).accept(far);
    let (mut client, mut server) = tokio::try_join!(client, server).unwrap();
    server.write_all(b"!").await.unwrap();
    client.read_u8().await.unwrap(); // the tickets came in front of it
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(ALPN));
    (client.get_ref().1.handshake_kind().unwrap(), proven_key(client.get_ref().1).unwrap())
}

#[tokio::test]
async fn a_session_of_version_2_is_resumed_and_still_says_whose_it_is() {
    let identity = Identity::ephemeral().unwrap();
    let (client, server) = (v2::client_tls(identity.key, true), v2::server_tls(&identity));
    let mut kinds = Vec::new();
    for _ in 0..4 {
        let (kind, key) = link(&client, server.clone(), identity.key).await;
        assert_eq!(key, identity.key);
        kinds.push(kind);
    }
    assert_eq!(kinds[0], HandshakeKind::Full);
    assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
}

#[tokio::test]
async fn a_session_is_never_resumed_with_another_service_or_under_another_address() {
    let (one, other) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let client = v2::client_tls(one.key, true);
    link(&client, v2::server_tls(&one), one.key).await;
    // The same name with another ticket key: the service was started anew, or another one has its
    // place.
    let (kind, _) = link(&client, v2::server_tls(&one), one.key).await;
    assert_eq!(kind, HandshakeKind::Full);
    // Another service finds no session of the first, even if it has the first one's name.
    let (near, far) = duplex(PIPE);
    let dialling = TlsConnector::from(client).connect(sni::server_name(one.key).unwrap(), near);
    let (refused, _) = tokio::join!(dialling, TlsAcceptor::from(v2::server_tls(&other)).accept(far));
    assert_eq!(wrong_key(&refused.unwrap_err()), Some(WrongKey { expected: one.key, got: other.key }));
    // Configurations share no sessions.
    let (kind, _) = link(&v2::client_tls(one.key, true), v2::server_tls(&one), one.key).await;
    assert_eq!(kind, HandshakeKind::Full);
}

#[tokio::test]
async fn both_sides_make_their_own_records_also_when_the_first_words_come_with_the_handshake() {
    const WORDS: &[u8] = b"said together with the end of the handshake";
    let identity = Identity::ephemeral().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let dialling = async {
        let name = sni::server_name(identity.key).unwrap();
        let mut stream = handshake::connect(v2::client_tls(identity.key, true), name, near).await.unwrap();
        // Nothing was sent since the server's last flight: these leave in one write with our own.
        stream.seal(&[WORDS]).unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let listening = async {
        let hello = handshake::hello(far).await.unwrap();
        hello.accept(v2::server_tls(&identity)).await.unwrap()
    };
    let (near, mut far) = tokio::join!(dialling, listening);
    assert!(near.has_own_records() && far.has_own_records());
    let mut heard = vec![0; WORDS.len()];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, WORDS);
}

#[tokio::test]
async fn a_dialler_of_version_2_falls_back_to_version_1_and_its_settings() {
    let identity = Identity::ephemeral().unwrap();
    let (near, far) = duplex(PIPE);
    let client =
        TlsConnector::from(v2::client_tls(identity.key, true)).connect(sni::server_name(identity.key).unwrap(), near);
    let server = TlsAcceptor::from(v1::server_tls(&identity)).accept(far);
    let (client, _server) = tokio::try_join!(client, server).unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), None);
}
