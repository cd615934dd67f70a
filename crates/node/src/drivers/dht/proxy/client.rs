//! Asking proxies: for computers that cannot do UDP, and as a second source beside our own node.

mod listening; // questions that stay open

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hardline_dht::{InfoHash, Value};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::{MAX_LINE, value};
use crate::transport::{look_up, open_stream};
pub use listening::Listening;

/// Time between two questions about one service: proxies are other people's machines.
pub const QUESTION_INTERVAL: Duration = Duration::from_secs(60);

/// Services whose last question is remembered.
const MAX_REMEMBERED: usize = 1024;

/// Proxies that are made use of.
const MAX_PROXIES: usize = 16;

/// Proxies asked for one question.
const MAX_ASKED: usize = 3;

/// Time for one proxy to answer about all keys of a question.
const PROXY_LIMIT: Duration = Duration::from_secs(10);

/// First time a proxy is left alone after a failure; it doubles with each.
const REST_MIN: Duration = Duration::from_secs(30);

/// Longest time a proxy is left alone.
const REST_MAX: Duration = Duration::from_secs(3600);

/// Bytes read of one answer.
const MAX_ANSWER: usize = 1024 * 1024;

/// Bytes that hyper may buffer of an answer's head.
const MAX_HEAD: usize = 16 * 1024;

/// Several proxies, the healthiest asked first.
#[derive(Debug)]
pub struct ProxyClient {
    proxies: Mutex<Vec<Proxy>>,
    asked: Mutex<HashMap<[u8; 20], Instant>>,
    tls: OnceLock<Arc<ClientConfig>>,
}

/// What is known of a proxy.
#[derive(Debug, Clone)]
struct Proxy {
    base: Uri,
    failures: u32,
    rests_until: Option<Instant>,
    /// The older ones know `/KEY` only.
    has_key_route: bool,
}

/// What the asker thinks of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Of no use.
    Refused,
    /// Good; the others of its key may be as well.
    Taken,
    /// Good, and all that was wanted.
    Enough,
}

/// Why proxies gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Not `http://host[:port]` or `https://host[:port]`.
    #[error("{0:?} is not the address of a proxy")]
    BadUrl(String),
    /// This service was asked about less than a minute ago.
    #[error("asked about this less than {QUESTION_INTERVAL:?} ago")]
    AskedJustNow,
    /// All proxies failed of late, or there is none.
    #[error("no proxy is to be asked now")]
    NoneLeft,
    /// The last of the proxies asked failed.
    #[error("{proxy}: {reason}")]
    Failed {
        /// Which.
        proxy: String,
        /// What was wrong.
        reason: String,
    },
}

impl ProxyClient {
    /// Takes the proxies at `urls`, at most 16: `http://host:port` or `https://host`, with a path
    /// before the routes if need be.
    ///
    /// # Errors
    /// [`ProxyError::BadUrl`].
    pub fn new(urls: &[String]) -> Result<Self, ProxyError> {
        let proxies = urls.iter().take(MAX_PROXIES).map(|url| parse(url)).collect::<Result<_, _>>()?;
        Ok(Self { proxies: Mutex::new(proxies), asked: Mutex::default(), tls: OnceLock::new() })
    }

    /// Like [`ProxyClient::new`], trusting `roots` instead of the system's certificate authorities.
    ///
    /// # Errors
    /// [`ProxyError::BadUrl`].
    pub fn with_roots(urls: &[String], roots: RootCertStore) -> Result<Self, ProxyError> {
        let client = Self::new(urls)?;
        client.tls.get_or_init(|| tls_config(roots));
        Ok(client)
    }

    /// Whether there is no proxy at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Asks about `service` under its `keys`, in their order, until `accept` takes a value; gives
    /// that one, or `None` when proxies answered but none of their values was taken. Ends within
    /// `limit`. Cancel safe.
    ///
    /// # Errors
    /// [`ProxyError::AskedJustNow`]: at most one question per service and minute. [`ProxyError`] of
    /// the last proxy when none answered.
    pub async fn ask(
        &self,
        service: [u8; 20],
        keys: &[InfoHash],
        limit: Duration,
        mut accept: impl FnMut(&Value) -> bool,
    ) -> Result<Option<Value>, ProxyError> {
        let mut found = None;
        self.question(service, keys, limit, &mut |_, value| {
            if accept(value) {
                found = Some(value.clone());
                Verdict::Enough
            } else {
                Verdict::Refused
            }
        })
        .await?;
        Ok(found)
    }

    /// Asks about `service` and hands every value to `take`, with the place of its key in `keys`.
    /// Goes on to the next key, and to the next proxy, until `take` has taken a value; then the
    /// other values of that key follow, and no more. Ends within `limit`. Cancel safe.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn collect(
        &self,
        service: [u8; 20],
        keys: &[InfoHash],
        limit: Duration,
        mut take: impl FnMut(usize, &Value) -> bool,
    ) -> Result<(), ProxyError> {
        self.question(service, keys, limit, &mut |index, value| {
            if take(index, value) { Verdict::Taken } else { Verdict::Refused }
        })
        .await
    }

    /// Puts one question to one proxy after the other until one has an answer that is taken.
    async fn question(
        &self,
        service: [u8; 20],
        keys: &[InfoHash],
        limit: Duration,
        judge: &mut impl FnMut(usize, &Value) -> Verdict,
    ) -> Result<(), ProxyError> {
        self.note_question(service)?;
        let deadline = Instant::now() + limit;
        let mut outcome = Err(ProxyError::NoneLeft);
        for proxy in self.healthiest() {
            let limit = PROXY_LIMIT.min(deadline.saturating_duration_since(Instant::now()));
            if limit.is_zero() {
                break;
            }
            match timeout(limit, self.ask_one(&proxy, keys, judge)).await.unwrap_or_else(|_| Err(out_of_time())) {
                Ok(has_answer) => {
                    self.note_success(&proxy);
                    outcome = Ok(());
                    if has_answer {
                        break;
                    }
                }
                Err(reason) => {
                    self.note_failure(&proxy, &reason);
                    if outcome.is_err() {
                        outcome = Err(ProxyError::Failed { proxy: proxy.base.to_string(), reason: reason.to_string() });
                    }
                }
            }
        }
        outcome
    }

    /// Publishes a plain value by the first proxy that takes it; with `permanent` the proxy keeps
    /// it alive for a day.
    ///
    /// # Errors
    /// [`ProxyError`] of the last proxy when none took it.
    pub async fn put(&self, key: InfoHash, value: &Value, permanent: bool) -> Result<(), ProxyError> {
        let mut outcome = Err(ProxyError::NoneLeft);
        for proxy in self.healthiest() {
            let put = self.put_to(&proxy, key, value, permanent);
            match timeout(PROXY_LIMIT, put).await.unwrap_or_else(|_| Err(out_of_time())) {
                Ok(()) => {
                    self.note_success(&proxy);
                    return Ok(());
                }
                Err(reason) => {
                    self.note_failure(&proxy, &reason);
                    outcome = Err(ProxyError::Failed { proxy: proxy.base.to_string(), reason: reason.to_string() });
                }
            }
        }
        outcome
    }

    /// Asks about one key after the other. Returns whether a value was taken.
    async fn ask_one(
        &self,
        proxy: &Proxy,
        keys: &[InfoHash],
        judge: &mut impl FnMut(usize, &Value) -> Verdict,
    ) -> io::Result<bool> {
        for (index, key) in keys.iter().enumerate() {
            // A connection for each key: an answer that is not read to its end spoils the one it
            // came by.
            let answer = self.request(proxy, Method::GET, key, Bytes::new()).await?;
            let mut has_taken = false;
            let mut is_enough = |value: &Value| {
                let verdict = judge(index, value);
                has_taken |= verdict != Verdict::Refused;
                verdict == Verdict::Enough
            };
            first_accepted(answer, &mut is_enough).await?;
            if has_taken {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn put_to(&self, proxy: &Proxy, key: InfoHash, value: &Value, permanent: bool) -> io::Result<()> {
        let mut object = value::to_json(value);
        if permanent {
            object["permanent"] = true.into();
        }
        let response = self.request(proxy, Method::POST, &key, object.to_string().into()).await?;
        let stored = first_accepted(response, &mut |stored: &Value| stored.id() == value.id()).await?;
        stored.map(drop).ok_or_else(|| io::Error::other("did not confirm the value"))
    }

    /// Sends a request by the newer route, and by the older one where that is all there is.
    async fn request(&self, proxy: &Proxy, method: Method, key: &InfoHash, body: Bytes) -> io::Result<Answer> {
        if proxy.has_key_route {
            let answer = self.send(proxy, method.clone(), &format!("/key/{key}"), body.clone()).await?;
            if !matches!(answer.response.status(), StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED) {
                return answer.checked();
            }
            self.change(proxy, |proxy| proxy.has_key_route = false);
        }
        self.send(proxy, method, &format!("/{key}"), body).await?.checked()
    }

    async fn send(&self, proxy: &Proxy, method: Method, path: &str, body: Bytes) -> io::Result<Answer> {
        let host = proxy.base.host().unwrap_or_default();
        let is_tls = proxy.base.scheme_str() == Some("https");
        let port = proxy.base.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addrs = look_up(bare, port).await?;
        let tcp = open_stream(&*addrs).await?;
        let (mut sender, connection) = if is_tls {
            let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
            handshake(self.tls().connect(name, tcp).await?).await?
        } else {
            handshake(tcp).await?
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", proxy.base.path().trim_end_matches('/')))
            .header(http::header::HOST, proxy.base.authority().map_or(host, |authority| authority.as_str()))
            .header(http::header::CONNECTION, "close")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        Ok(Answer { response, _reader: connection })
    }

    /// The system's certificate authorities, read when the first proxy needs them.
    fn tls(&self) -> TlsConnector {
        let config = self.tls.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            tls_config(roots)
        });
        TlsConnector::from(Arc::clone(config))
    }

    fn note_question(&self, service: [u8; 20]) -> Result<(), ProxyError> {
        let now = Instant::now();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, at| now.duration_since(*at) < QUESTION_INTERVAL);
        if asked.contains_key(&service) || asked.len() >= MAX_REMEMBERED {
            return Err(ProxyError::AskedJustNow);
        }
        asked.insert(service, now);
        Ok(())
    }

    /// Those that are not resting, the ones with the fewest failures first.
    fn healthiest(&self) -> Vec<Proxy> {
        let now = Instant::now();
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        proxies.retain(|proxy| proxy.rests_until.is_none_or(|until| until <= now));
        proxies.sort_by_key(|proxy| proxy.failures);
        proxies.truncate(MAX_ASKED);
        proxies
    }

    fn note_success(&self, proxy: &Proxy) {
        self.change(proxy, |proxy| (proxy.failures, proxy.rests_until) = (0, None));
    }

    fn note_failure(&self, proxy: &Proxy, reason: &io::Error) {
        debug!(proxy = %proxy.base, %reason, "proxy failed");
        self.change(proxy, |proxy| {
            let rest = REST_MIN.saturating_mul(1 << proxy.failures.min(16)).min(REST_MAX);
            proxy.failures = proxy.failures.saturating_add(1);
            proxy.rests_until = Some(Instant::now() + rest);
        });
    }

    fn change(&self, proxy: &Proxy, change: impl FnOnce(&mut Proxy)) {
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(proxy) = proxies.iter_mut().find(|other| other.base == proxy.base) {
            change(proxy);
        }
    }
}

/// An answer, and the task that reads it.
struct Answer {
    response: Response<Incoming>,
    _reader: AbortOnDropHandle<()>,
}

impl Answer {
    fn checked(self) -> io::Result<Self> {
        match self.response.status() {
            StatusCode::OK => Ok(self),
            status => Err(io::Error::other(format!("answered {status}"))),
        }
    }

    async fn next_bytes(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(frame) = self.response.body_mut().frame().await {
            if let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

fn tls_config(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.expect("ring does TLS 1.2 and 1.3");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn parse(url: &str) -> Result<Proxy, ProxyError> {
    let bad = || ProxyError::BadUrl(url.to_owned());
    let base: Uri = url.parse().map_err(|_| bad())?;
    if !matches!(base.scheme_str(), Some("http" | "https")) || base.host().is_none_or(str::is_empty) {
        return Err(bad());
    }
    Ok(Proxy { base, failures: 0, rests_until: None, has_key_route: true })
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> io::Result<(SendRequest<Full<Bytes>>, AbortOnDropHandle<()>)> {
    let mut builder = Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Its error shows in the answer that it cuts short.
    let task = tokio::spawn(async move { drop(connection.await) });
    Ok((sender, AbortOnDropHandle::new(task)))
}

/// Reads values, one a line, until one is accepted or the answer ends. Lines that are no values are
/// passed over; an answer of nothing else is a failure.
async fn first_accepted(mut answer: Answer, accept: &mut impl FnMut(&Value) -> bool) -> io::Result<Option<Value>> {
    let (mut line, mut total, mut values, mut garbage) = (Vec::new(), 0, 0, 0);
    loop {
        let bytes = answer.next_bytes().await?;
        total += bytes.as_ref().map_or(0, Bytes::len);
        let is_end = bytes.is_none();
        // The last line may lack its end.
        let bytes = bytes.unwrap_or_else(|| Bytes::from_static(b"\n"));
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.last() != Some(&b'\n') {
                continue;
            }
            if !line.trim_ascii().is_empty() {
                match value::from_json(&line, 0) {
                    Ok(posted) if accept(&posted.value) => return Ok(Some(posted.value)),
                    Ok(_) => values += 1,
                    Err(_) => garbage += 1,
                }
            }
            line.clear();
        }
        if line.len() > MAX_LINE || total > MAX_ANSWER {
            return Err(io::Error::other("sent more than an answer may have"));
        }
        if is_end {
            return if garbage > 0 && values == 0 { Err(io::Error::other("sent garbage")) } else { Ok(None) };
        }
    }
}

fn out_of_time() -> io::Error {
    io::ErrorKind::TimedOut.into()
}
