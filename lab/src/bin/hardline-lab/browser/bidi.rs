//! WebDriver BiDi, as Firefox speaks it.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::socket::Socket;

/// A tab.
pub(crate) struct Page {
    socket: Socket,
    context: Value,
}

impl Page {
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let mut socket = Socket::connect(url).await?;
        socket.call("session.new", json!({"capabilities": {}}), &Value::Null).await?;
        let mut tree = socket.call("browsingContext.getTree", json!({}), &Value::Null).await?;
        let context = tree["contexts"][0]["context"].take();
        Ok(Self { socket, context })
    }

    pub(super) async fn open(&mut self, url: &str) -> Result<()> {
        let params = json!({"context": self.context, "url": url, "wait": "complete"});
        self.socket.call("browsingContext.navigate", params, &Value::Null).await?;
        Ok(())
    }

    /// The value travels as JSON text: BiDi's own form of objects is another one.
    pub(super) async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let params = json!({
            "expression": format!("JSON.stringify({expression})"),
            "target": {"context": self.context},
            "awaitPromise": false,
        });
        let answer = self.socket.call("script.evaluate", params, &Value::Null).await?;
        if answer["type"] != "success" {
            bail!("{expression}: {answer}");
        }
        Ok(answer["result"]["value"].as_str().map(serde_json::from_str).transpose()?.unwrap_or_default())
    }

    pub(super) async fn screenshot(&mut self) -> Result<String> {
        let params = json!({"context": self.context});
        let answer = self.socket.call("browsingContext.captureScreenshot", params, &Value::Null).await?;
        Ok(answer["data"].as_str().context("a screenshot")?.to_owned())
    }
}
