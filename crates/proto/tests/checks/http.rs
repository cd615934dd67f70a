//! Requests and answers of services whose HTTP is understood.

use std::net::{IpAddr, Ipv4Addr};

use hardline_proto::framing::{RequestFollower, Step};
use hardline_proto::head::MAX_HEAD;
use hardline_proto::rewrite::{BackendNames, RESERVED, Rules, Scheme};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};

/// What passes does not depend on how the bytes were cut into reads, and nothing passes behind a
/// refusal.
pub fn framing(bytes: &[u8]) {
    let whole = passed(bytes, bytes.len().max(1));
    // A head is parsed anew with each piece.
    for size in if bytes.len() < 400 { [1, 7] } else { [61, 200] } {
        assert_eq!(passed(bytes, size), whole, "in pieces of {size}");
    }
}

/// How many bytes pass, where each piece that passes as one head begins, and whether the rest was
/// refused.
fn passed(bytes: &[u8], size: usize) -> (usize, bool) {
    let mut follower = RequestFollower::default();
    let (mut passed, mut have, mut decisions) = (0, 0, 0u32);
    loop {
        match follower.step(&bytes[passed..have]) {
            Ok(Step::Pass(count)) => {
                assert!(0 < count && count <= have - passed);
                passed += count;
                // What may pass unseen is counted the same.
                let direct = follower.may_pass_directly().min(bytes.len() - have);
                if passed == have && direct > 0 {
                    follower.passed_directly(direct);
                    (passed, have) = (passed + direct, have + direct);
                }
            }
            Ok(Step::More) if have == bytes.len() => return (passed, false),
            Ok(Step::More) => {
                assert!(have - passed < MAX_HEAD, "a head is not waited for without end");
                have = (have + size).min(bytes.len());
            }
            Ok(Step::Undecided) => {
                decisions += 1;
                follower.decide(decisions.is_multiple_of(3));
            }
            Err(_) => return (passed, true),
        }
    }
}

/// Rewriting keeps what it was not asked to change, leaves one `Host`, believes nothing that a
/// visitor says of itself where it says so itself, and sends a browser nowhere but where the
/// program sent it, or to the service itself.
pub fn rewrite(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let mut lines = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut lines);
    if !matches!(parsed.parse(bytes), Ok(httparse::Status::Complete(_))) {
        return;
    }
    let mut request = Request::builder();
    for line in parsed.headers.iter() {
        request = request.header(line.name, line.value);
    }
    let target = parsed.path.unwrap_or_default();
    let Ok(request) = request.method(parsed.method.unwrap_or_default()).uri(target).body(()) else { return };
    let rules = rules(kind);
    let (mut head, ()) = request.into_parts();
    let before = head.headers.clone();
    let asked = rules.request(&mut head, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
    check_request(&rules, &before, &head.headers);

    let (mut answer, ()) = Response::new(()).into_parts();
    answer.headers = before.clone();
    rules.response(&mut answer, &asked);
    for (name, value) in &answer.headers {
        let is_old = before.get_all(name).iter().any(|old| old == value);
        let own = asked.authority.as_ref().map(|own| format!("http://{own}"));
        let is_own = || own.as_ref().is_some_and(|own| value.to_str().is_ok_and(|value| value.contains(own.as_str())));
        assert!(is_old || (rules.redirects && (name == header::SET_COOKIE || is_own())), "{name}: {value:?}");
    }
}

fn check_request(rules: &Rules, before: &HeaderMap, after: &HeaderMap) {
    assert!(after.get_all(header::HOST).iter().count() <= before.get_all(header::HOST).iter().count().max(1));
    if rules.forwarded {
        let said: Vec<_> = after.get_all("x-forwarded-for").iter().collect();
        assert_eq!(said, ["192.0.2.7"]);
        assert!(after.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).count() <= 3);
    }
    for (name, value) in &rules.headers {
        assert_eq!(after.get_all(name).iter().collect::<Vec<_>>(), [value]);
    }
    let is_ours = |name: &HeaderName| {
        RESERVED.contains(name)
            || [header::ORIGIN, header::REFERER, header::FORWARDED].contains(name)
            || name.as_str().starts_with("x-forwarded-")
            || rules.headers.iter().any(|(ours, _)| ours == name)
    };
    for (name, value) in after.iter().filter(|(name, _)| !is_ours(name)) {
        assert!(before.get_all(name).iter().any(|old| old == value), "{name}: {value:?} is new");
    }
    for token in after.get_all(header::CONNECTION) {
        assert!(token == "Upgrade" || token == "TE", "{token:?}");
    }
}

fn rules(kind: u8) -> Rules {
    let scheme = if kind & 1 == 0 { Scheme::Http } else { Scheme::Https };
    let called = (kind & 2 != 0).then_some("app.example");
    let key = (HeaderName::from_static("x-key"), HeaderValue::from_static("ours"));
    Rules {
        host: called.map(HeaderValue::from_static),
        forwarded: kind & 4 != 0,
        headers: if kind & 8 != 0 { vec![key] } else { Vec::new() },
        redirects: kind & 16 != 0,
        backend: BackendNames::new(scheme, "localhost:8080".parse().ok(), called.and_then(|it| it.parse().ok())),
    }
}
