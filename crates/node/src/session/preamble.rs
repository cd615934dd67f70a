//! The preambles: what each side tells the other before any payload.

use std::io;

use hardline_proto::preamble::{MAX_PREAMBLE, Preamble, PreambleError};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Why the preambles were not exchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreambleFailure {
    /// The peer ended the connection before its line was whole. A listener does so when its backend
    /// is down or the password is wrong.
    #[error("the peer closed the connection before its preamble")]
    Closed,
    /// The peer's line cannot be read.
    #[error(transparent)]
    Line(#[from] PreambleError),
    /// The connection broke.
    #[error("reading or writing the preamble")]
    Io(#[source] io::Error),
}

impl From<io::Error> for PreambleFailure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// Reads the peer's line, at most [`MAX_PREAMBLE`] bytes of it, and leaves in the stream what
/// stands behind it.
pub(super) async fn read_preamble<S: AsyncBufRead + Unpin>(stream: &mut S) -> Result<Preamble, PreambleFailure> {
    let mut line = Vec::new();
    loop {
        let bytes = stream.fill_buf().await?;
        if bytes.is_empty() {
            return Err(PreambleFailure::Closed);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        if line.len() + part.len() > MAX_PREAMBLE {
            return Err(PreambleError::TooLong.into());
        }
        line.extend_from_slice(part);
        let taken = part.len();
        stream.consume(taken);
        if end.is_some() {
            return Ok(Preamble::parse(&line)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn read(bytes: &[u8]) -> Result<(Preamble, Vec<u8>), PreambleFailure> {
        let mut stream = io::Cursor::new(bytes.to_vec());
        let preamble = read_preamble(&mut stream).await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        Ok((preamble, rest))
    }

    #[tokio::test]
    async fn payload_behind_the_line_is_kept() {
        let (preamble, payload) = read(b"{\"password\": \"x\"}\nSSH-2.0\n").await.unwrap();
        assert_eq!(preamble.password.as_deref(), Some("x"));
        assert_eq!(payload, b"SSH-2.0\n");
    }

    #[tokio::test]
    async fn a_line_without_end_is_given_up_at_the_limit() {
        let endless = vec![b' '; 1024 * 1024];
        let failure = read(&endless).await.unwrap_err();
        assert!(matches!(failure, PreambleFailure::Line(PreambleError::TooLong)), "{failure}");
    }

    #[tokio::test]
    async fn an_end_before_the_line_says_so() {
        assert!(matches!(read(b"").await, Err(PreambleFailure::Closed)));
        assert!(matches!(read(b"{}").await, Err(PreambleFailure::Closed)));
    }
}
