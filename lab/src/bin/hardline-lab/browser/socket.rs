//! Commands with numbers and their answers, as both browsers' protocols have them.

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// What a page may write on its console, in lines, before the rest is dropped.
const MAX_LOGGED: usize = 10_000;

/// A WebSocket to a browser.
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    sent: u64,
    /// Events about what is on a page's console.
    logged: Vec<Value>,
}

impl Socket {
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let (stream, _) = connect_async(url).await.with_context(|| format!("connecting to the browser at {url}"))?;
        Ok(Self { stream, sent: 0, logged: Vec::new() })
    }

    /// The events called `Log.entryAdded` so far.
    pub(super) fn logged(&self) -> &[Value] {
        &self.logged
    }

    /// Sends `{method, params, …extra}` and returns the `result` of its answer; events in between
    /// are dropped, but for those that [`Self::logged`] gives.
    pub(super) async fn call(&mut self, method: &str, params: Value, extra: &Value) -> Result<Value> {
        self.sent += 1;
        let mut command = json!({"id": self.sent, "method": method, "params": params});
        if let (Some(command), Some(extra)) = (command.as_object_mut(), extra.as_object()) {
            command.extend(extra.clone());
        }
        self.stream.send(Message::text(command.to_string())).await?;
        loop {
            let message = self.stream.next().await.context("the browser hung up")??;
            let Message::Text(text) = message else { continue };
            let mut answer: Value = serde_json::from_str(&text)?;
            if answer["id"] != self.sent {
                if answer["method"] == "Log.entryAdded" && self.logged.len() < MAX_LOGGED {
                    self.logged.push(answer);
                }
                continue;
            }
            if !answer["error"].is_null() {
                bail!("{method}: {answer}");
            }
            return Ok(answer["result"].take());
        }
    }
}
