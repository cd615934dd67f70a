use http::{Request, Response};
use proptest::prelude::*;

use super::*;

const VISITOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const OWN: &str = "6fef58cb259ed9746e280ac7ca618aab93d3fe79.localhost:7009";

/// Rules that ask for nothing, for a backend at `at`.
fn nothing(at: &str) -> Rules {
    let backend = BackendNames::new(Scheme::Http, Some(at.parse().unwrap()), None);
    Rules { host: None, forwarded: false, headers: Vec::new(), redirects: false, backend }
}

/// Rules that rename a backend at `at`.
fn renaming(scheme: Scheme, at: &str, called: &str) -> Rules {
    let backend = BackendNames::new(scheme, Some(at.parse().unwrap()), Some(called.parse().unwrap()));
    Rules { host: Some(called.parse().unwrap()), redirects: true, backend, ..nothing(at) }
}

fn head(target: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// The headers of a request behind `rules`, in lines.
fn asked(rules: &Rules, target: &str, headers: &[(&str, &str)]) -> Vec<String> {
    let mut head = head(target, headers);
    rules.request(&mut head, VISITOR);
    lines(&head.headers)
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

/// The value of `name` behind `rules`, for a browser at [`OWN`].
fn answered(rules: &Rules, name: &str, value: &str) -> String {
    let own = Asked { authority: Some(OWN.parse().unwrap()), asks_upgrade: false, takes_interim: true };
    let (mut head, ()) = Response::builder().header(name, value).body(()).unwrap().into_parts();
    rules.response(&mut head, &own);
    head.headers[name].to_str().unwrap().to_owned()
}

#[test]
fn host_origin_and_referer_are_renamed_where_they_name_this_service() {
    let rules = renaming(Scheme::Http, "localhost:8888", "localhost:8888");
    let own = format!("http://{OWN}");
    let seen = asked(&rules, "/", &[("host", OWN), ("origin", &own), ("referer", &format!("{own}/a?b"))]);
    assert_eq!(seen, ["host: localhost:8888", "origin: http://localhost:8888", "referer: http://localhost:8888/a?b"]);
    let other = "http://0000000000000000000000000000000000000000.localhost:7009";
    for foreign in [other, "null", "https://example.org", &format!("{own}.example.org"), &format!("http://{OWN}0")] {
        assert_eq!(asked(&rules, "/", &[("host", OWN), ("origin", foreign)])[1], format!("origin: {foreign}"));
    }
    let https = renaming(Scheme::Https, "nas:5001", "nas:5001");
    assert_eq!(asked(&https, "/", &[("host", OWN), ("origin", &own)])[1], "origin: https://nas:5001");
}

#[test]
fn a_name_that_a_page_elsewhere_may_have_is_shown_to_the_backend() {
    let rules = renaming(Scheme::Http, "localhost:8888", "localhost:8888");
    for local in ["localhost:1234", "127.0.0.1:80", "[::1]:80", "x.LOCALHOST.", "192.168.1.5"] {
        assert_eq!(asked(&rules, "/", &[("host", local)]), ["host: localhost:8888"], "{local}");
    }
    for foreign in ["evil.example:8888", "localhost.evil.example", "evillocalhost"] {
        let origin = format!("http://{foreign}");
        let seen = asked(&rules, "/", &[("host", foreign), ("origin", &origin)]);
        assert_eq!(seen, [format!("host: {foreign}"), format!("origin: {origin}")]);
    }
}

#[test]
fn an_absolute_target_overrides_host() {
    let mut head = head(&format!("http://{OWN}/path?query"), &[("host", "other.localhost")]);
    let asked = nothing("localhost:80").request(&mut head, VISITOR);
    assert_eq!(head.uri, "/path?query");
    assert_eq!(head.headers[header::HOST], OWN);
    assert_eq!(asked.authority.unwrap(), OWN);
}

#[test]
fn what_belongs_to_one_connection_stays_there_but_for_an_upgrade() {
    let rules = nothing("localhost:80");
    let of_connection = [
        ("host", OWN),
        ("connection", "close, X-Secret"),
        ("x-secret", "1"),
        ("keep-alive", "5"),
        ("te", "deflate, trailers;q=1"),
        ("proxy-authorization", "x"),
        ("upgrade", "h2c"),
        ("x-kept", "2"),
    ];
    let seen = asked(&rules, "/", &of_connection);
    assert_eq!(seen, [&format!("host: {OWN}"), "x-kept: 2", "te: trailers", "connection: TE"]);
    let websocket = [("host", OWN), ("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
    let mut head = head("/", &websocket);
    assert!(rules.request(&mut head, VISITOR).asks_upgrade);
    assert_eq!(lines(&head.headers), [&format!("host: {OWN}"), "upgrade: websocket", "connection: Upgrade"]);
    let seen = asked(&rules, "/", &[("host", OWN), ("content-length", "3"), ("connection", "host, content-length")]);
    assert_eq!(seen, [format!("host: {OWN}"), "content-length: 3".into()], "what says how a message is read stays");
}

#[test]
fn who_asked_is_told_by_us_alone() {
    let rules = Rules { forwarded: true, ..renaming(Scheme::Http, "localhost:80", "localhost") };
    let lies = [
        ("host", OWN),
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-proto", "https"),
    ];
    let mut seen = asked(&rules, "/", &lies);
    seen.sort();
    let told = [
        format!("forwarded: for=192.0.2.7;host=\"{OWN}\";proto=http"),
        "host: localhost".into(),
        "x-forwarded-for: 192.0.2.7".into(),
        format!("x-forwarded-host: {OWN}"),
        "x-forwarded-proto: http".into(),
    ];
    assert_eq!(seen, told);
}

#[test]
fn headers_that_are_set_replace_the_visitors() {
    let key = (HeaderName::from_static("x-key"), HeaderValue::from_static("ours"));
    let rules = Rules { headers: vec![key], ..nothing("localhost:80") };
    let seen = asked(&rules, "/", &[("host", OWN), ("x-key", "theirs"), ("x-key", "again")]);
    assert_eq!(seen, [format!("host: {OWN}"), "x-key: ours".into()]);
}

#[test]
fn addresses_of_the_backend_become_this_services_own() {
    let rules = renaming(Scheme::Http, "localhost:18090", "app.example");
    let own = |rest: &str| format!("http://{OWN}{rest}");
    for (address, rest) in [
        ("http://localhost:18090/home", "/home"),
        ("HTTP://LOCALHOST:18090/home?a#b", "/home?a#b"),
        ("http://127.0.0.1:18090", ""),
        ("http://[::1]:18090/", "/"),
        ("//localhost:18090/x", "/x"),
        ("http://app.example/x", "/x"),
        ("http://app.example:18090/x", "/x"),
        ("http://localhost:18090//evil.example/", "//evil.example/"),
    ] {
        assert_eq!(answered(&rules, "location", address), own(rest), "{address}");
        assert_eq!(answered(&rules, "content-location", address), own(rest), "{address}");
        assert_eq!(answered(&rules, "refresh", &format!("5; url={address}")), format!("5; url={}", own(rest)));
    }
    for other in [
        "/home",
        "home",
        "http://localhost:18091/",
        "http://example.org/",
        "https://app.example/login",
        "http://user@localhost:18090/",
        "http://localhost:18090@evil.example/",
        "ftp://localhost:18090/",
    ] {
        assert_eq!(answered(&rules, "location", other), other);
    }
    assert_eq!(answered(&nothing("localhost:80"), "location", "http://localhost/"), "http://localhost/");
}

#[test]
fn a_cookie_of_the_backends_domain_becomes_this_hosts_own() {
    let rules = renaming(Scheme::Http, "localhost:18090", "app.example");
    let cookie = |text: &str| answered(&rules, "set-cookie", text);
    assert_eq!(cookie("a=b; Path=/; Domain=app.example; HttpOnly"), "a=b; Path=/; HttpOnly");
    assert_eq!(cookie("a=b; domain=.APP.example"), "a=b");
    for kept in ["a=b; Domain=example.org", "domain=app.example; Path=/", "a=b; Path=/"] {
        assert_eq!(cookie(kept), kept);
    }
}

#[test]
fn upgrade_stays_in_an_answer_only_where_it_says_which_protocol_begins() {
    let own = Asked { authority: None, asks_upgrade: true, takes_interim: true };
    for (status, stays) in [(101, true), (426, true), (200, false)] {
        let answer = Response::builder().status(status).header("upgrade", "h2c").header("connection", "Upgrade");
        let (mut head, ()) = answer.body(()).unwrap().into_parts();
        nothing("localhost:80").response(&mut head, &own);
        assert_eq!(head.headers.contains_key(header::UPGRADE), stays, "{status}");
        assert_eq!(head.headers.contains_key(header::CONNECTION), stays, "{status}");
    }
}

/// Headers that concern no rule and no connection.
fn plain_headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = "x-[a-eg-z]{1,8}|cookie|accept|authorization|range|if-none-match|origin|referer|trailer|expect";
    let value = "[ -~]{0,40}".prop_map(|text: String| text.trim().to_owned());
    proptest::collection::vec((name, value), 0..20)
}

fn with_host(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    let plain = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    [("host", OWN)].into_iter().chain(plain).collect()
}

proptest! {
    #[test]
    fn rules_that_ask_for_nothing_change_nothing(headers in plain_headers(), path in "/[a-z%?&=/.]{0,30}") {
        let mut head = head(&path, &with_host(&headers));
        let before = (head.method.clone(), head.uri.clone(), lines(&head.headers));
        nothing("localhost:80").request(&mut head, VISITOR);
        prop_assert_eq!((head.method, head.uri, lines(&head.headers)), before);
    }

    #[test]
    fn rules_change_only_what_they_ask_for(headers in plain_headers()) {
        let key = (HeaderName::from_static("x-key"), HeaderValue::from_static("ours"));
        let rules = Rules { forwarded: true, headers: vec![key], ..renaming(Scheme::Http, "localhost:8888", "a:1") };
        let touched = ["host", "x-key", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        let rest = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().filter(|line| !touched.contains(&line.split(':').next().unwrap())).collect()
        };
        let before = rest(lines(&head("/", &with_host(&headers)).headers));
        prop_assert_eq!(rest(asked(&rules, "/", &with_host(&headers))), before);
    }

    #[test]
    fn an_answer_keeps_what_names_somebody_else(headers in plain_headers(), location in "[ -~]{0,60}") {
        let rules = renaming(Scheme::Http, "192.0.2.1:18090", "app.example");
        prop_assume!(!location.contains("192.0.2.1") && !location.to_lowercase().contains("app.example"));
        let mut answer = Response::builder().header("location", location.trim()).header("set-cookie", location.trim());
        for (name, value) in &headers {
            answer = answer.header(name.as_str(), value.as_str());
        }
        let (mut head, ()) = answer.body(()).unwrap().into_parts();
        let before = lines(&head.headers);
        rules.response(&mut head, &Asked { authority: Some(OWN.parse().unwrap()), asks_upgrade: false, takes_interim: true });
        prop_assert_eq!(lines(&head.headers), before);
    }
}
