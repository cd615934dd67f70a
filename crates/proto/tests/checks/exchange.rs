//! Both directions of a browser's connection.

use hardline_proto::exchange::{AnswerStep, Exchange, POLICY, RequestStep};
use hardline_proto::host::ServiceName;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: e868423731872b8235a0adc9102bb45bb9e8321e.localhost\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: e868423731872b8235a0adc9102bb45bb9e8321e.localhost\r\n\r\n";
const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: e868423731872b8235a0adc9102bb45bb9e8321e.localhost\r\nUpgrade: websocket\r\n\r\n";

/// Answers to two requests, HEAD and one that asks for another protocol: what the browser gets does
/// not depend on how they are cut into reads, and is what came, with the policy put into each head.
pub fn answers(bytes: &[u8]) {
    let whole = run(bytes, bytes.len().max(1));
    for size in [1, 2, 7, 100] {
        assert_eq!(run(bytes, size), whole, "in pieces of {size}");
    }
    let mut rest = bytes;
    let mut out = &whole[..];
    while !out.is_empty() {
        if out.starts_with(POLICY) && !rest.starts_with(POLICY) {
            out = &out[POLICY.len()..];
            continue;
        }
        assert_eq!(out[0], rest[0], "nothing else changes");
        (out, rest) = (&out[1..], &rest[1..]);
    }
}

/// Requests: how they are cut into reads makes no difference to how far they pass.
pub fn requests(bytes: &[u8]) {
    let whole = passed(bytes, bytes.len().max(1));
    for size in [1, 2, 7, 100] {
        assert_eq!(passed(bytes, size), whole, "in pieces of {size}");
    }
}

fn name() -> ServiceName {
    let key = "e868423731872b8235a0adc9102bb45bb9e8321e".parse();
    ServiceName { key: key.expect("a key hash"), password: None }
}

/// What the browser gets, until what comes is refused.
fn run(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut exchange = Exchange::new(name(), true);
    for request in [GET, GET, HEAD, UPGRADE] {
        assert_eq!(exchange.request(request), Ok(RequestStep::Pass(request.len())));
    }
    let (mut out, mut at, mut have) = (Vec::new(), 0, 0);
    while have < bytes.len() {
        have = (have + size).min(bytes.len());
        while at < have {
            match exchange.answer(&bytes[at..have]) {
                Ok(AnswerStep::Pass(count)) => {
                    assert!((1..=have - at).contains(&count));
                    out.extend_from_slice(&bytes[at..at + count]);
                    at += count;
                }
                Ok(AnswerStep::Head { length, insert_at }) => {
                    assert!((1..=have - at).contains(&length) && insert_at <= length);
                    out.extend_from_slice(&bytes[at..at + insert_at]);
                    out.extend_from_slice(POLICY);
                    out.extend_from_slice(&bytes[at + insert_at..at + length]);
                    at += length;
                }
                Ok(AnswerStep::More) => break,
                Err(_) => return out,
            }
        }
    }
    out
}

/// How many bytes of requests pass.
fn passed(bytes: &[u8], size: usize) -> usize {
    let mut exchange = Exchange::new(name(), true);
    let (mut at, mut have) = (0, 0);
    while have < bytes.len() {
        have = (have + size).min(bytes.len());
        while at < have {
            match exchange.request(&bytes[at..have]) {
                Ok(RequestStep::Pass(count)) => {
                    assert!((1..=have - at).contains(&count));
                    at += count;
                }
                Ok(RequestStep::More) => break,
                Ok(RequestStep::Wait | RequestStep::Leave) | Err(_) => return at,
            }
        }
    }
    at
}
