//! Names → addresses: by the system, or by servers that were handed in where the system's resolver
//! is not to be had. A static program on Android finds no `/etc/resolv.conf`.
//!
//! The servers are the process's, as the system's resolver is: a name is looked up deep inside.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

/// Port of DNS servers.
const PORT: u16 = 53;

/// Servers that are made use of.
const MAX_SERVERS: usize = 4;

/// Addresses of each family taken from one name.
const MAX_ADDRESSES: usize = 8;

/// Time for one server to answer; each is asked twice, for a datagram may be lost.
const ANSWER: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;

/// Longest answer by UDP, told to servers: it fits every path (RFC 9715).
const MAX_DATAGRAM: u16 = 1232;

/// Longest answer by TCP that is read.
const MAX_ANSWER: u16 = 16 * 1024;

/// Datagrams that are not the answer, after which a server is left.
const MAX_STRAY: usize = 16;

static SERVERS: RwLock<Vec<SocketAddr>> = RwLock::new(Vec::new());

/// Has names looked up at `servers` from now on, at most four, instead of by the system; by the
/// system again when there is none. This holds for the whole process.
pub fn use_servers(servers: &[IpAddr]) {
    let servers = servers.iter().take(MAX_SERVERS).map(|ip| SocketAddr::new(*ip, PORT)).collect();
    *SERVERS.write().unwrap_or_else(PoisonError::into_inner) = servers;
}

/// The addresses of `host`, a name or an IP address, with `port`.
///
/// # Errors
/// That of the system's resolver, or [`io::ErrorKind::NotFound`] where servers were handed in.
pub(crate) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let servers = SERVERS.read().unwrap_or_else(PoisonError::into_inner).clone();
    let is_local = host.trim_end_matches('.').eq_ignore_ascii_case("localhost");
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let ips = match &servers[..] {
        [] => return Ok(lookup_host((host, port)).await?.collect()),
        _ if is_local => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        servers => ask_all(servers, host).await?,
    };
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// Asks one server after the other, until one knows.
async fn ask_all(servers: &[SocketAddr], host: &str) -> io::Result<Vec<IpAddr>> {
    let mut name = Name::from_ascii(host).map_err(io::Error::other)?;
    name.set_fqdn(true);
    let mut problem = io::Error::new(io::ErrorKind::TimedOut, "no DNS server answers");
    for server in servers.iter().cycle().take(ROUNDS * servers.len()) {
        let ask = |kind| timeout(ANSWER, ask(*server, &name, kind));
        let (v6, v4) = tokio::join!(ask(RecordType::AAAA), ask(RecordType::A));
        let answers = [v6, v4].into_iter().flatten().collect::<Vec<_>>();
        let has_answer = answers.iter().any(Result::is_ok);
        let mut ips = Vec::new();
        for answer in answers {
            match answer {
                Ok(found) => ips.extend(found),
                Err(error) => problem = error,
            }
        }
        if !ips.is_empty() {
            return Ok(ips);
        }
        if has_answer {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")));
        }
    }
    Err(problem)
}

/// Asks one server for addresses of one family.
async fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> io::Result<Vec<IpAddr>> {
    let mut question = Message::query();
    // Whoever cannot see the question has to guess this and the port.
    question.metadata.id = rand::random();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    question.edns.get_or_insert_with(Edns::new).set_max_payload(MAX_DATAGRAM);
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let answer = by_udp(server, &question, &bytes).await?;
    let answer = if answer.metadata.truncation { by_tcp(server, &question, &bytes).await? } else { answer };
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Err(io::Error::other(format!("DNS server {server} says {code}"))),
    }
    let address = |data: &RData| match data {
        RData::A(ip) => Some(IpAddr::V4(ip.0)),
        RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
        _ => None,
    };
    Ok(answer.answers.iter().filter_map(|record| address(&record.data)).take(MAX_ADDRESSES).collect())
}

async fn by_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = [0; MAX_DATAGRAM as usize];
    for _ in 0..MAX_STRAY {
        let length = socket.recv(&mut buffer).await?;
        let answer = Message::from_vec(&buffer[..length]).ok();
        if let Some(answer) = answer.filter(|answer| is_answer(answer, question)) {
            return Ok(answer);
        }
    }
    Err(io::Error::other(format!("DNS server {server} does not say what was asked")))
}

async fn by_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?.min(MAX_ANSWER);
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    let answer = Message::from_vec(&answer).map_err(io::Error::other)?;
    let other = || io::Error::other(format!("DNS server {server} does not say what was asked"));
    Some(answer).filter(|answer| is_answer(answer, question)).ok_or_else(other)
}

/// Whether a message answers the question, and not another.
fn is_answer(answer: &Message, question: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.queries == question.queries
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::A;
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers with `spoil` done to each answer.
    async fn server(spoil: impl Fn(&mut Message) + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut bytes = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
                let mut answer = answer_to(&bytes[..length]);
                let mut spoilt = answer.clone();
                spoil(&mut spoilt);
                socket.send_to(&spoilt.to_vec().unwrap(), from).await.unwrap();
                answer.metadata.response_code = ResponseCode::ServFail;
                if spoilt.metadata.id != answer.metadata.id || spoilt.queries != answer.queries {
                    socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                }
            }
        });
        at
    }

    /// 192.0.2.7 for every question after IPv4 addresses; no IPv6.
    fn answer_to(question: &[u8]) -> Message {
        let question = Message::from_vec(question).unwrap();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        let query = question.queries[0].clone();
        if query.query_type == RecordType::A {
            let data = RData::A(A(Ipv4Addr::new(192, 0, 2, 7)));
            answer.add_answer(Record::from_rdata(query.name.clone(), 60, data));
        }
        answer.add_query(query);
        answer
    }

    async fn asked(servers: &[SocketAddr]) -> Result<Vec<String>, io::ErrorKind> {
        let found = ask_all(servers, "relay.example.org").await;
        found.map(|ips| ips.iter().map(ToString::to_string).collect()).map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn a_server_that_is_asked_for_a_name_is_believed() {
        let at = server(|_| {}).await;
        assert_eq!(asked(&[at]).await, Ok(vec!["192.0.2.7".to_owned()]));
        let at = server(|answer| answer.answers.clear()).await;
        assert_eq!(asked(&[at]).await, Err(io::ErrorKind::NotFound));
    }

    #[tokio::test]
    async fn an_answer_to_another_question_is_not_taken() {
        let number = server(|answer| answer.metadata.id ^= 1).await;
        assert_eq!(asked(&[number]).await, Err(io::ErrorKind::Other));
        let name = server(|answer| answer.queries[0].name = Name::from_ascii("other.example.").unwrap()).await;
        assert_eq!(asked(&[name]).await, Err(io::ErrorKind::Other));
    }

    #[tokio::test]
    async fn behind_a_server_that_fails_the_next_is_asked() {
        let failing = server(|answer| answer.metadata.response_code = ResponseCode::ServFail).await;
        let good = server(|_| {}).await;
        assert_eq!(asked(&[failing, good]).await, Ok(vec!["192.0.2.7".to_owned()]));
    }

    #[tokio::test]
    async fn what_does_not_fit_a_datagram_is_asked_for_by_tcp() {
        let at = server(|answer| {
            answer.answers.clear();
            answer.metadata.truncation = true;
        })
        .await;
        let listener = TcpListener::bind(at).await.unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut question).await.unwrap();
                let answer = answer_to(&question).to_vec().unwrap();
                stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        assert_eq!(asked(&[at]).await, Ok(vec!["192.0.2.7".to_owned()]));
    }
}
