//! Chromium's DevTools protocol.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::socket::Socket;

/// A tab.
pub(crate) struct Page {
    socket: Socket,
    session: Value,
}

impl Page {
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let mut socket = Socket::connect(url).await?;
        let created = socket.call("Target.createTarget", json!({"url": "about:blank"}), &Value::Null).await?;
        let target = json!({"targetId": created["targetId"], "flatten": true});
        let attached = socket.call("Target.attachToTarget", target, &Value::Null).await?;
        let session = json!({"sessionId": attached["sessionId"]});
        socket.call("Log.enable", json!({}), &session).await?;
        Ok(Self { socket, session })
    }

    pub(super) async fn open(&mut self, url: &str) -> Result<()> {
        let answer = self.socket.call("Page.navigate", json!({"url": url}), &self.session).await?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        Ok(())
    }

    pub(super) async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let params = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.socket.call("Runtime.evaluate", params, &self.session).await?;
        if !answer["exceptionDetails"].is_null() {
            bail!("{expression}: {}", answer["exceptionDetails"]);
        }
        Ok(answer["result"]["value"].take())
    }

    /// What the browser itself has written on the page's console, its workers' included.
    pub(super) async fn console(&mut self) -> Result<Value> {
        // Its events are before the next answer.
        self.evaluate("0").await?;
        Ok(self.socket.logged().iter().map(|event| event["params"]["entry"]["text"].clone()).collect())
    }

    pub(super) async fn screenshot(&mut self) -> Result<String> {
        let answer = self.socket.call("Page.captureScreenshot", json!({}), &self.session).await?;
        Ok(answer["data"].as_str().context("a screenshot")?.to_owned())
    }
}
