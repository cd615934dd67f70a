//! Listening by a proxy: a question that stays open, and what is stored meanwhile comes by itself.

use std::fmt;
use std::io;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream::{BoxStream, SelectAll, select_all, unfold};
use hardline_dht::{InfoHash, Value};
use http::Method;
use tokio::time::timeout;

use super::super::{MAX_LINE, value};
use super::{Answer, MAX_ANSWER, PROXY_LIMIT, Proxy, ProxyClient, ProxyError, out_of_time};

/// Questions that stay open, one for each key. Dropping it ends them.
pub struct Listening(SelectAll<BoxStream<'static, (usize, Value)>>);

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listening").field(&self.0.len()).finish()
    }
}

impl Listening {
    /// The next value, with the place of its key among those that were given; `None` when the proxy
    /// has ended every question. Cancel safe.
    pub async fn next(&mut self) -> Option<(usize, Value)> {
        self.0.next().await
    }
}

impl ProxyClient {
    /// Listens at `keys` by the healthiest proxy that lets us. What is stored there comes first,
    /// then what is stored later, in lines as they come: nothing is asked twice.
    ///
    /// Proxies that know the older routes only are not asked: theirs is a method that others on the
    /// way do not know. What fails here is not held against a proxy.
    ///
    /// # Errors
    /// [`ProxyError`] of the last proxy when none lets us.
    pub async fn listen(&self, keys: &[InfoHash]) -> Result<Listening, ProxyError> {
        let mut error = ProxyError::NoneLeft;
        for proxy in self.healthiest().into_iter().filter(|proxy| proxy.has_key_route) {
            let opening = try_join_all(keys.iter().map(|key| self.listen_at(&proxy, key)));
            match timeout(PROXY_LIMIT, opening).await.unwrap_or_else(|_| Err(out_of_time())) {
                Ok(answers) => return Ok(Listening(select_all(answers.into_iter().enumerate().map(values)))),
                Err(reason) => {
                    error = ProxyError::Failed { proxy: proxy.base.to_string(), reason: reason.to_string() };
                }
            }
        }
        Err(error)
    }

    async fn listen_at(&self, proxy: &Proxy, key: &InfoHash) -> io::Result<Answer> {
        self.send(proxy, Method::GET, &format!("/key/{key}/listen"), Bytes::new()).await?.checked()
    }
}

/// The values of one answer, each with `index`.
fn values((index, answer): (usize, Answer)) -> BoxStream<'static, (usize, Value)> {
    let lines = Lines { answer, come: Vec::new(), total: 0 };
    unfold(lines, move |mut lines| async move { Some(((index, lines.value().await?), lines)) }).boxed()
}

/// An answer that goes on.
struct Lines {
    answer: Answer,
    /// What came behind the last whole line.
    come: Vec<u8>,
    /// Bytes in all.
    total: usize,
}

impl Lines {
    /// The next value that is stored; `None` at the end, or where it was more than an answer may
    /// have. Lines of other kinds are passed over.
    async fn value(&mut self) -> Option<Value> {
        loop {
            while let Some(end) = self.come.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.come.drain(..=end).collect();
                if let Ok(posted) = value::from_json(&line, 0)
                    && !posted.is_expired
                {
                    return Some(posted.value);
                }
            }
            if self.come.len() > MAX_LINE || self.total > MAX_ANSWER {
                return None;
            }
            let bytes = self.answer.next_bytes().await.ok()??;
            self.total += bytes.len();
            self.come.extend_from_slice(&bytes);
        }
    }
}
