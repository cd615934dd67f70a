//! A request → the program's answer, over the visitor's one connection to it.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use hardline_proto::head::{MAX_HEAD, MAX_HEADERS};
use hardline_proto::rewrite::Asked;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::pages::Failure;
use super::talk::Talk;
use super::upload::{Progress, Upload};
use super::{BackendIo, HttpStage};
use crate::backend::BackendStream;

/// A connection to the program, between two requests or within one.
pub(super) struct Link {
    sender: SendRequest<Upload>,
    /// Reads and writes; ends with the link.
    _driver: AbortOnDropHandle<()>,
    /// Of the last request's body.
    last: Option<Arc<Progress>>,
}

/// Why a request over a link has no answer.
enum Lost {
    /// Nothing of it was sent.
    Unsent(Box<Request<Upload>>),
    /// Some of it may have been.
    Sent(Failure),
}

impl Lost {
    fn failure(self) -> Failure {
        match self {
            Self::Unsent(_) => Failure::Closed,
            Self::Sent(failure) => failure,
        }
    }
}

impl HttpStage {
    /// Sends a request over `link`, or over a new one, and waits for the answer. A request that is
    /// safe and has no body is sent once more when an older connection turns out to be dead. The
    /// link stays for the next request.
    pub(super) async fn ask(
        &self,
        link: &mut Option<Link>,
        (head, body): (request::Parts, Incoming),
        asked: &Asked,
        talk: &Arc<Talk>,
    ) -> Result<Response<Incoming>, Failure> {
        let is_safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let again = (is_safe && body.is_end_stream() && !asked.asks_upgrade).then(|| head.clone());
        let mut request = prepare(head, Some(body), asked, talk);
        let used = link.take().filter(|link| link.last.as_ref().is_none_or(|last| last.is_sent()));
        if let Some(mut used) = used
            && used.sender.ready().await.is_ok()
        {
            match (self.send(&mut used, request, talk).await, again) {
                (Ok(response), _) => {
                    *link = Some(used);
                    return Ok(response);
                }
                (Err(Lost::Unsent(unsent)), _) => request = *unsent,
                (Err(Lost::Sent(Failure::Closed)), Some(head)) => request = prepare(head, None, asked, talk),
                (Err(Lost::Sent(failure)), _) => return Err(failure),
            }
        }
        let mut fresh = self.link_over(self.place.connect().await.map_err(Failure::Unreached)?, talk).await?;
        let response = self.send(&mut fresh, request, talk).await.map_err(Lost::failure)?;
        *link = Some(fresh);
        Ok(response)
    }

    /// A link over `stream`.
    pub(super) async fn link_over(&self, stream: BackendStream, talk: &Arc<Talk>) -> Result<Link, Failure> {
        let stream = BackendIo { stream, talk: Arc::clone(talk) };
        match &self.tls {
            None => Link::begin(stream).await,
            Some(tls) => {
                let secured = timeout(self.handshake, tls.connect(stream)).await;
                let secured = secured.map_err(|_| Failure::Silent(self.handshake))?;
                Link::begin(secured.map_err(Failure::Unverified)?).await
            }
        }
    }

    /// Sends a request and waits for the head of its answer, for as long as the program may take
    /// from the last byte that was sent.
    async fn send(
        &self,
        link: &mut Link,
        request: Request<Upload>,
        talk: &Arc<Talk>,
    ) -> Result<Response<Incoming>, Lost> {
        let progress = request.body().progress();
        link.last = Some(Arc::clone(&progress));
        let mut sending = pin!(link.sender.try_send_request(request));
        loop {
            tokio::select! {
                answer = &mut sending => {
                    talk.interim_sent().await;
                    return answer.map_err(|mut error| match error.take_message() {
                        Some(request) => Lost::Unsent(Box::new(request)),
                        None => Lost::Sent(Failure::of(error.error())),
                    });
                }
                // This future runs within the visitor's connection, which sends them when it is
                // polled.
                () = talk.interim_changes() => {}
                () = sleep_until(progress.moved() + self.answer) => {
                    if progress.moved() + self.answer <= Instant::now() {
                        return Err(Lost::Sent(Failure::Silent(self.answer)));
                    }
                }
            }
        }
    }
}

impl Link {
    async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, Failure> {
        let mut builder = Builder::new();
        builder
            .preserve_header_case(true)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD)
            .max_buf_size(2 * MAX_HEAD);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| Failure::of(&error))?;
        // Its error shows in the answer that it cuts short.
        let driver = tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Ok(Self { sender, _driver: AbortOnDropHandle::new(driver), last: None })
    }
}

/// A request as it is sent to the program: its body is held back while it expects to be told to go
/// on, and interim answers reach the visitor.
fn prepare(head: request::Parts, body: Option<Incoming>, asked: &Asked, talk: &Arc<Talk>) -> Request<Upload> {
    talk.request_begins();
    let expects =
        head.headers.get(header::EXPECT).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let (go, may_go) = oneshot::channel();
    let mut request = Request::from_parts(head, Upload::new(body, expects.then_some(may_go)));
    let (go, talk, is_wanted) = (Mutex::new(Some(go)), Arc::clone(talk), asked.takes_interim);
    hyper::ext::on_informational(&mut request, move |interim| match interim.status() {
        // The visitor is told when its body is wanted.
        StatusCode::CONTINUE => {
            if let Some(go) = go.lock().ok().and_then(|mut go| go.take()) {
                let _ = go.send(());
            }
        }
        status if is_wanted => talk.add_interim(interim_head(status, interim.headers())),
        _ => {}
    });
    request
}

fn interim_head(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let mut head = BytesMut::new();
    head.put_slice(format!("HTTP/1.1 {status}\r\n").as_bytes());
    for (name, value) in headers.iter().filter(|(name, _)| **name != header::CONNECTION) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.put_slice(part);
        }
    }
    head.put_slice(b"\r\n");
    head.freeze()
}
