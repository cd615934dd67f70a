//! First bytes of a browser's connection → an HTTP request head, or TLS.

use crate::host::Authority;

/// Longest request head the gateway reads before it routes, in bytes. Cookies of several apps fit; browsers and common
/// servers stop between 8 and 64 KiB.
pub const MAX_HEAD: usize = 64 * 1024;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sniffed {
    /// Not enough bytes to tell: read more.
    Partial,
    /// A TLS handshake record: see [`crate::client_hello`].
    Tls,
    /// A whole HTTP/1 request head.
    Http(RequestHead),
}

/// What the gateway needs of a request head. The bytes themselves are passed on as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, as sent.
    pub method: String,
    /// The request target, as sent.
    pub target: String,
    /// Where the request goes.
    pub authority: Authority,
    /// What the client likes to read, for answers of the gateway's own.
    pub accept: Accept,
    /// Bytes of the head, with its empty line.
    pub len: usize,
}

/// Form of an answer of the gateway's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Accept {
    /// A page, for `text/html`.
    Html,
    /// JSON, for `application/json` and its kin.
    Json,
    /// Plain text, for everything else, `*/*` too (curl).
    #[default]
    Text,
}

/// Why a connection's first bytes are answered with an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// Not HTTP/1: answer 400.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// Longer than [`MAX_HEAD`]: answer 431.
    #[error("request head longer than {MAX_HEAD} bytes")]
    TooLarge,
    /// No `Host` header: answer 400.
    #[error("request without a Host header")]
    NoHost,
    /// More than one `Host` header: answer 400.
    #[error("request with {0} Host headers")]
    ManyHosts(usize),
    /// A `Host` that is not served. `accept` is what the client likes to read.
    #[error("{source}")]
    Host {
        /// Why.
        source: crate::host::HostError,
        /// Form of the answer.
        accept: Accept,
    },
}

/// Looks at all bytes received so far.
///
/// # Errors
/// [`HeadError`] when they can never become a head that is served.
pub fn sniff(bytes: &[u8]) -> Result<Sniffed, HeadError> {
    let _ = bytes;
    todo!()
}
