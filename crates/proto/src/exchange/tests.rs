use proptest::prelude::*;

use super::*;

const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

fn name(password: Option<&str>) -> ServiceName {
    ServiceName { key: KEY.parse().unwrap(), password: password.map(str::to_owned) }
}

/// A request with `KEY` replaced.
fn request(method: &str, host: &str, headers: &str) -> Vec<u8> {
    format!("{method} /x HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").replace("KEY", KEY).into_bytes()
}

fn get() -> Vec<u8> {
    request("GET", "KEY.localhost:7009", "")
}

/// A connection on which `requests` have passed.
fn asked(requests: &[Vec<u8>]) -> Exchange {
    let mut exchange = Exchange::new(name(None), true);
    for request in requests {
        assert_eq!(exchange.request(request), Ok(RequestStep::Pass(request.len())));
    }
    exchange
}

/// What the browser gets of `text`, which comes in pieces of `size`.
fn answered(exchange: &mut Exchange, text: &[u8], size: usize) -> Result<Vec<u8>, BadAnswer> {
    let (mut out, mut at, mut have) = (Vec::new(), 0, 0);
    while have < text.len() {
        have = (have + size).min(text.len());
        while at < have {
            match exchange.answer(&text[at..have])? {
                AnswerStep::Pass(count) => {
                    out.extend_from_slice(&text[at..at + count]);
                    at += count;
                }
                AnswerStep::Head { length, insert_at } => {
                    out.extend_from_slice(&text[at..at + insert_at]);
                    out.extend_from_slice(POLICY);
                    out.extend_from_slice(&text[at + insert_at..at + length]);
                    at += length;
                }
                AnswerStep::More => break,
            }
        }
    }
    Ok(out)
}

/// Checks that the answers `heads` with these `bodies` to GET get the policy, and nothing else
/// changes, however they are cut into reads.
#[track_caller]
fn check(answers: &[(&str, &str)]) {
    let policy = String::from_utf8_lossy(POLICY);
    let text: String = answers.iter().map(|(head, body)| format!("{head}\r\n\r\n{body}")).collect();
    let expected: String = answers
        .iter()
        .map(|(head, body)| match head.split_once("\r\n") {
            Some((first, rest)) => format!("{first}\r\n{policy}{rest}\r\n\r\n{body}"),
            None => format!("{head}\r\n{policy}\r\n{body}"),
        })
        .collect();
    for size in 1..=text.len() {
        let mut exchange = asked(&vec![get(); answers.len()]);
        let out = answered(&mut exchange, text.as_bytes(), size).map(|out| String::from_utf8(out).unwrap());
        assert_eq!(out.as_ref(), Ok(&expected), "in pieces of {size}");
    }
}

#[track_caller]
fn check_refused(text: &str, why: BadAnswer) {
    for size in [1, 7, text.len()] {
        let mut exchange = asked(&[get(), get()]);
        assert_eq!(answered(&mut exchange, text.as_bytes(), size), Err(why), "{text:?} in pieces of {size}");
    }
}

const OK: &str = "HTTP/1.1 200 OK";

#[test]
fn every_answer_gets_the_policy_whatever_its_body() {
    check(&[("HTTP/1.1 200 OK\r\nContent-Length: 5", "HTTP/"), ("HTTP/1.1 404 No\r\ncontent-length: 0", "")]);
    check(&[
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "5\r\nHTTP/\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"),
        (OK, ""),
    ]);
    check(&[("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", "0 \r\nX-Sum: 1\r\ny:\r\n\r\n"), (OK, "end")]);
    check(&[("HTTP/1.1 204 No Content", ""), ("HTTP/1.1 304 \r\nContent-Length: 9", ""), (OK, "HTTP/1.1 200 OK\r\n")]);
    check(&[("HTTP/1.0 200 OK\r\nServer: \u{fc}", "to the end")]);
    check(&[("HTTP/1.1 205 Reset\r\nContent-Length: 0", ""), (OK, "")]);
    let own = "HTTP/1.1 200 OK\r\nContent-Security-Policy: default-src *\r\nContent-Length: 0";
    check(&[(own, "")]);
}

#[test]
fn interim_answers_pass_as_they_are() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let text = format!("{interim}{OK}\r\n\r\n");
    let out = answered(&mut asked(&[get()]), text.as_bytes(), text.len()).unwrap();
    assert!(out.starts_with(interim.as_bytes()));
    assert!(out[interim.len()..].starts_with(format!("{OK}\r\nContent-Security-Policy: ").as_bytes()));
}

#[test]
fn an_answer_to_head_has_no_body() {
    let text = format!("{OK}\r\nContent-Length: 5\r\n\r\n");
    let mut exchange = asked(&[request("HEAD", "KEY.localhost", ""), get()]);
    for _ in 0..2 {
        answered(&mut exchange, text.as_bytes(), 3).unwrap();
    }
    assert_eq!(exchange.answer(b"hello"), Ok(AnswerStep::Pass(5)));
    assert!(exchange.is_answered());
}

#[test]
fn without_isolation_nothing_is_put_in() {
    let mut exchange = Exchange::new(name(None), false);
    let ask = request("GET", "KEY.localhost", "Service-Worker: script\r\n");
    assert_eq!(exchange.request(&ask), Ok(RequestStep::Pass(ask.len())));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(exchange.answer(head), Ok(AnswerStep::Pass(head.len())));
    let other = request("GET", "other.localhost", "");
    assert_eq!(exchange.request(&other), Ok(RequestStep::Leave), "but requests still go where they belong");
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: ",
        "Content-Length: 0x5",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        check_refused(&format!("{OK}\r\n{headers}\r\n\r\n"), BadAnswer::Length);
    }
    check_refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BadAnswer::Length);
    check_refused("HTTP/1.1 205 Reset\r\nContent-Length: 5\r\n\r\n", BadAnswer::Length);
    check_refused("HTTP/1.1 205 Reset\r\nTransfer-Encoding: chunked\r\n\r\n", BadAnswer::Length);
    check_refused("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", BadAnswer::Upgrade);
}

#[test]
fn what_is_not_an_answer_of_http_1_is_refused() {
    for text in [
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
        "xHTTP/1.1 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "<html>",
    ] {
        check_refused(text, BadAnswer::Malformed);
    }
}

#[test]
fn chunks_that_browsers_may_read_in_another_way_are_refused() {
    let chunked = format!("{OK}\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunks in [
        "\r\n",
        "x\r\n",
        " 1\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        "1\n",
        "1\r\r\n",
        "1\rx\n",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\r\r\n",
        "1 x\r\n",
        "1;\0\r\n",
        "0000000000000001\r\na\r\n",
        "0\r\n\r\r\n",
        "0\r\n\n",
        "0\r\nx\r\n",
        "0\r\n x: y\r\n",
        "0\r\nx: \0\r\n",
        "0\r\nx: y\n",
    ] {
        check_refused(&format!("{chunked}{chunks}"), BadAnswer::Chunks);
    }
}

#[test]
fn what_nobody_asked_for_is_refused() {
    let mut exchange = asked(&[get()]);
    assert_eq!(exchange.request(b""), Ok(RequestStep::More));
    answered(&mut exchange, b"HTTP/1.1 204 No\r\n\r\n", 99).unwrap();
    assert_eq!(exchange.answer(b"H"), Err(BadAnswer::Unasked));
    assert_eq!(Exchange::new(name(None), true).answer(b"HTTP/1.1 408 Late\r\n\r\n"), Err(BadAnswer::Unasked));
}

#[test]
fn heads_that_are_too_long_are_refused() {
    let many = format!("{OK}\r\n{}\r\n", "X: y\r\n".repeat(300));
    check_refused(&many, BadAnswer::TooLarge);
    let long = format!("{OK}\r\nX: {}\r\n\r\n", "y".repeat(crate::head::MAX_HEAD));
    assert_eq!(answered(&mut asked(&[get()]), long.as_bytes(), 4096), Err(BadAnswer::TooLarge));
}

#[test]
fn behind_an_upgrade_nothing_is_looked_at_and_without_one_the_next_request_is_found() {
    let asks = request("GET", "KEY.localhost", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let mut exchange = asked(std::slice::from_ref(&asks));
    assert_eq!(exchange.request(b"\x81\x05"), Ok(RequestStep::Wait));
    assert!(matches!(exchange.answer(switch), Ok(AnswerStep::Head { length, .. }) if length == switch.len()));
    assert!(exchange.is_raw());
    assert_eq!(exchange.request(b"\x81\x05"), Ok(RequestStep::Pass(2)));
    assert_eq!(exchange.answer(b"\0\0\0"), Ok(AnswerStep::Pass(3)));

    let mut exchange = asked(&[asks]);
    answered(&mut exchange, b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", 99).unwrap();
    assert!(!exchange.is_raw());
    assert_eq!(exchange.request(&get()), Ok(RequestStep::Pass(get().len())));
}

#[test]
fn a_request_for_another_service_leaves_when_all_before_it_is_answered() {
    for (headers, host) in [
        ("", "0000000000000000000000000000000000000000.localhost"),
        ("", "pw-KEY.localhost"),
        ("", "localhost:7009"),
        ("", "example.org"),
        ("Service-Worker: script\r\n", "KEY.localhost:7009"),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", "KEY.localhost:7009"),
    ] {
        let mut exchange = asked(&[get()]);
        let other = request("GET", host, headers);
        assert_eq!(exchange.request(&other), Ok(RequestStep::Leave), "{host} {headers}");
        assert!(!exchange.is_answered() && exchange.left().is_some());
        answered(&mut exchange, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 99).unwrap();
        assert!(exchange.is_answered());
        assert_eq!(exchange.request(&other), Ok(RequestStep::Leave));
    }
    let mut exchange = asked(&[get()]);
    let absolute = format!("GET http://{KEY}.localhost/ HTTP/1.1\r\nHost: {KEY}.localhost:7009\r\n\r\n");
    assert_eq!(exchange.request(absolute.as_bytes()), Ok(RequestStep::Leave), "as to a proxy");
}

#[test]
fn other_spellings_of_the_same_service_stay() {
    for host in ["KEY.localhost", "KEY.LOCALHOST.:80", "www.KEY.localhost:7009"] {
        let other = request("POST", host, "Transfer-Encoding: chunked\r\n");
        assert_eq!(asked(&[get()]).request(&other), Ok(RequestStep::Pass(other.len())), "{host}");
    }
}

#[test]
fn so_many_requests_may_wait_for_their_answers_and_no_more() {
    let mut exchange = asked(&vec![get(); 16]);
    assert_eq!(exchange.request(&get()), Ok(RequestStep::Wait));
    answered(&mut exchange, b"HTTP/1.1 204 No\r\n\r\n", 99).unwrap();
    assert_eq!(exchange.request(&get()), Ok(RequestStep::Pass(get().len())));
}

#[test]
fn a_tunnel_for_a_program_is_followed_if_it_begins_with_a_request() {
    let tunnel = || Exchange::if_http(name(None));
    for other in
        [&b"\x16\x03\x01"[..], b"SSH-2.0-x\r\n", b"\0\0\0\x08", b"PRI * HTTP/2.0\r\n", b"PING\r\n", &[b'A'; 65]]
    {
        let mut exchange = tunnel();
        assert_eq!(exchange.request(other), Ok(RequestStep::Pass(other.len())), "{other:?}");
        assert!(exchange.is_raw());
        assert_eq!(exchange.answer(b"hello"), Ok(AnswerStep::Pass(5)));
    }
    let mut speaks_first = tunnel();
    assert_eq!(speaks_first.answer(b"220 hello\r\n"), Ok(AnswerStep::Pass(11)));
    assert_eq!(speaks_first.request(&get()), Ok(RequestStep::Pass(get().len())));
    assert!(speaks_first.is_raw());

    let mut http = tunnel();
    assert_eq!(http.request(&get()[..3]), Ok(RequestStep::More));
    assert_eq!(http.request(&get()), Ok(RequestStep::Pass(get().len())));
    assert!(matches!(http.answer(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(AnswerStep::Head { .. })));
}

/// An answer whose body is framed in one of the ways there are.
fn answer() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let status = prop_oneof![Just(200), Just(404), Just(302), Just(206), Just(500)];
    let headers = proptest::collection::vec(("x-[a-z]{1,8}", "[ -~]{0,30}"), 0..8);
    let body = proptest::collection::vec(any::<u8>(), 0..300);
    (status, headers, body, any::<bool>(), 1_usize..90).prop_map(|(status, headers, body, is_chunked, size)| {
        let mut head = format!("HTTP/1.1 {status} Some reason\r\n").into_bytes();
        for (name, value) in headers {
            head.extend(format!("{name}: {}\r\n", value.trim()).bytes());
        }
        let mut framed = Vec::new();
        if is_chunked {
            head.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in body.chunks(size) {
                framed.extend(format!("{:x}\r\n", piece.len()).bytes());
                framed.extend(piece);
                framed.extend(b"\r\n");
            }
            framed.extend(b"0\r\n\r\n");
        } else {
            head.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            framed = body;
        }
        (head, framed)
    })
}

proptest! {
    #[test]
    fn nothing_changes_but_the_line_that_is_put_into_each_head(
        answers in proptest::collection::vec(answer(), 1..8),
        size in 1_usize..200,
    ) {
        let mut exchange = asked(&vec![get(); answers.len()]);
        let (mut text, mut expected) = (Vec::new(), Vec::new());
        for (head, body) in &answers {
            let first_line = head.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            text.extend([&head[..], body].concat());
            expected.extend([&head[..first_line], POLICY, &head[first_line..], body].concat());
        }
        prop_assert_eq!(answered(&mut exchange, &text, size), Ok(expected));
        prop_assert!(exchange.is_answered());
    }
}
