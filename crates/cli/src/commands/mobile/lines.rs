//! Lines of a stream, none longer than a bound.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Whole(Vec<u8>),
    /// A line that is too long; it was skipped.
    TooLong,
    /// Nothing more comes.
    End,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    most: usize,
    /// The line that is being read.
    line: Vec<u8>,
    is_too_long: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Lines of `reader`, of `most` bytes each.
    pub(super) fn new(reader: R, most: usize) -> Self {
        Self { reader, most, line: Vec::new(), is_too_long: false }
    }

    /// The next line. Cancel safe. One without an end at the end of the stream was cut off, and is
    /// none.
    pub(super) async fn next(&mut self) -> Line {
        loop {
            let Ok(bytes) = self.reader.fill_buf().await else { return Line::End };
            if bytes.is_empty() {
                return Line::End;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + part.len() > self.most {
                self.is_too_long = true;
            } else {
                self.line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                let is_too_long = std::mem::take(&mut self.is_too_long);
                return if is_too_long { Line::TooLong } else { Line::Whole(line) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_skipped_and_one_that_was_cut_off_is_none() {
        let text = [&b"one\n"[..], &[b'x'; 100], b"\n\n12345678\n123456789\ntwo"].concat();
        let mut lines = Lines::new(BufReader::with_capacity(3, &text[..]), 8);
        let mut read = Vec::new();
        loop {
            match lines.next().await {
                Line::End => break,
                line => read.push(line),
            }
        }
        let whole = |text: &[u8]| Line::Whole(text.to_vec());
        assert_eq!(read, [whole(b"one"), Line::TooLong, whole(b""), whole(b"12345678"), Line::TooLong]);
    }
}
