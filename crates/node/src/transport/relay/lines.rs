//! Lines of a control connection, bounded in length.

use std::io;

use hardline_proto::relay::message::MAX_LINE;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes read at once: most messages are shorter.
const CHUNK: usize = 512;

/// What has been received and is not a whole line yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    received: Vec<u8>,
    /// Bytes at the front that hold no line break.
    searched: usize,
}

impl Lines {
    /// Waits for the next line, without its line break; `None` at the end of the stream. Cancel
    /// safe: what was received stays.
    ///
    /// # Errors
    /// That of the connection, or [`io::ErrorKind::InvalidData`] for a line longer than
    /// [`MAX_LINE`].
    pub(super) async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.received[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(self.searched + end + 1);
                let mut line = std::mem::replace(&mut self.received, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.received.len();
            if self.searched >= MAX_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without end"));
            }
            let mut chunk = [0; CHUNK];
            match stream.read(&mut chunk).await? {
                0 => return Ok(None),
                read => self.received.extend_from_slice(&chunk[..read]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn lines_come_out_as_they_went_in_however_they_are_cut() {
        let (mut near, mut far) = tokio::io::duplex(3);
        let text = format!("\n{{}}\n{}\n", "x".repeat(2000));
        let writing = tokio::spawn(async move { near.write_all(text.as_bytes()).await });
        let mut lines = Lines::default();
        for expected in [0, 2, 2000] {
            assert_eq!(lines.next(&mut far).await.unwrap().unwrap().len(), expected);
        }
        writing.await.unwrap().unwrap();
        assert_eq!(lines.next(&mut far).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_without_end_is_an_error_and_takes_no_more_memory() {
        let mut endless = tokio::io::repeat(b'x');
        let mut lines = Lines::default();
        assert_eq!(lines.next(&mut endless).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(lines.received.len() <= MAX_LINE + CHUNK);
    }
}
