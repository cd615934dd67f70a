//! Port → who serves browsers there.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hardline_node::transport::open_stream;
use listeners::Protocol;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Time for a gateway to answer a question that needs no network.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of an answer that are looked at; a gateway's own head is shorter.
const MAX_ANSWER: u64 = 4096;

/// Bytes of a status: some hundred services.
const MAX_STATUS: u64 = 1024 * 1024;

/// A name below `localhost` that is no service: every gateway refuses it at once, and signs the
/// refusal.
const QUESTION: &[u8] =
    b"HEAD / HTTP/1.1\r\nHost: who-are-you.localhost\r\nAccept: text/plain\r\nConnection: close\r\n\r\n";

/// How a gateway signs what it says itself.
const SIGNATURE: &str = "\r\nserver: hardline\r\n";

/// Who listens at a port of this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Occupant {
    /// The gateway of a hardline.
    Gateway,
    /// Another program, with its name and process number where the system tells.
    Other(Option<String>),
    /// Nobody answers.
    Nobody,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("another hardline"),
            Self::Other(Some(program)) => f.write_str(program),
            Self::Other(None) => f.write_str("another program"),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

/// Finds out who listens at `port` of 127.0.0.1.
pub(crate) async fn occupant(port: u16) -> Occupant {
    match tokio::time::timeout(ANSWER_TIMEOUT, ask(port)).await {
        Ok(Ok(head)) if head.contains(SIGNATURE) => Occupant::Gateway,
        Ok(Err(err)) if err.kind() == std::io::ErrorKind::ConnectionRefused => Occupant::Nobody,
        _ => Occupant::Other(program(port).await),
    }
}

/// What the hardline at `port` of this computer says of itself; `None` when none answers there.
pub(crate) async fn status(port: u16) -> Option<Value> {
    let question = format!(
        "GET /status HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    let answer =
        tokio::time::timeout(ANSWER_TIMEOUT, exchange(port, question.as_bytes(), MAX_STATUS)).await.ok()?.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_genuine =
        head.starts_with("HTTP/1.1 200 ") && format!("{head}\r\n").to_ascii_lowercase().contains(SIGNATURE);
    if is_genuine { serde_json::from_str(body).ok() } else { None }
}

/// The program that has a TCP port, as in `nginx (process 812)`.
pub(crate) async fn program(port: u16) -> Option<String> {
    let find = move || listeners::get_process_by_port(port, Protocol::TCP).ok();
    let process = tokio::task::spawn_blocking(find).await.ok()??;
    Some(format!("{} (process {})", process.name, process.pid))
}

/// The head of the answer, in lower case.
async fn ask(port: u16) -> std::io::Result<String> {
    let answer = exchange(port, QUESTION, MAX_ANSWER).await?.to_ascii_lowercase();
    Ok(answer.split_inclusive("\r\n\r\n").next().unwrap_or_default().to_owned())
}

/// The answer at `port`, as far as it has no more than `limit` bytes.
async fn exchange(port: u16, question: &[u8], limit: u64) -> std::io::Result<String> {
    let mut stream = open_stream(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.write_all(question).await?;
    let mut answer = Vec::new();
    stream.take(limit).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_port_nobody_has_is_nobodys() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert_eq!(occupant(port).await, Occupant::Nobody);
    }

    #[tokio::test]
    async fn another_web_server_is_no_gateway() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\n\r\nserver: hardline\r\n\r\n").await.unwrap();
        });
        assert!(matches!(occupant(port).await, Occupant::Other(_)));
        server.await.unwrap();
    }
}
