//! Key hash ↔ the name in a ClientHello (SNI, RFC 6066, section 3).

use std::io;

use hardline_proto::KeyHash;
use hardline_proto::rolling::{Day, RollingCode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// The record of a fatal `unrecognized_name` alert, before any encryption (RFC 8446, sections 5.1
/// and 6; RFC 6066, section 3): content type 21, version 3.3, length 2, level 2, description 112.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The address has decimal digits only, and TLS libraries take such a name for an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{key} has decimal digits only, and TLS does not carry such a name; the service needs a new identity")]
pub struct AllDecimal {
    /// The address.
    pub key: KeyHash,
}

/// The name a dialler asks for.
///
/// # Errors
/// [`AllDecimal`], for one address in 10⁸.
pub fn server_name(key: KeyHash) -> Result<ServerName<'static>, AllDecimal> {
    ServerName::try_from(key.to_string()).map_err(|_| AllDecimal { key })
}

/// The pseudonymous name: it tells nobody which service is asked for. It is the rolling code.
/// `None` for one in 10⁸, as with [`server_name`].
#[must_use]
pub fn pseudonym(key: KeyHash, today: Day) -> Option<ServerName<'static>> {
    ServerName::try_from(RollingCode::of(&key, today).to_string()).ok()
}

/// Refuses a ClientHello whose name is absent or not one of ours, and closes the sending half.
///
/// For a handshake that is not carried on: rustls itself would answer with `access_denied` when no
/// certificate fits, and RFC 6066 wants `unrecognized_name`.
///
/// # Errors
/// That of the connection, when it is gone already.
pub async fn refuse_unknown_name(io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    io.write_all(&UNRECOGNIZED_NAME).await?;
    io.shutdown().await
}
