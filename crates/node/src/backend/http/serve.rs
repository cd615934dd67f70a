//! A visitor's connection, request after request, until it ends or becomes another protocol's.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hardline_proto::head::{MAX_HEAD, MAX_HEADERS};
use hardline_proto::rewrite::is_upgrade;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{DuplexStream, copy_bidirectional};
use tokio::sync::Mutex;
use tracing::debug;

use super::HttpStage;
use super::exchange::Link;
use super::pages::Failure;
use super::talk::Talk;
use super::visitor::VisitorIo;
use crate::backend::BackendStream;

/// Time for a request head to arrive, and so also for the pause between two requests. Browsers keep
/// connections for about a minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

type Body = Either<Incoming, Full<Bytes>>;

/// What the requests of one connection share. They come one after the other.
struct Visit {
    stage: Arc<HttpStage>,
    visitor: IpAddr,
    talk: Arc<Talk>,
    backend: Mutex<Backend>,
}

/// The program's side of a visit.
#[derive(Default)]
struct Backend {
    /// Connected to before the first request came.
    first: Option<BackendStream>,
    link: Option<Link>,
    /// Both ends of a connection that became another protocol's.
    upgraded: Option<(OnUpgrade, OnUpgrade)>,
}

/// Serves the visitor at the other end of `pipe`.
pub(super) async fn serve(
    stage: Arc<HttpStage>,
    visitor: IpAddr,
    pipe: DuplexStream,
    first: BackendStream,
    talk: Arc<Talk>,
) {
    let backend = Mutex::new(Backend { first: Some(first), ..Backend::default() });
    let visit = Arc::new(Visit { stage, visitor, talk: Arc::clone(&talk), backend });
    let answer = service_fn(|request| {
        let visit = Arc::clone(&visit);
        async move { Ok::<_, Infallible>(visit.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(2 * MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .preserve_header_case(true)
        .auto_date_header(false)
        .half_close(true)
        .serve_connection(TokioIo::new(VisitorIo::new(pipe, Arc::clone(&talk))), answer)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!(%error, "HTTP of a visitor ended early");
        if error.is_user() || error.is_body_write_aborted() {
            talk.broke();
        }
    }
    let upgraded = visit.backend.lock().await.upgraded.take();
    if let Some(ends) = upgraded
        && let Err(error) = splice(ends).await
    {
        debug!(%error, "upgraded connection broke");
        talk.broke();
        talk.reset();
    }
}

impl Visit {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let may_upgrade = *request.method() == Method::CONNECT
            || (request.version() == Version::HTTP_11 && request.headers().contains_key(header::UPGRADE));
        let visitor_end = may_upgrade.then(|| hyper::upgrade::on(&mut request));
        let mut backend = self.backend.lock().await;
        let (response, is_upgraded) = self.exchange(request, visitor_end, &mut backend).await;
        if may_upgrade {
            self.talk.decide(is_upgraded);
        }
        response
    }

    /// The answer to `request`, and whether another protocol begins with it.
    async fn exchange(
        &self,
        request: Request<Incoming>,
        visitor_end: Option<OnUpgrade>,
        backend: &mut Backend,
    ) -> (Response<Body>, bool) {
        let (mut head, body) = request.into_parts();
        let (method, accept) = (head.method.clone(), head.headers.clone());
        let asked = self.stage.rules.request(&mut head, self.visitor);
        let failed = |failure: &Failure| {
            debug!(error = %chain(failure), "no answer of the backend");
            (failure.answer(&accept).map(Either::Right), false)
        };
        if let Err(failure) = self.begin(backend).await {
            return failed(&failure);
        }
        let mut response = match self.stage.ask(&mut backend.link, (head, body), &asked, &self.talk).await {
            Ok(response) => response,
            Err(failure) => return failed(&failure),
        };
        let is_upgraded = is_upgrade(&asked, &method, response.status());
        if is_upgraded {
            let backend_end = hyper::upgrade::on(&mut response);
            backend.upgraded = visitor_end.map(|visitor_end| (visitor_end, backend_end));
        } else if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            backend.link = None;
            return failed(&Failure::Garbage);
        }
        let (mut head, body) = response.into_parts();
        self.stage.rules.response(&mut head, &asked);
        (Response::from_parts(head, Either::Left(body)), is_upgraded)
    }

    /// Makes a link of the first connection.
    async fn begin(&self, backend: &mut Backend) -> Result<(), Failure> {
        if let Some(first) = backend.first.take() {
            backend.link = Some(self.stage.link_over(first, &self.talk).await?);
        }
        Ok(())
    }
}

/// Carries bytes both ways until both directions have ended.
async fn splice((visitor, backend): (OnUpgrade, OnUpgrade)) -> std::io::Result<()> {
    let (visitor, backend) = tokio::try_join!(visitor, backend).map_err(std::io::Error::other)?;
    copy_bidirectional(&mut TokioIo::new(visitor), &mut TokioIo::new(backend)).await?;
    Ok(())
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
