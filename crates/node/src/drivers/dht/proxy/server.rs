//! Being a proxy: the routes of released proxies, answered by our own node.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hardline_dht::{Event, InfoHash, TableStatus, Value};
use hardline_proto::admission::counted;
use hardline_proto::rate::{Rate, TokenBucket};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{debug, warn};

use super::super::{Dht, DhtStatus, Operation};
use super::{MAX_LINE, key_of, value};
use crate::log_throttle::LogThrottle;
use crate::transport::{ByteStream, accept_each};

/// Connections open at once.
const MAX_CONNECTIONS: usize = 512;

/// Connections open at once from one address: a listening client has one per key.
const MAX_CONNECTIONS_PER_CLIENT: usize = 32;

/// Requests of one address at once and in a second after that: each may be a search through the
/// network.
const REQUESTS_PER_CLIENT: Rate = Rate { burst: 240, per_second: 4 };

/// Requests of all together, at once and in a second after that.
const REQUESTS_IN_TOTAL: Rate = Rate { burst: 960, per_second: 64 };

/// Addresses whose requests are counted.
const MAX_COUNTED: usize = 4096;

/// Values kept alive for clients, in all.
const MAX_PERMANENT: usize = 512;

/// Time for which a permanent value is kept unless it is posted again.
const PERMANENT_TIME: Duration = Duration::from_secs(24 * 3600);

/// Time for a lookup or an announcement.
const OPERATION_LIMIT: Duration = Duration::from_secs(30);

/// Time for a client to send a request's head, and to send its body.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Longest time a listening client is served before it has to ask again.
const LISTEN_LIMIT: Duration = Duration::from_secs(3600);

/// Lines that wait for a slow client; what comes beyond is lost to it.
const MAX_WAITING_LINES: usize = 64;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A running proxy, which ends on the token it was started with.
#[derive(Debug)]
pub struct ProxyServer {
    addr: SocketAddr,
    tasks: TaskTracker,
}

impl ProxyServer {
    /// Listens at `addr` and answers from `dht`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(addr: SocketAddr, dht: Arc<Dht>, shutdown: CancellationToken) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared::new(dht));
        tasks.spawn(accept(listener, shared, tasks.clone(), shutdown));
        tasks.close();
        Ok(Self { addr, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until every connection is closed. Cancel safe.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

/// What all connections share.
struct Shared {
    dht: Arc<Dht>,
    clients: Mutex<HashMap<IpAddr, Client>>,
    /// Requests of all clients.
    requests: Mutex<TokenBucket>,
    /// Connections and requests that were refused.
    refused: LogThrottle,
    kept: Mutex<HashMap<(InfoHash, u64), Kept>>,
}

/// What one address has cost lately.
struct Client {
    connections: usize,
    requests: TokenBucket,
}

/// A value that is kept alive, for as long as the operation is.
struct Kept {
    _operation: Operation,
    until: Instant,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    accept_each(&listener, &shutdown, |stream, peer| {
        let slot = Arc::clone(&slots).try_acquire_owned();
        match slot.ok().zip(Place::take(&shared, peer.ip())) {
            Some((slot, place)) => drop(tasks.spawn(serve(stream, place, slot, shutdown.clone()))),
            None => shared.note_refused(),
        }
    })
    .await;
}

/// A connection's place among those of its address; given back on drop.
struct Place {
    shared: Arc<Shared>,
    ip: IpAddr,
    /// Under which it is counted.
    counted: IpAddr,
}

impl Place {
    fn take(shared: &Arc<Shared>, ip: IpAddr) -> Option<Self> {
        let (ip, counted) = (ip.to_canonical(), counted(ip));
        let mut clients = shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_COUNTED {
            let now = Instant::now().into_std();
            clients.retain(|_, client| client.connections > 0 || client.requests.full_at().is_some_and(|at| at > now));
        }
        if clients.len() >= MAX_COUNTED && !clients.contains_key(&counted) {
            return None;
        }
        let client = clients.entry(counted).or_insert_with(Client::new);
        if client.connections >= MAX_CONNECTIONS_PER_CLIENT {
            return None;
        }
        client.connections += 1;
        Some(Self { shared: Arc::clone(shared), ip, counted })
    }

    /// Counts a request; whether it is within the limits.
    fn count_request(&self) -> bool {
        let now = Instant::now().into_std();
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let is_allowed = clients.entry(self.counted).or_insert_with(Client::new).requests.take(now)
            && self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).take(now);
        if !is_allowed {
            self.shared.note_refused();
        }
        is_allowed
    }
}

impl Client {
    fn new() -> Self {
        Self { connections: 0, requests: TokenBucket::new(REQUESTS_PER_CLIENT) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get_mut(&self.counted) {
            client.connections = client.connections.saturating_sub(1);
        }
    }
}

async fn serve(stream: impl ByteStream, place: Place, _slot: OwnedSemaphorePermit, shutdown: CancellationToken) {
    let place = Arc::new(place);
    let service = service_fn(move |request| {
        let place = Arc::clone(&place);
        async move { Ok::<_, Infallible>(answer(&place, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_LIMIT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            debug!(%error, "proxy connection failed");
        },
        () = shutdown.cancelled() => {}
    }
}

async fn answer(place: &Place, request: Request<Incoming>) -> Answer {
    if !place.count_request() {
        return error(StatusCode::TOO_MANY_REQUESTS, "err", "Too many requests");
    }
    let path = request.uri().path().trim_matches('/').to_owned();
    let words: Vec<&str> = path.split('/').collect();
    let dht = &place.shared.dht;
    match (request.method(), &words[..]) {
        (&Method::GET, [""] | ["node", "info"]) => json_line(&node_info(&dht.status(), place.ip)),
        (&Method::GET, ["node", "stats"]) => json_line(&stats(place)),
        (&Method::GET, ["key", key, "listen"]) => listen(dht, key_of(key)),
        (&Method::GET, [key] | ["key", key]) => get(dht, key_of(key)),
        (&Method::POST, [key] | ["key", key]) => post(place, key_of(key), request.into_body()).await,
        (&Method::OPTIONS, [_] | ["key", _] | ["key", _, "listen"]) | (&Method::GET, ["key", _, "options"]) => {
            options()
        }
        _ => plain(StatusCode::NOT_IMPLEMENTED, ""),
    }
}

fn get(dht: &Arc<Dht>, key: InfoHash) -> Answer {
    let mut operation = dht.get(key);
    stream(|lines| async move {
        let deadline = Instant::now() + OPERATION_LIMIT;
        while let Ok(Some(Event::Found { value, .. })) = timeout_at(deadline, operation.next()).await {
            if lines.send(line_of(&value::to_json(&value))).await.is_err() {
                return;
            }
        }
    })
}

fn listen(dht: &Arc<Dht>, key: InfoHash) -> Answer {
    let mut operation = dht.listen(key);
    stream(|lines| async move {
        let deadline = Instant::now() + LISTEN_LIMIT;
        loop {
            let event = tokio::select! {
                event = timeout_at(deadline, operation.next()) => event,
                () = lines.closed() => return,
            };
            let line = match event {
                Ok(Some(Event::Heard { value, .. })) => value::to_json(&value),
                Ok(Some(Event::Expired { value, .. })) => {
                    let mut object = value::to_json(&value);
                    object["expired"] = true.into();
                    object
                }
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => return,
            };
            // A client that does not read loses values, and holds up nobody.
            let _ = lines.try_send(line_of(&line));
        }
    })
}

async fn post(place: &Place, key: InfoHash, body: Incoming) -> Answer {
    let body = match timeout(REQUEST_LIMIT, Limited::new(body, MAX_LINE).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return error(StatusCode::PAYLOAD_TOO_LARGE, "err", "Too large"),
        Err(_) => return error(StatusCode::REQUEST_TIMEOUT, "err", "Too slow"),
    };
    if body.is_empty() {
        return error(StatusCode::BAD_REQUEST, "err", "Missing parameters");
    }
    let Ok(posted) = value::from_json(&body, rand::random_range(1..=u64::MAX)) else {
        // The stray colon is that of released proxies.
        return error(StatusCode::BAD_REQUEST, "err:", "Incorrect JSON");
    };
    let (value, permanent) = (posted.value, posted.permanent);
    if permanent && !place.shared.has_room_to_keep(key, value.id()) {
        return error(StatusCode::SERVICE_UNAVAILABLE, "err", "Too many permanent values");
    }
    let mut operation = place.shared.dht.put(key, value.clone(), permanent);
    match timeout(OPERATION_LIMIT, operation.next()).await {
        Ok(Some(Event::PutDone { acknowledged: 1.., .. })) => {}
        _ => return error(StatusCode::BAD_GATEWAY, "err", "Put failed"),
    }
    if permanent {
        place.shared.keep(key, &value, operation);
    }
    json_line(&value::to_json(&value))
}

impl Shared {
    fn new(dht: Arc<Dht>) -> Self {
        let requests = Mutex::new(TokenBucket::new(REQUESTS_IN_TOTAL));
        Self { dht, clients: Mutex::default(), requests, refused: LogThrottle::default(), kept: Mutex::default() }
    }

    fn note_refused(&self) {
        if let Some(times) = self.refused.count() {
            warn!(times, "clients of the DHT proxy refused at a limit");
        }
    }

    fn has_room_to_keep(&self, key: InfoHash, id: u64) -> bool {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| kept.until > now);
        kept.len() < MAX_PERMANENT || kept.contains_key(&(key, id))
    }

    fn keep(&self, key: InfoHash, value: &Value, operation: Operation) {
        let kept = Kept { _operation: operation, until: Instant::now() + PERMANENT_TIME };
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert((key, value.id()), kept);
    }
}

fn node_info(status: &DhtStatus, client: IpAddr) -> Json {
    let client = match client {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    json!({
        "ipv4": table_info(&status.table_v4),
        "ipv6": table_info(&status.table_v6),
        "node_id": status.id.to_string(),
        "ops": status.operations,
        "public_ip": client.to_string(),
        "storage_size": status.stored_bytes,
        "storage_values": status.stored_values,
    })
}

fn table_info(table: &TableStatus) -> Json {
    let mut info = json!({"dubious": table.dubious, "good": table.good, "incoming": 0});
    if table.depth > 1 {
        info["table_depth"] = table.depth.into();
        info["network_size_estimation"] = table.network_size.into();
    }
    info
}

fn stats(place: &Place) -> Json {
    let shared = &place.shared;
    let kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner).len();
    json!({
        "listenCount": 0,
        "nodeInfo": node_info(&shared.dht.status(), place.ip),
        "pushListenersCount": 0,
        "putCount": kept,
        "requestRate": 0,
        "totalPermanentPuts": kept,
    })
}

fn options() -> Answer {
    let mut answer = plain(StatusCode::OK, "");
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("OPTIONS, GET, POST, LISTEN"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}

fn json_line(object: &Json) -> Answer {
    respond(StatusCode::OK, Full::new(line_of(object)).boxed())
}

fn line_of(object: &Json) -> Bytes {
    format!("{object}\n").into()
}

fn error(status: StatusCode, key: &str, text: &str) -> Answer {
    respond(status, Full::new(Bytes::from(json!({key: text}).to_string())).boxed())
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    respond(status, Full::new(Bytes::from_static(text.as_bytes())).boxed())
}

/// An answer whose lines `fill` makes, until the reader has gone.
fn stream<F: Future<Output = ()> + Send + 'static>(fill: impl FnOnce(mpsc::Sender<Bytes>) -> F) -> Answer {
    let (sender, lines) = mpsc::channel(MAX_WAITING_LINES);
    let filling = AbortOnDropHandle::new(tokio::spawn(fill(sender)));
    respond(StatusCode::OK, Lines { lines, _filling: filling }.boxed())
}

fn respond(status: StatusCode, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer
}

/// A body of lines that are still to come.
struct Lines {
    lines: mpsc::Receiver<Bytes>,
    _filling: AbortOnDropHandle<()>,
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.lines.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::DhtConfig;
    use super::*;

    async fn shared() -> Arc<Shared> {
        let config =
            DhtConfig { port: 0, bind: vec![[127, 0, 0, 1].into()], bootstrap: Vec::new(), ..DhtConfig::default() };
        Arc::new(Shared::new(Dht::start(config, None, CancellationToken::new()).await.unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_limited_by_address_and_in_total_and_forgiven_with_time() {
        let shared = shared().await;
        let allowed = |place: &Place| (0..1000).filter(|_| place.count_request()).count();
        let clients: Vec<_> = (1..=5).map(|n| Place::take(&shared, [192, 0, 2, n].into()).unwrap()).collect();
        assert_eq!(clients.iter().map(allowed).collect::<Vec<_>>(), [240, 240, 240, 240, 0]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(allowed(&clients[0]), 4);
    }

    #[tokio::test]
    async fn the_addresses_of_one_ipv6_network_count_as_one_and_do_not_shut_others_out() {
        let shared = shared().await;
        let ip = |n: u64| IpAddr::from(std::net::Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(n)));
        let places: Vec<_> = (0..10_000).filter_map(|n| Place::take(&shared, ip(n))).collect();
        assert_eq!(places.len(), MAX_CONNECTIONS_PER_CLIENT);
        assert!(Place::take(&shared, [192, 0, 2, 1].into()).is_some());
    }
}
