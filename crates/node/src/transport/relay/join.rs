//! Two TCP connections joined: bytes are copied both ways, and each end is told how the other
//! ended.

use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::transport::buffers::Buffer;

/// How far a stream may run ahead of its rate. Long enough for a page, short enough that others
/// have their turn.
const BURST: Duration = Duration::from_millis(500);

/// Keeps streams of bytes to a rate, all that share it together.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When all bytes so far would have passed at exactly the rate.
    due: Mutex<Option<Instant>>,
}

impl Pace {
    /// 0 bytes a second stands for no limit.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, due: Mutex::default() }
    }

    /// Notes that `bytes` pass, and waits until more may.
    async fn pass(&self, bytes: usize) {
        if let Some(until) = self.book(Instant::now(), bytes) {
            sleep_until(until).await;
        }
    }

    fn book(&self, now: Instant, bytes: usize) -> Option<Instant> {
        if self.bytes_per_second == 0 {
            return None;
        }
        let nanos = (bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second)).min(u128::from(u64::MAX));
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let at = due.map_or(now, |at| at.max(now)) + Duration::from_nanos(nanos as u64);
        *due = Some(at);
        at.checked_sub(BURST).filter(|until| *until > now)
    }
}

/// Copies bytes between `client` and `publisher` until both directions have ended, each kept to
/// all of `paces`. Returns how many bytes went each way: to the publisher, to the client.
///
/// The end of one direction is passed on as a half-close. A connection that breaks is passed on
/// as a reset; so is the drop of this future.
///
/// # Errors
/// That of the connection that broke.
pub(super) async fn join(client: TcpStream, publisher: TcpStream, paces: &[Arc<Pace>]) -> io::Result<(u64, u64)> {
    let ends = Ends { client, publisher, is_clean: false };
    let copied =
        tokio::try_join!(copy(&ends.client, &ends.publisher, paces), copy(&ends.publisher, &ends.client, paces),)?;
    let mut ends = ends;
    ends.is_clean = true;
    Ok(copied)
}

struct Ends {
    client: TcpStream,
    publisher: TcpStream,
    is_clean: bool,
}

impl Drop for Ends {
    fn drop(&mut self) {
        if !self.is_clean {
            // Fails only on sockets that are closed already.
            let _ = self.client.set_zero_linger();
            let _ = self.publisher.set_zero_linger();
        }
    }
}

/// While nothing comes no memory is kept: most connections are idle most of the time.
async fn copy(from: &TcpStream, to: &TcpStream, paces: &[Arc<Pace>]) -> io::Result<u64> {
    let mut copied = 0;
    loop {
        from.readable().await?;
        let mut buffer = Buffer::take();
        let read = match from.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        write_all(to, &buffer[..read]).await?;
        drop(buffer);
        copied += read as u64;
        for pace in paces {
            pace.pass(read).await;
        }
    }
    // Who has gone by itself needs no half-close.
    let _ = SockRef::from(to).shutdown(Shutdown::Write);
    Ok(copied)
}

pub(super) async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_a_half_close_is_passed_on() {
        let ((mut client, a), (mut publisher, b)) = (pair().await, pair().await);
        let joined = tokio::spawn(async move { join(a, b, &[]).await });
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = String::new();
        publisher.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        let answer = vec![7; 3_000_000];
        publisher.write_all(&answer).await.unwrap();
        drop(publisher);
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, answer);
        assert_eq!(joined.await.unwrap().unwrap(), (8, 3_000_000));
    }

    #[tokio::test]
    async fn a_connection_that_breaks_breaks_the_other() {
        let ((client, a), (mut publisher, b)) = (pair().await, pair().await);
        let joined = tokio::spawn(async move { join(a, b, &[]).await });
        client.set_zero_linger().unwrap();
        drop(client);
        assert_eq!(publisher.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(joined.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn who_ends_the_join_breaks_both() {
        let ((mut client, a), (mut publisher, b)) = (pair().await, pair().await);
        let joined = tokio::spawn(async move { join(a, b, &[]).await });
        client.write_all(b"x").await.unwrap();
        publisher.read_exact(&mut [0]).await.unwrap();
        joined.abort();
        for end in [&mut client, &mut publisher] {
            assert_eq!(end.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[test]
    fn a_pace_lets_a_burst_pass_and_then_its_rate() {
        let pace = Pace::new(1000);
        let start = Instant::now();
        assert_eq!(pace.book(start, 500), None, "the burst");
        assert_eq!(pace.book(start, 1000), Some(start + Duration::from_secs(1)));
        assert_eq!(pace.book(start + Duration::from_secs(10), 500), None, "after a rest");
        assert_eq!(Pace::new(0).book(start, usize::MAX), None, "no limit");
    }
}
