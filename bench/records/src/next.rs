//! The split interface of rustls 0.24.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls_next::client::ClientSide;
use rustls_next::crypto::{CipherSuite, Identity};
use rustls_next::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls_next::server::ServerSide;
use rustls_next::split::{ReceiveTraffic, ReceiveTrafficState, SendTraffic, SplitConnection};
use rustls_next::{ClientConfig, Connection, RootCertStore, ServerConfig, TlsInputBuffer};

use crate::{BUFFER, PAYLOAD, RECORD, RECORDS, connection, sink, source};

/// The ends of idle connections, without what they tell of the handshake.
pub(crate) fn idle(connections: usize) -> Vec<(SendTraffic, Receive)> {
    let (client, server) = configurations().expect("settings of our own");
    let mut ends = Vec::with_capacity(2 * connections);
    for _ in 0..connections {
        let (near, far) = handshake(&client, &server).expect("both ends are ours");
        ends.extend([(near.send, Receive::Client(near.receive)), (far.send, Receive::Server(far.receive))]);
    }
    ends
}

/// The receiving half of either end.
#[expect(dead_code, reason = "it is idle")]
pub(crate) enum Receive {
    Client(ReceiveTraffic<ClientSide>),
    Server(ReceiveTraffic<ServerSide>),
}

/// Carries `total` bytes from one end to the other.
pub(crate) fn carry(total: usize) -> io::Result<()> {
    let (client, server) = configurations().map_err(io::Error::other)?;
    let (client, server) = handshake(&client, &server).map_err(io::Error::other)?;
    let (near, far) = connection()?;
    let sender = std::thread::spawn(move || send(client.send, near, total));
    let received = receive(server.receive, far)?;
    sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))?;
    assert!(received >= total, "{received} of {total} bytes");
    Ok(())
}

fn send(mut tls: SendTraffic, mut to: TcpStream, total: usize) -> io::Result<()> {
    let mut source = source()?;
    let mut payload = vec![0; RECORDS * PAYLOAD];
    let mut records = Vec::with_capacity(RECORDS * RECORD);
    for _ in 0..total.div_ceil(RECORDS * PAYLOAD) {
        for piece in payload.chunks_exact_mut(PAYLOAD) {
            source.read_exact(piece)?;
        }
        records.clear();
        tls.write(payload.as_slice().into(), &mut records).map_err(io::Error::other)?;
        to.write_all(&records)?;
    }
    to.shutdown(Shutdown::Write)
}

fn receive(mut tls: ReceiveTraffic<ServerSide>, mut from: TcpStream) -> io::Result<usize> {
    let mut sink = sink()?;
    let mut input = Input::default();
    let mut received = 0;
    loop {
        let mut payload = 0;
        let next = match tls.read(&mut input).map_err(io::Error::other)? {
            ReceiveTrafficState::Available(mut data) => {
                payload = data.data().len();
                sink.write_all(data.data())?;
                data.into_next()
            }
            ReceiveTrafficState::FlushSender(flush) => flush.into_next(),
            ReceiveTrafficState::ReadMore(tls) => ReceiveTrafficState::ReadMore(tls),
            ReceiveTrafficState::CloseNotify => return Ok(received),
        };
        received += payload;
        let ReceiveTrafficState::ReadMore(more) = next else { return Err(io::Error::other("nothing more is read")) };
        tls = more;
        // After payload another record may lie there as a whole.
        if payload == 0 && input.read(&mut from)? == 0 {
            return Ok(received);
        }
    }
}

/// A buffer that gives bytes up without moving the others.
struct Input {
    bytes: Vec<u8>,
    front: usize,
    filled: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self { bytes: vec![0; BUFFER], front: 0, filled: 0 }
    }
}

impl Input {
    fn read(&mut self, from: &mut impl Read) -> io::Result<usize> {
        self.bytes.copy_within(self.front..self.filled, 0);
        self.filled -= self.front;
        self.front = 0;
        let read = from.read(&mut self.bytes[self.filled..])?;
        self.filled += read;
        Ok(read)
    }
}

impl TlsInputBuffer for Input {
    fn slice_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.front..self.filled]
    }
    fn discard(&mut self, num_bytes: usize) {
        self.front += num_bytes;
    }
    fn received_close_notify(&mut self) {}
    fn has_seen_eof(&self) -> bool {
        false
    }
}

type Pair = (SplitConnection<ClientSide>, SplitConnection<ServerSide>);
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Both ends behind a handshake with the cipher that ours is measured with.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<Pair, Failure> {
    let (mut to_server, mut to_client, mut payload) = (Vec::new(), Vec::new(), Vec::new());
    let mut client = client.connect(ServerName::try_from("localhost")?).build(&mut to_server)?;
    let mut server = Connection::<ServerSide, _>::new(Arc::clone(server))?;
    let (mut at_client, mut at_server) = (Input::default(), Input::default());
    while client.is_handshaking() || server.is_handshaking() || !to_server.is_empty() || !to_client.is_empty() {
        at_server.read(&mut std::mem::take(&mut to_server).as_slice())?;
        server.read_tls(&mut at_server, &mut to_client).handle_all(&mut payload)?;
        at_client.read(&mut std::mem::take(&mut to_client).as_slice())?;
        client.read_tls(&mut at_client, &mut to_server).handle_all(&mut payload)?;
    }
    Ok((client.split()?, server.split()?))
}

fn configurations() -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Failure> {
    let mut provider = rustls_ring::DEFAULT_PROVIDER.clone();
    let is_wanted = |suite: CipherSuite| suite == CipherSuite::TLS13_AES_128_GCM_SHA256;
    let suites = provider.tls13_cipher_suites.iter().copied().filter(|suite| is_wanted(suite.common.suite));
    provider.tls13_cipher_suites = suites.collect::<Vec<_>>().into();
    let provider = Arc::new(provider);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let client = ClientConfig::builder(Arc::clone(&provider)).with_root_certificates(roots).with_no_client_auth()?;
    let identity = Arc::new(Identity::from_cert_chain(vec![certificate])?);
    let server = ServerConfig::builder(provider).with_no_client_auth().with_single_cert(identity, key)?;
    Ok((Arc::new(client), Arc::new(server)))
}
