//! Odd messages of HTTP/1, and where each of them ends: what we let pass hyper reads as we do, or
//! not at all. A message that we and another program end in two places could carry a second one
//! past us.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hardline_proto::exchange::{AnswerStep, Exchange, RequestStep};
use hardline_proto::framing::{RequestFollower, Step};
use hardline_proto::host::ServiceName;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::timeout;

/// Time for hyper, of a clock that stands still while there is anything to do.
const PATIENCE: Duration = Duration::from_secs(1);

/// More than any message here.
const PIPE: usize = 256 * 1024;

/// Stands behind every odd request.
const LAST_REQUEST: &str = "LAST /last HTTP/1.1\r\nHost: a\r\n\r\n";

/// Stands behind every odd answer.
const LAST_ANSWER: &str = "HTTP/1.1 299 Last\r\nContent-Length: 0\r\n\r\n";

/// Requests, with `~` for the end of a line; the methods whose heads pass, and those that hyper
/// reads to the end. Where these are fewer, the body was cut off, or hyper ends the connection of
/// HTTP/1.0.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("GET / HTTP/1.1~Host: a~~", "GET LAST", "GET LAST"),
    ("GET / HTTP/1.0~~", "GET LAST", "GET"),
    ("GET / HTTP/1.0~Host: a~Connection: keep-alive~~", "GET LAST", "GET LAST"),
    ("~GET / HTTP/1.1~Host: a~~", "GET LAST", "GET LAST"),
    ("GET  / HTTP/1.1~Host: a~~", "", ""),
    ("GET / HTTP/1.1 ~Host: a~~", "", ""),
    ("GET / HTTP/1.1\nHost: a\n\n", "GET LAST", "GET LAST"),
    ("GET / HTTP/1.1~Host: a~X: y\rz~~", "", ""),
    ("GET / HTTP/1.1~Host: a~X: y\0z~~", "", ""),
    ("GET / HTTP/1.1~Host: a~X : y~~", "", ""),
    ("GET / HTTP/1.1~Host: a~X: y~ folded~~", "", ""),
    ("GET / HTTP/1.1~ X: y~Host: a~~", "", ""),
    ("GET / HTTP/1.1~Host: a~: y~~", "", ""),
    ("GET / HTTP/1.1~Host: a~X~~", "", ""),
    ("GET / HTTP/1.1~~", "", ""),
    ("GET / HTTP/1.1~Host: a~Host: b~~", "", ""),
    ("GET / HTTP/1.2~Host: a~~", "", ""),
    ("GET / HTTP/2.0~Host: a~~", "", ""),
    ("GET / http/1.1~Host: a~~", "", ""),
    ("GET /~~", "", ""),
    ("PRI * HTTP/2.0~~SM~~", "", ""),
    ("G\u{e9}T / HTTP/1.1~Host: a~~", "", ""),
    ("GET /\u{e9} HTTP/1.1~Host: a~~", "GET LAST", "GET LAST"),
    ("GET /a b HTTP/1.1~Host: a~~", "", ""),
    ("POST / HTTP/1.1~Host: a~Content-Length: 33~~GET /in HTTP/1.1~Host: a~~GET / H", "POST", "POST"),
    ("POST / HTTP/1.1~Host: a~Content-Length: 0~~", "POST LAST", "POST LAST"),
    ("POST / HTTP/1.1~Host: a~Content-Length: 00002~~ok", "POST LAST", "POST LAST"),
    ("POST / HTTP/1.1~Host: a~Content-Length:2 ~~ok", "POST LAST", "POST LAST"),
    ("POST / HTTP/1.1~Host: a~Content-Length: +2~~ok", "", ""),
    ("POST / HTTP/1.1~Host: a~Content-Length: 0x2~~ok", "", ""),
    ("POST / HTTP/1.1~Host: a~Content-Length: 2, 2~~ok", "", ""),
    ("POST / HTTP/1.1~Host: a~Content-Length: 2~Content-Length: 2~~ok", "", ""),
    ("POST / HTTP/1.1~Host: a~Content-Length: 2~Content-Length: 3~~ok", "", ""),
    ("POST / HTTP/1.1~Host: a~Content-Length: 18446744073709551616~~ok", "", ""),
    ("POST / HTTP/1.1~Host: a~Content-Length: ~~ok", "", ""),
    ("POST / HTTP/1.1~Host: a~Content-Length: 5~Transfer-Encoding: chunked~~0~~", "", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~Content-Length: 5~~0~~", "", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~2~ok~0~~", "POST LAST", "POST LAST"),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: CHUNKED~~2~ok~0~~", "POST LAST", "POST LAST"),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~2;x=\"y~ok~0~~", "POST LAST", "POST LAST"),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~2 ~ok~0~~", "POST LAST", "POST LAST"),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~2\nok~0~~", "POST", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~2~ok\n0~~", "POST", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~2~okx0~~", "POST", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~02~ok~00~~", "POST LAST", "POST LAST"),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~2~ok~0~X: y~~", "POST LAST", "POST LAST"),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~2~ok~0~X~~", "POST", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~2~ok~0~\n", "POST", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~-2~ok~0~~", "POST", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~0x2~ok~0~~", "POST", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~10000000000000002~ok~0~~", "POST", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~~2~ok~0~~", "POST", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: gzip, chunked~~2~ok~0~~", "", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked, chunked~~2~ok~0~~", "", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~Transfer-Encoding: identity~~2~ok~0~~", "", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: identity~~", "", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: xchunked~~2~ok~0~~", "", ""),
    ("POST / HTTP/1.1~Host: a~Transfer-Encoding: \u{b}chunked~~2~ok~0~~", "", ""),
    ("POST / HTTP/1.0~Host: a~Transfer-Encoding: chunked~~2~ok~0~~", "", ""),
    ("POST / HTTP/1.1~Host: a~Transfer_Encoding: chunked~~", "POST LAST", "POST LAST"),
    ("GET / HTTP/1.1~Host: a~Content-Length: 2~~ok", "GET LAST", "GET LAST"),
    ("GET / HTTP/1.1~Host: a~Expect: 100-continue~Content-Length: 2~~ok", "GET LAST", "GET LAST"),
    ("GET / HTTP/1.1~Host: a~Upgrade: websocket~Connection: Upgrade~~", "GET LAST", "GET LAST"),
    ("CONNECT a:1 HTTP/1.1~Host: a:1~~", "CONNECT LAST", "CONNECT"),
    ("OPTIONS * HTTP/1.1~Host: a~~", "OPTIONS LAST", "OPTIONS LAST"),
    ("GET http://b/ HTTP/1.1~Host: a~~", "GET LAST", "GET LAST"),
];

/// Answers to GET, likewise.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("HTTP/1.1 200 OK~Content-Length: 2~~ok", "200 299", "200 299"),
    ("HTTP/1.1 200 OK~Content-Length: 0~~", "200 299", "200 299"),
    ("HTTP/1.1 200~Content-Length: 2~~ok", "200 299", "200 299"),
    ("HTTP/1.1 200 ~Content-Length: 2~~ok", "200 299", "200 299"),
    ("HTTP/1.1 200 \u{e9}~Content-Length: 2~~ok", "200 299", "200 299"),
    ("HTTP/1.1 200 OK~~to the end", "200", "200"),
    ("HTTP/1.0 200 OK~Content-Length: 2~~ok", "200 299", "200"),
    ("HTTP/1.0 200 OK~Content-Length: 2~Connection: keep-alive~~ok", "200 299", "200 299"),
    ("HTTP/1.1 204 No~~", "204 299", "204 299"),
    ("HTTP/1.1 204 No~Content-Length: 2~~ok", "204", "204"),
    ("HTTP/1.1 304 No~Content-Length: 2~~", "304 299", "304 299"),
    ("HTTP/1.1 205 No~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 205 No~Content-Length: 0~~", "205 299", "205 299"),
    ("HTTP/1.1 100 Continue~~HTTP/1.1 200 OK~Content-Length: 2~~ok", "200 299", "200 299"),
    ("HTTP/1.1 103 Early~Link: x~~HTTP/1.1 200 OK~Content-Length: 2~~ok", "200 299", "200 299"),
    ("HTTP/1.1 100 Continue~Content-Length: 2~~HTTP/1.1 200 OK~Content-Length: 2~~ok", "200 299", "200 299"),
    ("HTTP/1.1 101 Switching~Upgrade: x~~raw", "", ""),
    ("HTTP/1.1 099 Odd~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 20 OK~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 2000 OK~Content-Length: 2~~ok", "", ""),
    ("HTTP/2.0 200 OK~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.2 200 OK~Content-Length: 2~~ok", "", ""),
    ("http/1.1 200 OK~Content-Length: 2~~ok", "", ""),
    ("ICY 200 OK~Content-Length: 2~~ok", "", ""),
    ("~HTTP/1.1 200 OK~Content-Length: 2~~ok", "", ""),
    (" HTTP/1.1 200 OK~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "200 299", "200 299"),
    ("HTTP/1.1 200 OK~Content-Length : 2~~ok", "", ""),
    ("HTTP/1.1 200 OK~X: y~ folded~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 200 OK~X: y\rz~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 200 OK~X: y\0z~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 200 OK~: y~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 200 OK~X~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 200 OK~Content-Length: 2~Content-Length: 2~~ok", "", ""),
    ("HTTP/1.1 200 OK~Content-Length: 2~Content-Length: 3~~ok", "", ""),
    ("HTTP/1.1 200 OK~Content-Length: 2, 2~~ok", "", ""),
    ("HTTP/1.1 200 OK~Content-Length: +2~~ok", "", ""),
    ("HTTP/1.1 200 OK~Content-Length: 0x2~~ok", "", ""),
    ("HTTP/1.1 200 OK~Content-Length: -1~~ok", "", ""),
    ("HTTP/1.1 200 OK~Content-Length: ~~ok", "", ""),
    ("HTTP/1.1 200 OK~Content-Length: 2~Transfer-Encoding: chunked~~2~ok~0~~", "", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~Content-Length: 2~~2~ok~0~~", "", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~~2~ok~0~~", "200 299", "200 299"),
    ("HTTP/1.1 200 OK~Transfer-Encoding: CHUNKED~~2~ok~0~~", "200 299", "200 299"),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~~2;x=y~ok~0~X: y~~", "200 299", "200 299"),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~~2\nok~0~~", "200", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~~2~ok\n0~~", "200", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~~2~okk~0~~", "200", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~~2~ok~0~\n", "200", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~~2 x~ok~0~~", "200", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~~G~ok~0~~", "200", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: gzip, chunked~~2~ok~0~~", "", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked, gzip~~2~ok~0~~", "", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: identity~~to the end", "", ""),
    ("HTTP/1.1 200 OK~Transfer-Encoding: chunked~Transfer-Encoding: chunked~~2~ok~0~~", "", ""),
    ("HTTP/1.0 200 OK~Transfer-Encoding: chunked~~2~ok~0~~", "", ""),
];

fn text(odd: &str) -> String {
    odd.replace('~', "\r\n")
}

#[tokio::test]
async fn requests_that_pass_are_read_as_hyper_reads_them() {
    for (odd, ours, hypers) in REQUESTS {
        let text = text(odd) + LAST_REQUEST;
        let (passed, methods) = passed_requests(text.as_bytes());
        let read = read_requests(&text.as_bytes()[..passed]).await;
        assert!(methods.starts_with(&read), "{odd:?}: we read {methods:?}, hyper {read:?}");
        assert_eq!((methods.join(" "), read.join(" ")), ((*ours).to_owned(), (*hypers).to_owned()), "{odd:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_pass_are_read_as_hyper_reads_them() {
    for (odd, ours, hypers) in ANSWERS {
        let text = text(odd) + LAST_ANSWER;
        let (passed, second, statuses) = passed_answers(text.as_bytes());
        let (first, second) = text.as_bytes()[..passed].split_at(second.unwrap_or(passed));
        let reading = timeout(PATIENCE, read_answers(first.to_owned(), second.to_owned()));
        let read = reading.await.unwrap_or_else(|_| panic!("{odd:?}: hyper looks for its end further on"));
        assert!(statuses.starts_with(&read), "{odd:?}: we read {statuses:?}, hyper {read:?}");
        assert_eq!((statuses.join(" "), read.join(" ")), ((*ours).to_owned(), (*hypers).to_owned()), "{odd:?}");
    }
}

/// How much of `text` passes, and the methods of the requests in it.
fn passed_requests(text: &[u8]) -> (usize, Vec<String>) {
    let (mut follower, mut at, mut methods) = (RequestFollower::default(), 0, Vec::new());
    let mut is_head = true;
    loop {
        match follower.step(&text[at..]) {
            Ok(Step::Pass(count)) => {
                if is_head {
                    methods.push(first_word(&text[at..]));
                }
                at += count;
                is_head = follower.is_at_head();
            }
            Ok(Step::Undecided) => {
                follower.decide(false);
                is_head = true;
            }
            Ok(Step::More) | Err(_) => return (at, methods),
        }
    }
}

/// How much of `text`, which answers two requests, passes; where the second answer begins, and the
/// statuses.
fn passed_answers(text: &[u8]) -> (usize, Option<usize>, Vec<String>) {
    let name = ServiceName { key: "e868423731872b8235a0adc9102bb45bb9e8321e".parse().unwrap(), password: None };
    let mut exchange = Exchange::new(name, true);
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..2 {
        assert_eq!(exchange.request(get), Ok(RequestStep::Pass(get.len())));
    }
    let (mut at, mut second, mut statuses) = (0, None, Vec::new());
    loop {
        match exchange.answer(&text[at..]) {
            Ok(AnswerStep::Pass(count)) => at += count,
            Ok(AnswerStep::Head { length, .. }) => {
                second = (!statuses.is_empty()).then_some(at);
                statuses.push(String::from_utf8_lossy(&text[at + 9..at + 12]).into_owned());
                at += length;
            }
            Ok(AnswerStep::More) | Err(_) => return (at, second, statuses),
        }
    }
}

fn first_word(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The methods of the requests that hyper reads to their ends.
async fn read_requests(text: &[u8]) -> Vec<String> {
    let (mut client, server) = duplex(PIPE);
    client.write_all(text).await.unwrap();
    client.shutdown().await.unwrap();
    let methods = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(async |request: Request<Incoming>| {
        let method = request.method().to_string();
        if request.into_body().collect().await.is_ok() {
            methods.lock().unwrap().push(method);
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    // How it ends does not matter, only what it has read.
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(server), service)
        .await;
    methods.lock().unwrap().clone()
}

/// The statuses of the answers to two requests that hyper reads to their ends. The second is sent
/// when it is asked for, and without one the connection ends behind the first.
async fn read_answers(first: Vec<u8>, second: Vec<u8>) -> Vec<String> {
    let (client, mut server) = duplex(PIPE);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    tokio::spawn(async move {
        for answer in [first, second] {
            if answer.is_empty() || server.read(&mut [0; 4096]).await.is_ok_and(|count| count == 0) {
                break;
            }
            server.write_all(&answer).await?;
        }
        server.shutdown().await
    });
    let mut statuses = Vec::new();
    while statuses.len() < 2 && sender.ready().await.is_ok() {
        let request = Request::get("/").header("Host", "a").body(Empty::<Bytes>::new()).unwrap();
        let Ok(answer) = sender.send_request(request).await else { break };
        let status = answer.status().as_u16().to_string();
        if answer.into_body().collect().await.is_err() {
            break;
        }
        statuses.push(status);
    }
    statuses
}
