//! Our client with our server, in memory.

use hardline_proto::KeyHash;
use rustls::ProtocolVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

use super::identity::Identity;
use super::pin::{WrongKey, wrong_key};
use super::{config, sni};

/// Room in the pipe between client and server, in bytes: a whole flight, so that neither waits for the other's reading.
const PIPE: usize = 64 * 1024;

#[tokio::test]
async fn a_client_reaches_the_server_that_its_pin_names() {
    let identity = Identity::ephemeral().unwrap();
    let (client, server) = handshake(identity.key, &identity).await;
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
    let (client, server) = handshake(expected.key, &other).await;
    let error = client.unwrap_err();
    assert_eq!(wrong_key(&error), Some(WrongKey { expected: expected.key, got: other.key }));
    assert!(server.is_err());
}

#[tokio::test]
async fn a_listener_reads_the_name_before_it_chooses_a_certificate_and_refuses_an_unknown_one() {
    let key = Identity::ephemeral().unwrap().key;
    let (near, far) = duplex(PIPE);
    let name = sni::server_name(key).unwrap();
    let client = tokio::spawn(TlsConnector::from(config::client(key)).connect(name, near));
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), far).await.unwrap();
    assert_eq!(start.client_hello().server_name(), Some(key.to_string().as_str()));
    sni::refuse_unknown_name(&mut start.io).await.unwrap();
    let error = client.await.unwrap().unwrap_err();
    let error = error.get_ref().unwrap().downcast_ref::<rustls::Error>().unwrap();
    assert_eq!(*error, rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName));
}

#[test]
fn an_all_decimal_address_is_no_server_name() {
    let key = KeyHash::from_bytes([0x12; 20]);
    assert_eq!(sni::server_name(key), Err(sni::AllDecimal { key }));
    assert!(sni::server_name(KeyHash::from_bytes([0xab; 20])).is_ok());
}

/// Both results of a handshake between a client pinned to `expected` and a server with `identity`.
async fn handshake(
    expected: KeyHash,
    identity: &Identity,
) -> (std::io::Result<client::TlsStream<DuplexStream>>, std::io::Result<server::TlsStream<DuplexStream>>) {
    let (near, far) = duplex(PIPE);
    let name = sni::server_name(expected).unwrap();
    let client = TlsConnector::from(config::client(expected)).connect(name, near);
    let server =
        async { LazyConfigAcceptor::new(Acceptor::default(), far).await?.into_stream(config::server(identity)).await };
    tokio::join!(client, server)
}
