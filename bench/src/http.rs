//! As much of HTTP/1.1 as the backend and the load need, with nothing that would show in the
//! figures.

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest head taken, in bytes. Ours have a tenth of it; a gateway's error page shows itself by
/// its status.
const MAX_HEAD: usize = 4096;

/// Bytes read at once. Large, so that what is measured is the tunnel and not its ends.
pub(crate) const READ: usize = 256 * 1024;

/// What has been read and not been used yet.
pub(crate) struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

/// The head of a request.
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) length: u64,
    /// Whether it is the last of its connection.
    pub(crate) is_last: bool,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// A reader with a buffer of `capacity` bytes, at least room for a head.
    pub(crate) fn new(stream: S, capacity: usize) -> Self {
        Self { stream, buffer: vec![0; capacity.max(MAX_HEAD)], begin: 0, end: 0 }
    }

    /// The next request's head; `None` when the sender has ended.
    pub(crate) async fn request(&mut self) -> Result<Option<Request>> {
        let Some(length) = self.head().await? else { return Ok(None) };
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(&self.buffer[self.begin..self.begin + length])?;
        let request = Request {
            path: request.path.context("a path")?.to_owned(),
            length: content_length(request.headers)?,
            is_last: request.headers.iter().any(|header| is(header, "connection", "close")),
        };
        self.begin += length;
        Ok(Some(request))
    }

    /// The next answer's head: the length of its body.
    ///
    /// # Errors
    /// If its status is another than 200.
    pub(crate) async fn answer(&mut self) -> Result<u64> {
        let length = self.head().await?.context("the connection ended before the answer")?;
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut answer = httparse::Response::new(&mut headers);
        answer.parse(&self.buffer[self.begin..self.begin + length])?;
        if answer.code != Some(200) {
            bail!("the answer has status {:?}", answer.code);
        }
        let body = content_length(answer.headers)?;
        self.begin += length;
        Ok(body)
    }

    /// Reads a body of `length` bytes; `look` gets each piece and its offset.
    pub(crate) async fn body(&mut self, length: u64, mut look: impl FnMut(u64, &[u8])) -> Result<()> {
        let mut done = 0;
        while done < length {
            if self.begin == self.end {
                self.fill().await?.context("the connection ended in a body")?;
            }
            let n = ((self.end - self.begin) as u64).min(length - done) as usize;
            look(done, &self.buffer[self.begin..self.begin + n]);
            self.begin += n;
            done += n as u64;
        }
        Ok(())
    }

    /// Makes the buffer hold at least `capacity` bytes.
    pub(crate) fn grow(&mut self, capacity: usize) {
        self.buffer.resize(capacity.max(self.buffer.len()), 0);
    }

    /// The stream, to write to.
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Reads until a head is whole and returns its length; `None` when the sender has ended before
    /// it.
    async fn head(&mut self) -> Result<Option<usize>> {
        loop {
            let bytes = &self.buffer[self.begin..self.end];
            if let Some(position) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(Some(position + 4));
            }
            if bytes.len() >= MAX_HEAD {
                bail!("a head of more than {MAX_HEAD} bytes");
            }
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            if self.fill().await?.is_none() {
                return if self.end == 0 { Ok(None) } else { bail!("the connection ended in a head") };
            }
        }
    }

    /// Reads once into what is free behind `end`; `None` at the end of the stream.
    async fn fill(&mut self) -> Result<Option<()>> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        let n = self.stream.read(&mut self.buffer[self.end..]).await?;
        self.end += n;
        Ok((n > 0).then_some(()))
    }
}

fn content_length(headers: &[httparse::Header<'_>]) -> Result<u64> {
    match headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length")) {
        Some(header) => Ok(std::str::from_utf8(header.value)?.parse()?),
        None => Ok(0),
    }
}

fn is(header: &httparse::Header<'_>, name: &str, value: &str) -> bool {
    header.name.eq_ignore_ascii_case(name) && header.value.eq_ignore_ascii_case(value.as_bytes())
}
