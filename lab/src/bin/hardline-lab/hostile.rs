//! A service whose pages try to reach what the visitor's computer and network have, and somebody
//! who listens there.

use std::collections::HashMap;

use anyhow::Result;
use axum::Router;
use axum::extract::Query;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type To = Query<HashMap<String, String>>;

/// What a service worker that answers in its service's place looks like.
const SERVICE_WORKER: &str = r#"
self.onfetch = event => {
  const to = new URL(event.request.url).searchParams.get("to");
  if (!to) return;
  const page = `<script>fetch(${JSON.stringify(to)}, {mode: "no-cors"})</script>`;
  event.respondWith(new Response(page, {headers: {"Content-Type": "text/html"}}));
};"#;

/// The pages.
pub(crate) fn router() -> Router {
    let javascript = [("content-type", "text/javascript")];
    Router::new()
        .route("/hostile", get(|| async { Html(include_str!("hostile.html")) }))
        .route("/redirect", get(|to: To| async move { (http::StatusCode::FOUND, [("location", address(&to))]) }))
        .route("/calls", get(|to: To| async move { Html(format!("<script>{}</script>", calls(&to))) }))
        .route("/svg", get(|to: To| async move { ([("content-type", "image/svg+xml")], svg(&to)) }))
        .route("/worker.js", get(move |to: To| async move { (javascript, calls(&to)).into_response() }))
        .route("/service-worker.js", get(move || async move { (javascript, SERVICE_WORKER) }))
}

fn address(to: &To) -> String {
    to.get("to").cloned().unwrap_or_default()
}

fn calls(to: &To) -> String {
    format!("fetch({:?}, {{mode: 'no-cors'}}).finally(() => self.postMessage(0))", address(to))
}

fn svg(to: &To) -> String {
    format!("<svg xmlns='http://www.w3.org/2000/svg'><script>{}</script></svg>", calls(to))
}

/// Says on stdout who asks for what at `listen`, until killed: `arrived HOST PATH` for each request
/// and `arrived tls` for each that begins with TLS.
pub(crate) async fn witness(listen: &str) -> Result<()> {
    let listener = TcpListener::bind(listen).await?;
    println!("listening at {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(hear(stream));
    }
}

async fn hear(mut stream: TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if bytes[0] == 22 {
            println!("arrived tls");
            return Ok(());
        }
        if bytes.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    println!("arrived {host} {path}");
    let head = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    Ok(stream.write_all(head.as_bytes()).await?)
}
