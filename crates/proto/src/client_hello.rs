//! TLS ClientHello → server name (RFC 8446, section 4.1.2; RFC 6066, section 3).

/// Longest ClientHello read, in bytes with record headers. Post-quantum key shares take 2 KiB.
pub const MAX_CLIENT_HELLO: usize = 16 * 1024;

/// What could be read of a ClientHello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// Not whole yet: read more.
    Partial,
    /// Whole.
    Complete {
        /// The `host_name` of its server name extension.
        server_name: Option<String>,
    },
}

/// Why bytes are not a ClientHello.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// Not a well-formed ClientHello.
    #[error("malformed ClientHello: {0}")]
    Malformed(&'static str),
    /// Longer than [`MAX_CLIENT_HELLO`].
    #[error("ClientHello longer than {MAX_CLIENT_HELLO} bytes")]
    TooLarge,
}

/// Reads the server name of the ClientHello at the start of `bytes`, which may be spread over several records.
///
/// # Errors
/// [`HelloError`] when the bytes can never become one.
pub fn read_client_hello(bytes: &[u8]) -> Result<Hello, HelloError> {
    let _ = bytes;
    todo!()
}
