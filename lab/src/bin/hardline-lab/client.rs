//! Asks a [`crate::site`] through a gateway, and compares every byte.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::pattern::{Pausing, Sum, request_body};

type Body = http_body_util::combinators::BoxBody<axum::body::Bytes, std::convert::Infallible>;

/// No single check takes longer, but for the idle time asked for.
const CHECK_LIMIT: Duration = Duration::from_secs(60);

/// Time between two pings.
const PING: Duration = Duration::from_millis(250);

/// Makes the checks one after another, prints a JSON line for each, and exits with 1 if one failed.
pub(crate) async fn run(gateway: SocketAddr, host: &str, checks: &[&str]) -> Result<ExitCode> {
    let target = Target { gateway, host };
    let mut failures = 0;
    for check in checks {
        let begun = Instant::now();
        let outcome = target.check(check).await;
        let milliseconds = begun.elapsed().as_millis();
        let error = outcome.err().map(|err| format!("{err:#}"));
        failures += u32::from(error.is_some());
        println!("{}", json!({"check": check, "ok": error.is_none(), "ms": milliseconds, "error": error}));
    }
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where to ask, and for whom.
#[derive(Clone, Copy)]
struct Target<'a> {
    gateway: SocketAddr,
    host: &'a str,
}

impl Target<'_> {
    async fn check(self, check: &str) -> Result<()> {
        let (name, arguments) = check.split_once(':').unwrap_or((check, ""));
        let numbers = arguments.split(':').filter(|text| !text.is_empty());
        let numbers = numbers.map(str::parse).collect::<Result<Vec<u64>, _>>().context("a number")?;
        let limit = CHECK_LIMIT + extra_time(name, &numbers);
        let checking = async {
            match (name, &numbers[..]) {
                ("get", &[length] | &[length, _]) => self.get("bytes", length).await,
                ("chunked", &[length]) => self.get("chunked", length).await,
                ("paused", &[length, seconds]) => self.paused(length, Duration::from_secs(seconds)).await,
                ("post", &[length] | &[length, _]) => self.post(length).await,
                ("parallel", &[count, length]) => self.parallel(count, length).await,
                ("streams", &[count, length]) => self.streams(count, length).await,
                ("keepalive", &[count]) => self.keep_alive(count).await,
                ("websocket", &[]) => self.web_socket(Duration::ZERO).await,
                ("idle", &[seconds]) => self.web_socket(Duration::from_secs(seconds)).await,
                ("pings", &[seconds]) => self.pings(Duration::from_secs(seconds)).await,
                ("events", &[]) => self.events().await,
                _ => bail!("no such check"),
            }
        };
        tokio::time::timeout(limit, checking).await.context("out of time")?
    }

    async fn connect(self) -> Result<SendRequest<Body>> {
        let stream = TcpStream::connect(self.gateway).await.context("connecting to the gateway")?;
        // The Python program looks for `Host:` in this very spelling, which is also the browsers'.
        let (sender, connection) = Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(self, path: &str, body: Option<u64>) -> Result<Request<Body>> {
        let method = if body.is_some() { "POST" } else { "GET" };
        Ok(Request::builder().method(method).uri(path).header("host", self.host).body(request_body(body))?)
    }

    async fn get(self, kind: &str, length: u64) -> Result<()> {
        let answer = ask(&mut self.connect().await?, self.request(&format!("/{kind}/{length}"), None)?).await?;
        let (got, expected) = (Sum::of(answer.into_body()).await?, Sum::of_pattern(length).await);
        ensure!(got == expected, "got {got:?}, expected {expected:?}");
        Ok(())
    }

    /// A download whose reader takes a pause in the middle.
    async fn paused(self, length: u64, pause: Duration) -> Result<()> {
        let answer = ask(&mut self.connect().await?, self.request(&format!("/bytes/{length}"), None)?).await?;
        let got = Sum::of(Pausing::new(answer.into_body(), length / 4, pause)).await?;
        ensure!(got == Sum::of_pattern(length).await, "got {got:?}");
        Ok(())
    }

    async fn post(self, length: u64) -> Result<()> {
        let answer = ask(&mut self.connect().await?, self.request("/hash", Some(length))?).await?;
        let got: Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
        let expected = Sum::of_pattern(length).await;
        let expected = json!({"length": expected.length, "sha256": expected.sha256});
        ensure!(got == expected, "the server got {got}, expected {expected}");
        Ok(())
    }

    async fn parallel(self, count: u64, length: u64) -> Result<()> {
        let gets = (0..count).map(|number| async move {
            self.get("bytes", length + number).await.with_context(|| format!("request {number}"))
        });
        try_join_all(gets).await?;
        Ok(())
    }

    /// So many long downloads and as many uploads, all at once.
    async fn streams(self, count: u64, length: u64) -> Result<()> {
        let pairs = (0..count).map(|number| async move {
            // Different lengths, so that no stream can be taken for another.
            let length = length + number;
            tokio::try_join!(self.get("bytes", length), self.post(length)).with_context(|| format!("stream {number}"))
        });
        try_join_all(pairs).await?;
        Ok(())
    }

    /// Several requests on one connection, which must be one connection at the server too.
    async fn keep_alive(self, count: u64) -> Result<()> {
        let mut sender = self.connect().await?;
        let mut numbers = Vec::new();
        for _ in 0..count {
            sender.ready().await.context("the connection was closed in between")?;
            let answer = ask(&mut sender, self.request("/connection", None)?).await?;
            numbers.push(answer.into_body().collect().await?.to_bytes());
        }
        ensure!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "several connections: {numbers:?}");
        Ok(())
    }

    /// Text and binary messages of several sizes come back, also after an idle time.
    async fn web_socket(self, idle: Duration) -> Result<()> {
        let stream = TcpStream::connect(self.gateway).await.context("connecting to the gateway")?;
        let url = format!("ws://{}/websocket", self.host);
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.context("upgrading")?;
        let messages = [
            Message::text("hello"),
            Message::text("line\nline\n".repeat(500)),
            Message::binary((0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()),
        ];
        for round in 0..2 {
            for message in &messages {
                socket.send(message.clone()).await?;
                let echo = socket.next().await.context("closed instead of an echo")??;
                ensure!(echo == *message, "another echo in round {round}: {} bytes", echo.len());
            }
            if round == 0 && !idle.is_zero() {
                eprintln!("idle");
                tokio::time::sleep(idle).await;
            }
        }
        socket.close(None).await?;
        Ok(())
    }

    /// A message and its echo four times a second, so long.
    async fn pings(self, time: Duration) -> Result<()> {
        let stream = TcpStream::connect(self.gateway).await.context("connecting to the gateway")?;
        let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{}/websocket", self.host), stream).await?;
        let begun = Instant::now();
        while begun.elapsed() < time {
            socket.send(Message::text("ping")).await?;
            socket.next().await.context("closed instead of an echo")??;
            eprintln!("ping");
            tokio::time::sleep(PING).await;
        }
        socket.close(None).await?;
        Ok(())
    }

    /// Events arrive one by one, not all at the end.
    async fn events(self) -> Result<()> {
        let mut answer = ask(&mut self.connect().await?, self.request("/events", None)?).await?;
        let (mut text, mut pieces) = (String::new(), 0);
        while let Some(frame) = answer.frame().await {
            if let Ok(data) = frame?.into_data() {
                text.push_str(std::str::from_utf8(&data)?);
                pieces += 1;
            }
        }
        ensure!(text == "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n", "other events: {text:?}");
        ensure!(pieces >= 3, "the events came in {pieces} pieces");
        Ok(())
    }
}

/// What a check is meant to last, or its bytes need on a slow and busy machine.
fn extra_time(name: &str, numbers: &[u64]) -> Duration {
    const SLOWEST: u64 = 5_000_000;
    match (name, numbers) {
        ("idle" | "pings", &[seconds]) | ("paused", &[_, seconds]) | ("get" | "post", &[_, seconds]) => {
            Duration::from_secs(seconds)
        }
        ("streams", &[count, length]) => Duration::from_secs(2 * count * length / SLOWEST),
        _ => Duration::ZERO,
    }
}

async fn ask(sender: &mut SendRequest<Body>, request: Request<Body>) -> Result<Response<Incoming>> {
    let answer = sender.send_request(request).await.context("no answer")?;
    if answer.status() != 200 {
        let status = answer.status();
        let text = answer.into_body().collect().await?.to_bytes();
        bail!("{status}: {}", String::from_utf8_lossy(&text[..text.len().min(500)]));
    }
    Ok(answer)
}
