//! Every parser under random, mutated and truncated input, and against what was written on purpose.

mod checks;

use std::net::{IpAddr, SocketAddr};

use hardline_proto::KeyHash;
use hardline_proto::client_hello::{Hello, read_client_hello};
use hardline_proto::head::{Sniffed, sniff};
use hardline_proto::host::{Authority, ServiceName, parse_host};
use hardline_proto::hosts::{Host, HostList, HostPort, MAX_HOSTS};
use hardline_proto::link::parse_link;
use hardline_proto::preamble::{MAX_PASSWORD, Preamble};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Well-formed inputs of several parsers, to be spoilt.
const SEEDS: &[&[u8]] = &[
    b"e868423731872b8235a0adc9102bb45bb9e8321e.localhost:7009",
    b"http://www.pw-e868423731872b8235a0adc9102bb45bb9e8321e.localhost:7009/path",
    b"POST /x HTTP/1.1\r\nHost: e868423731872b8235a0adc9102bb45bb9e8321e.localhost\r\nAccept: text/html;q=0.9\r\n\r\n",
    b"{\"WANHosts\": \"203.0.113.5:7008,[200:1::2]:7008,home.example.org:7008\", \"password\": \"pw\"}\n",
    b"203.0.113.5:7008,[2001:db8::1]:7008,2001:db8::1:7008,home.example.org:7008",
    include_bytes!("../../../fuzz/corpus/framing/chunked"),
    include_bytes!("../../../fuzz/corpus/rewrite/everything"),
    include_bytes!("../../../fuzz/corpus/rewrite/answer"),
    include_bytes!("vectors/client_hello/chromium.bin"),
    include_bytes!("vectors/client_hello/openssl-s_client.bin"),
];

proptest! {
    #[test]
    fn no_input_breaks_a_promise(bytes in vec(any::<u8>(), 0..300)) {
        check_all(&bytes);
    }

    #[test]
    fn no_text_breaks_a_promise(text in r#"[\[\]:.,\-0-9a-f{}" \r\nA-Zlocahst%/@]{0,80}"#) {
        check_all(text.as_bytes());
    }

    #[test]
    fn no_spoilt_input_breaks_a_promise(bytes in spoilt()) {
        check_all(&bytes);
    }

    #[test]
    fn an_address_reads_as_it_was_written(at in host_port()) {
        prop_assert_eq!(at.to_string().parse(), Ok(at));
    }

    #[test]
    fn an_ipv6_address_needs_no_brackets(ip: std::net::Ipv6Addr, port in 1..=u16::MAX) {
        let expected = HostPort::from(SocketAddr::new(IpAddr::V6(ip), port));
        prop_assert_eq!(format!("{ip}:{port}").parse(), Ok(expected));
    }

    #[test]
    fn a_host_list_reads_as_it_was_written(list in host_list()) {
        prop_assert_eq!(HostList::parse_lenient(&list.to_string()), list);
    }

    #[test]
    fn a_preamble_reads_as_it_was_written(
        wan_hosts in option::of(host_list()),
        password in option::of(password()),
        is_relayed: bool,
    ) {
        let preamble = Preamble { wan_hosts, password, is_relayed };
        prop_assert_eq!(Preamble::parse(&preamble.encode()), Ok(preamble));
    }

    #[test]
    fn a_service_is_found_in_its_host_name_and_in_its_link(name in service_name(), www in "([a-z]{1,9}[.]){0,3}") {
        let label = name.password.as_ref().map_or_else(|| name.key.to_string(), |pw| format!("{pw}-{}", name.key));
        let host = format!("{www}{label}.localhost");
        prop_assert_eq!(parse_host(host.as_bytes()), Ok(Authority::Service(name.clone())));
        prop_assert_eq!(parse_link(&format!("http://{host}:7009/")), Ok(name.clone()));
        prop_assert_eq!(parse_link(&label), Ok(name));
    }

    #[test]
    fn a_head_is_found_whatever_surrounds_its_host(
        name in service_name(),
        method in "[A-Z]{1,12}",
        target in "/[!-~]{0,40}",
        before in headers(),
        after in headers(),
        body in vec(any::<u8>(), 0..50),
    ) {
        let label = name.password.as_ref().map_or_else(|| name.key.to_string(), |pw| format!("{pw}-{}", name.key));
        let text = format!("{method} {target} HTTP/1.1\r\n{before}Host: {label}.localhost:7009\r\n{after}\r\n");
        let Ok(Sniffed::Http(head)) = sniff(&[text.as_bytes(), &body].concat()) else {
            return Err(TestCaseError::fail(format!("not read: {text:?}")));
        };
        prop_assert_eq!(head.authority, Authority::Service(name));
        prop_assert_eq!((head.method, head.target, head.len), (method, target, text.len()));
        checks::head(text.as_bytes());
    }

    #[test]
    fn a_server_name_is_found_whatever_surrounds_it(
        name in option::of("[!-~]{1,253}"),
        before in extensions(),
        after in extensions(),
        fragment in 1..400_usize,
    ) {
        let list = |name: &String| vector(2, &[&[0][..], &vector(2, name.as_bytes())].concat());
        let own = name.as_ref().map_or_else(Vec::new, |name| [&[0, 0][..], &vector(2, &list(name))].concat());
        let hello = records(&client_hello(&[before, own, after].concat()), fragment);
        prop_assert_eq!(read_client_hello(&hello), Ok(Hello::Complete { server_name: name }));
        checks::client_hello(&hello);
    }

    #[test]
    fn a_dial_schedule_keeps_its_promises_in_any_run(operations in vec(any::<u8>(), 0..400)) {
        checks::dial_ops(&operations);
    }
}

fn check_all(bytes: &[u8]) {
    for (_, check) in checks::ALL {
        check(bytes);
    }
}

/// A seed with some bytes changed, taken out, or doubled, and its end cut off.
fn spoilt() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<u8>(), 0..4_u8);
    (select(SEEDS), vec(change, 0..6), option::of(any::<Index>())).prop_map(|(seed, changes, cut)| {
        let mut bytes = seed.to_vec();
        for (place, byte, kind) in changes {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        let end = cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1));
        bytes.truncate(end);
        bytes
    })
}

fn host_port() -> impl Strategy<Value = HostPort> {
    let by_number = any::<IpAddr>().prop_map(|ip| Host::Ip(ip.to_canonical()));
    let by_name = "([a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?[.]){0,4}[a-z]{1,9}".prop_map(Host::Name);
    (prop_oneof![by_number, by_name], 1..=u16::MAX).prop_map(|(host, port)| HostPort { host, port })
}

fn host_list() -> impl Strategy<Value = HostList> {
    vec(host_port(), 0..MAX_HOSTS + 4).prop_map(HostList::from_iter)
}

/// Any text at all, control characters and quotes included.
fn password() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..MAX_PASSWORD / 4).prop_map(String::from_iter)
}

fn service_name() -> impl Strategy<Value = ServiceName> {
    (any::<[u8; KeyHash::LEN]>(), option::of("[a-z0-9!_~]{1,22}"))
        .prop_map(|(key, password)| ServiceName { key: KeyHash::from_bytes(key), password })
}

/// Header lines, none of which is `Host`.
fn headers() -> impl Strategy<Value = String> {
    vec("X-[A-Za-z0-9-]{1,10}: ?[ -~]{0,20}\r\n", 0..5).prop_map(|lines| lines.concat())
}

/// Extensions, none of which is a server name.
fn extensions() -> impl Strategy<Value = Vec<u8>> {
    vec((1..=u16::MAX, vec(any::<u8>(), 0..200)), 0..5).prop_map(|all| {
        all.iter().flat_map(|(kind, data)| [&kind.to_be_bytes()[..], &vector(2, data)].concat()).collect()
    })
}

/// A ClientHello message with these extensions.
fn client_hello(extensions: &[u8]) -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0], &vector(2, &[0x13, 1, 0x13, 2]), &vector(1, &[0]), &vector(2, extensions)]
        .concat();
    [&[1][..], &vector(3, &body)].concat()
}

/// `message` in records with at most `fragment` bytes each.
fn records(message: &[u8], fragment: usize) -> Vec<u8> {
    message.chunks(fragment).flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat()).collect()
}

/// `content` behind its length, which has `width` bytes.
fn vector(width: usize, content: &[u8]) -> Vec<u8> {
    [&content.len().to_be_bytes()[size_of::<usize>() - width..], content].concat()
}
