use std::fmt;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, SupportedCipherSuite};

use super::RecordError;

/// Records under one key where the cipher itself sets no limit.
const MANY: u64 = 1 << 36;

/// What rustls still does for a connection behind its handshake.
pub enum Secrets {
    /// We dialled.
    Client(KernelConnection<ClientConnectionData>),
    /// We were dialled.
    Server(KernelConnection<ServerConnectionData>),
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "Client",
            Self::Server(_) => "Server",
        })
    }
}

impl Secrets {
    /// Records that one key may seal (section 5.5).
    pub(super) fn record_limit(&self) -> u64 {
        let suite = match self {
            Self::Client(connection) => connection.negotiated_cipher_suite(),
            Self::Server(connection) => connection.negotiated_cipher_suite(),
        };
        match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit.min(MANY),
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit.min(MANY),
        }
    }

    pub(super) fn next_to_send(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        match self {
            Self::Client(connection) => connection.update_tx_secret(),
            Self::Server(connection) => connection.update_tx_secret(),
        }
    }

    pub(super) fn next_to_receive(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        match self {
            Self::Client(connection) => connection.update_rx_secret(),
            Self::Server(connection) => connection.update_rx_secret(),
        }
    }

    /// Keeps a ticket for the next connection.
    pub(super) fn keep(&mut self, ticket: &[u8]) -> Result<(), RecordError> {
        match self {
            Self::Client(connection) => {
                connection.handle_new_session_ticket(ticket).map_err(|_| RecordError::Malformed)
            }
            Self::Server(_) => Err(RecordError::Unexpected),
        }
    }
}
