//! rustls without its buffers, as client or server: what came in → what it means and what goes out.

use std::fmt;

use hardline_record::{RecordError, RecordLayer, Secrets};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, Error, ProtocolVersion};

/// A connection in rustls's hands.
pub(super) struct Engine {
    tls: Tls,
    /// Payload that came, until somebody takes it.
    pub(super) plain: Vec<u8>,
    /// What rustls itself has to say, until somebody sends it.
    pub(super) outgoing: Vec<u8>,
    is_closed: bool,
}

enum Tls {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("is_closed", &self.is_closed).finish_non_exhaustive()
    }
}

/// How far a [`Engine`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Something was done: call again.
    Again,
    /// Nothing can be done before more has come.
    Blocked,
    /// The peer has said that nothing more comes.
    Closed,
    /// A record of so many bytes was written.
    Written(usize),
}

/// What to write once rustls is ready for it.
enum Write<'a> {
    Nothing,
    Payload(&'a [u8], &'a mut [u8]),
    Close(&'a mut [u8]),
}

impl Engine {
    pub(super) fn client(connection: UnbufferedClientConnection) -> Self {
        Self::new(Tls::Client(Box::new(connection)))
    }

    pub(super) fn server(connection: UnbufferedServerConnection) -> Self {
        Self::new(Tls::Server(Box::new(connection)))
    }

    fn new(tls: Tls) -> Self {
        Self { tls, plain: Vec::new(), outgoing: Vec::new(), is_closed: false }
    }

    /// What both sides have agreed on.
    pub(super) fn agreed(&self) -> &CommonState {
        match &self.tls {
            Tls::Client(connection) => connection,
            Tls::Server(connection) => connection,
        }
    }

    /// Reads from `incoming`, which must hold everything that came and is not done with, and takes
    /// off its front what is done with, also beside an error.
    pub(super) fn advance(&mut self, incoming: &mut &mut [u8]) -> Result<Progress, Error> {
        let progress = self.step(incoming, Write::Nothing)?;
        Ok(if self.is_closed { Progress::Closed } else { progress })
    }

    /// Prepares what rustls tells the peer of an error.
    pub(super) fn fail(&mut self, incoming: &mut &mut [u8]) {
        while let Ok(Progress::Again) = self.advance(incoming) {}
    }

    /// Whether the peer has said that nothing more comes.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Encrypts the payload of one record to the front of `record`, and returns its length. What
    /// came must be read first, so `incoming` is as for [`advance`](Self::advance).
    pub(super) fn encrypt(
        &mut self,
        incoming: &mut &mut [u8],
        payload: &[u8],
        record: &mut [u8],
    ) -> Result<usize, Error> {
        self.write(incoming, Write::Payload(payload, record))
    }

    /// Writes the record that says that nothing more comes from us, and returns its length.
    pub(super) fn close(&mut self, incoming: &mut &mut [u8], record: &mut [u8]) -> Result<usize, Error> {
        self.write(incoming, Write::Close(record))
    }

    /// Takes the keys out of rustls's hands, in TLS 1.3 and behind the handshake.
    pub(super) fn into_records(self) -> Result<RecordLayer, RecordError> {
        let (extracted, secrets) = match self.tls {
            Tls::Client(connection) => {
                let (extracted, kernel) = connection.dangerous_into_kernel_connection()?;
                (extracted, Secrets::Client(kernel))
            }
            Tls::Server(connection) => {
                let (extracted, kernel) = connection.dangerous_into_kernel_connection()?;
                (extracted, Secrets::Server(kernel))
            }
        };
        RecordLayer::new(extracted, secrets)
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.agreed().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    fn write(&mut self, incoming: &mut &mut [u8], what: Write<'_>) -> Result<usize, Error> {
        while self.step(incoming, Write::Nothing)? != Progress::Blocked {}
        match self.step(incoming, what)? {
            Progress::Written(length) => Ok(length),
            _ => Err(Error::HandshakeNotComplete),
        }
    }

    fn step(&mut self, incoming: &mut &mut [u8], write: Write<'_>) -> Result<Progress, Error> {
        let Self { tls, plain, outgoing, is_closed } = self;
        let (used, progress) = match tls {
            Tls::Client(connection) => step(connection.process_tls_records(incoming), plain, outgoing, write),
            Tls::Server(connection) => step(connection.process_tls_records(incoming), plain, outgoing, write),
        };
        *is_closed |= matches!(progress, Ok(Progress::Closed));
        *incoming = std::mem::take(incoming).get_mut(used..).unwrap_or_default();
        progress
    }
}

fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut Vec<u8>,
    outgoing: &mut Vec<u8>,
    write: Write<'_>,
) -> (usize, Result<Progress, Error>) {
    let mut used = status.discard;
    let progress = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            append(outgoing, |room| data.encode(room)).map(|()| Progress::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done(); // whoever waits for the peer sends it before
            Ok(Progress::Again)
        }
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                None => break Ok(Progress::Again),
                Some(Err(error)) => break Err(error),
                Some(Ok(record)) => {
                    used += record.discard;
                    plain.extend_from_slice(record.payload);
                }
            }
        },
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match write {
            Write::Nothing => Ok(Progress::Blocked),
            Write::Payload(payload, record) => written(traffic.encrypt(payload, record)),
            Write::Close(record) => written(traffic.queue_close_notify(record)),
        },
        Ok(ConnectionState::BlockedHandshake) => Ok(Progress::Blocked),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Progress::Closed),
        // Early data, which our configurations do not take.
        Ok(_) => Err(Error::General("a state that was not asked for".to_owned())),
    };
    (used, progress)
}

fn append(
    outgoing: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), Error> {
    let before = outgoing.len();
    let failed = |_| Error::General("a message was not written".to_owned());
    let written = match encode(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            outgoing.resize(before + required_size, 0);
            encode(&mut outgoing[before..]).map_err(failed)?
        }
        other => other.map_err(failed)?,
    };
    outgoing.truncate(before + written);
    Ok(())
}

fn written(written: Result<usize, EncryptError>) -> Result<Progress, Error> {
    match written {
        Ok(length) => Ok(Progress::Written(length)),
        Err(EncryptError::EncryptExhausted) => Err(Error::EncryptError),
        Err(EncryptError::InsufficientSize(_)) => Err(Error::General("no room for a record".to_owned())),
    }
}
