//! A web server whose every answer is known beforehand.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, Request};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;

use crate::pattern::{PatternBody, Sum};

/// Serves until killed; says where on stdout when it can be asked.
pub(crate) async fn serve(listen: &str) -> Result<()> {
    let listener = TcpListener::bind(listen).await?;
    println!("listening at {}", listener.local_addr()?);
    Ok(axum::serve(listener, router().into_make_service_with_connect_info::<Connection>()).await?)
}

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("site.html")) }))
        .route("/bytes/{length}", get(|Path(length)| async move { Body::new(PatternBody::sized(length).told()) }))
        .route("/chunked/{length}", get(|Path(length)| async move { Body::new(PatternBody::chunked(length)) }))
        .route("/hash", post(hash))
        .route("/connection", get(connection))
        .route("/slow/{milliseconds}", get(slow))
        .route("/events", get(events))
        .route("/websocket", get(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo) }))
        .merge(crate::hostile::router())
        .layer(DefaultBodyLimit::disable())
}

/// Length and hash of what was sent. Says on stdout that it began, and how the upload went.
async fn hash(request: Request) -> Response {
    println!("upload begun");
    let sum = Sum::of(request.into_body()).await;
    println!("upload {}", if sum.is_ok() { "whole" } else { "broken" });
    match sum {
        Ok(sum) => Json(json!({"length": sum.length, "sha256": sum.sha256})).into_response(),
        Err(err) => (http::StatusCode::BAD_REQUEST, err.to_string()).into_response(),
    }
}

/// A number that is another one for each TCP connection.
#[derive(Clone)]
struct Connection(u64);

impl Connected<IncomingStream<'_, TcpListener>> for Connection {
    fn connect_info(_: IncomingStream<'_, TcpListener>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

async fn connection(ConnectInfo(Connection(number)): ConnectInfo<Connection>) -> String {
    number.to_string()
}

/// Says on stdout that it was asked.
async fn slow(Path(milliseconds): Path<u64>) -> &'static str {
    println!("slow {milliseconds}");
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "slow"
}

/// Five events, one every 50 ms, so that one which waits for the end of the answer is seen to be
/// late.
async fn events() -> impl IntoResponse {
    let numbers = futures_util::stream::unfold(0, |number| async move {
        if number == 5 {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, Infallible>(Event::default().data(number.to_string())), number + 1))
    });
    Sse::new(numbers)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let is_content = matches!(message, axum::extract::ws::Message::Text(_) | axum::extract::ws::Message::Binary(_));
        if is_content && socket.send(message).await.is_err() {
            return;
        }
    }
}
