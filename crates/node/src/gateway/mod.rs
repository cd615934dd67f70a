//! Browser → service name → tunnel; and the gateway's own pages.

mod answer; // what the gateway says itself → bytes
mod datagrams; // a UDP port of its own → one service
mod errors; // why a request is not served → answer
mod first_page; // what can be opened from here → answer
mod forward; // a port of its own → one service, without names
mod http; // a connection whose HTTP is followed: requests by their own names, answers with a policy
mod invitation; // a page that accepts an invitation
mod isolation; // which services are followed, and why a request does not go on
mod listen; // 127.0.0.1 and ::1, both
mod local; // where programs connect to a forwarded service
mod opened; // a tunnel, from here to its end
mod own_pages; // requests to the gateway itself → answer
mod pac; // which addresses a browser asks the proxy for → answer
mod proxy; // a proxy's client → a service, and nothing else
mod socks; // the same over SOCKS5
mod stages; // what a request passes before its service is dialled
mod status_page; // what the node is doing → answer

pub(crate) use first_page::FirstPage;
pub(crate) use forward::Forward;
pub use listen::GatewayBindError;
pub(crate) use listen::bind;
pub(crate) use local::LocalListener;

use std::pin::pin;
use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::client_hello::{Hello, read_client_hello};
use hardline_proto::exchange::BadAnswer;
use hardline_proto::head::{Accept, HTTP2_ANSWER, HeadError, RequestHead, Sniffed, sniff};
use hardline_proto::host::{Authority, ServiceName, parse_service_name};
use hardline_proto::proxy::TargetForm;
use hardline_proto::socks::VERSION as SOCKS;
use hardline_proto::tunnel::Kind;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info_span, warn};

use self::answer::Answer;
use self::http::Followed;
use self::isolation::Isolation;
use self::opened::{Next, Opened};
use self::own_pages::OwnPages;
use self::proxy::Client;
use self::stages::Stages;
use crate::dial::{Dialler, Early, Waiting};
use crate::limits::HEAD_TIMEOUT;
use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use crate::status::Live;
use crate::tls::sni::refuse_unknown_name;
use crate::transport::{accept_each, read_onto, tcp};
use crate::tunnel::{Drain, Place, Places, Prefixed};

/// Bytes read at once while the head is not whole.
const READ_CHUNK: usize = 8 * 1024;

/// What the gateway's tasks share.
pub(crate) struct Gateway {
    dialler: Arc<Dialler>,
    stages: Stages,
    /// Its own.
    port: u16,
    isolation: Isolation,
    places: Arc<Places>,
    refused: LogThrottle,
    metrics: Metrics,
    drain: Drain,
}

/// What the first bytes of a connection ask for.
enum Request {
    Http(RequestHead),
    Tls(ServiceName),
    /// By SOCKS5, as far as that has come.
    Socks,
}

/// Why a connection is not carried on.
enum NotServed {
    /// Nothing was asked.
    Silent,
    /// Asked over HTTP: there is an answer.
    Http(Box<Answer>, Accept),
    /// Begun in HTTP/2, which is not spoken here.
    Http2,
    /// Asked over TLS for a name that is none.
    Tls,
}

impl Gateway {
    /// A gateway with room for so many `connections` of browsers.
    pub(crate) fn new(
        dialler: Arc<Dialler>,
        first_page: FirstPage,
        trusted: Vec<KeyHash>,
        connections: usize,
        live: Live,
        drain: Drain,
    ) -> Self {
        let (metrics, port) = (live.metrics.clone(), first_page.port);
        let isolation = Isolation { own: Arc::clone(&first_page.own), trusted };
        let stages = Stages::new(OwnPages { first_page, resolver: Arc::clone(&dialler.resolver), live });
        let places = Places::new(connections);
        Self { dialler, stages, port, isolation, places, refused: LogThrottle::default(), metrics, drain }
    }

    /// Accepts browsers until the node stops, each in a task of its own.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        accept_each(&listener, &self.drain.stop, |browser, _| match self.places.enter() {
            Some(place) => {
                tasks.spawn(Arc::clone(&self).serve(browser, place));
            }
            None => {
                if let Some(times) = self.refused.count() {
                    warn!(times, "browsers refused at a limit");
                }
            }
        })
        .await;
    }

    /// Each step is on the heap and apart, the first one from before the task begins: what it needs
    /// is not kept for the next, nor for the life of a tunnel.
    fn serve(self: Arc<Self>, browser: TcpStream, place: Place) -> impl Future<Output = ()> + Send {
        tcp::tune_local(&browser);
        let mut opening = Box::pin(Arc::clone(&self).open_or_be_killed(browser, Vec::new()));
        async move {
            while let Some(opened) = opening.await {
                match Box::pin(opened.carry(self.drain.at(&place.seat))).await {
                    Some(Next::Request(browser, bytes)) => {
                        opening = Box::pin(Arc::clone(&self).open_or_be_killed(browser, bytes));
                    }
                    Some(Next::Unreadable(browser, why)) => return Box::pin(tell_unreadable(browser, why)).await,
                    None => return,
                }
            }
        }
    }

    async fn open_or_be_killed(self: Arc<Self>, browser: TcpStream, bytes: Vec<u8>) -> Option<Box<Opened>> {
        let opening = pin!(self.open(browser, bytes));
        tokio::select! {
            () = self.drain.kill.cancelled() => None,
            opened = opening => opened,
        }
    }

    /// Reads what is asked for, behind the `bytes` that have come, and answers it or reaches the
    /// service. `None` when it is answered.
    async fn open(&self, mut browser: TcpStream, mut bytes: Vec<u8>) -> Option<Box<Opened>> {
        let reading = read_request(&mut browser, &mut bytes);
        let request = self.drain.stop.run_until_cancelled(Box::pin(reading)).await?;
        match request {
            Ok(Request::Socks) => return Box::pin(self.socks(browser, bytes)).await,
            Ok(Request::Http(head)) => return Box::pin(self.answer(browser, bytes, head)).await,
            Ok(Request::Tls(name)) => return Box::pin(self.reach(browser, bytes, &name, None)).await,
            Err(NotServed::Http(answer, accept)) => Box::pin(answer.send(browser, accept, true)).await,
            Err(NotServed::Http2) => Box::pin(answer::send_bytes(browser, HTTP2_ANSWER)).await,
            Err(NotServed::Tls) => refuse_tls(browser).await,
            Err(NotServed::Silent) => {}
        }
        None
    }

    /// Answers a request over HTTP, or reaches its service.
    async fn answer(&self, mut browser: TcpStream, mut bytes: Vec<u8>, mut head: RequestHead) -> Option<Box<Opened>> {
        let answer = match self.admit(&mut head, &mut bytes) {
            true if invitation::is_asked_for(&head) => Some(self.invitation(&mut browser, &bytes, &head).await),
            true => self.stages.answer(&head).await,
            false => Some(errors::not_a_service()),
        };
        match (answer, &head.authority) {
            (Some(answer), _) => Box::pin(answer.send(browser, head.accept, head.method != "HEAD")).await,
            (None, Authority::Service(name)) if head.form == TargetForm::Connect => {
                let rest = bytes.split_off(head.len);
                return Box::pin(self.tunnel(browser, rest, name, Client::Http(&head))).await;
            }
            (None, Authority::Service(name)) => {
                return Box::pin(self.reach(browser, bytes, name, Some(&head))).await;
            }
            (None, Authority::Gateway) => {}
        }
        None
    }

    /// Reaches the service, or says why not.
    async fn reach(
        &self,
        browser: TcpStream,
        mut bytes: Vec<u8>,
        name: &ServiceName,
        head: Option<&RequestHead>,
    ) -> Option<Box<Opened>> {
        let mut open = self.metrics.tunnel();
        let span = info_span!("tunnel", side = "dialler", id = open.id, key = %name.key.short());
        let is_page = head.is_some_and(|head| head.accept == Accept::Html);
        let waiting = if is_page { Waiting::Page } else { Waiting::Program };
        let followed = match head.map(|_| self.isolation.follow(name, &bytes)).transpose() {
            Ok(followed) => followed.flatten(),
            Err(answer) => {
                answer.send(browser, head.map_or(Accept::Text, |head| head.accept), true).await;
                return None;
            }
        };
        // What stands behind the head may be another request.
        let is_repeatable = head.is_some_and(|head| head.is_repeatable && head.len == bytes.len());
        let admitted = followed.as_ref().map_or(bytes.len(), |followed| followed.admitted);
        let rest = bytes.split_off(admitted);
        let (asked, mut early) = (bytes.len(), Early { kind: Kind::Stream, bytes, is_repeatable });
        match (self.dialler.reach(name, waiting, &mut early).instrument(span.clone()).await, head) {
            (Ok(tunnel), _) => {
                let admitted = early.bytes.len();
                open.to_service += (asked - admitted) as u64;
                early.bytes.extend(rest);
                let stream = Prefixed::new(early.bytes, browser);
                let application = match followed {
                    Some(followed) => Followed::new(stream, followed.exchange, admitted),
                    None => Followed::raw(stream),
                };
                return Some(Box::new(Opened { application, tunnel, open, span }));
            }
            (Err(error), head) => {
                span.in_scope(|| debug!(%error, "service not reached"));
                match head {
                    Some(head) => {
                        let answer = errors::not_reached(&error);
                        answer.send(browser, head.accept, head.method != "HEAD").await;
                    }
                    None => refuse_tls(browser).await,
                }
            }
        }
        None
    }
}

/// Reads until the request's destination is known, within [`HEAD_TIMEOUT`].
async fn read_request(browser: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<Request, NotServed> {
    match timeout(HEAD_TIMEOUT, read_until_known(browser, bytes)).await {
        Ok(request) => request,
        // Browsers open connections ahead of need; one that has said nothing needs no answer.
        Err(_late) if bytes.is_empty() => Err(NotServed::Silent),
        Err(_late) => Err(NotServed::Http(Box::new(errors::slow_head()), Accept::Text)),
    }
}

async fn read_until_known(browser: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<Request, NotServed> {
    loop {
        if bytes.first() == Some(&SOCKS) {
            return Ok(Request::Socks);
        }
        match sniff(bytes) {
            Ok(Sniffed::Partial) => {}
            Ok(Sniffed::Http(head)) => return Ok(Request::Http(head)),
            Ok(Sniffed::Tls) => match read_client_hello(bytes) {
                Ok(Hello::Partial) => {}
                Ok(Hello::Complete { server_name }) => {
                    let name = server_name.and_then(|name| parse_service_name(&name).ok());
                    return name.map(Request::Tls).ok_or(NotServed::Tls);
                }
                Err(_) => return Err(NotServed::Tls),
            },
            Err(HeadError::Http2) => return Err(NotServed::Http2),
            Err(error) => {
                return Err(NotServed::Http(Box::new(errors::bad_head(&error)), error.accept()));
            }
        }
        match read_onto::<READ_CHUNK>(browser, bytes).await {
            Ok(0) | Err(_) => return Err(NotServed::Silent),
            Ok(_) => {}
        }
    }
}

/// Says why the answer of a service does not come.
async fn tell_unreadable(browser: TcpStream, why: BadAnswer) {
    errors::unreadable(why).send(browser, Accept::default(), true).await;
}

async fn refuse_tls(mut browser: TcpStream) {
    // Who is gone needs no alert.
    let _ = refuse_unknown_name(&mut browser).await;
}
