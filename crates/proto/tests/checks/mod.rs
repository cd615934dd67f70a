//! What holds for every input of a parser, and for every run of a state machine.
//!
//! One function per parser, fed by the property tests, by the replayed corpora, and by the fuzz
//! targets of the same names (`fuzz/`).

#![allow(unreachable_pub, reason = "the fuzz targets reach it")]

mod call;
mod datagrams;
mod dial;
mod exchange;
mod http;
mod lan;
mod relay;
mod sealed;
mod socks;
mod tunnel;
mod visitors;

use hardline_proto::candidate::{DialPolicy, Trust};
use hardline_proto::client_hello::{Hello, HelloError, MAX_CLIENT_HELLO, read_client_hello};
use hardline_proto::head::{HeadError, MAX_HEAD, Sniffed, sniff};
use hardline_proto::host::{Authority, ServiceName, parse_host, parse_service_name};
use hardline_proto::hosts::{HostList, HostPort, MAX_HOSTS};
use hardline_proto::link::parse_link;
use hardline_proto::network::NetworkState;
use hardline_proto::preamble::{MAX_PASSWORD, MAX_PREAMBLE, Preamble, PreambleError};

pub use call::{call, punch_ops};
pub use datagrams::datagrams;
pub use dial::dial_ops;
pub use exchange::{answers, requests};
pub use http::{framing, rewrite};
pub use lan::{lan_datagram, lan_ops};
pub use relay::relay_message;
pub use sealed::sealed;
pub use socks::socks;
pub use tunnel::{tunnel_bytes, tunnel_ops};
pub use visitors::visitors;

/// A check panics when an input breaks a promise.
pub type Check = fn(&[u8]);

/// Every check, by the name of its fuzz target.
pub const ALL: &[(&str, Check)] = &[
    ("answers", answers),
    ("call", call),
    ("client_hello", client_hello),
    ("datagrams", datagrams),
    ("dial_ops", dial_ops),
    ("framing", framing),
    ("head", head),
    ("host", host),
    ("hosts", hosts),
    ("lan_datagram", lan_datagram),
    ("lan_ops", lan_ops),
    ("link", link),
    ("opening", opening),
    ("punch_ops", punch_ops),
    ("relay_message", relay_message),
    ("requests", requests),
    ("rewrite", rewrite),
    ("sealed", sealed),
    ("socks", socks),
    ("tunnel_bytes", tunnel_bytes),
    ("tunnel_ops", tunnel_ops),
    ("visitors", visitors),
];

/// A service found by a `Host` header is found by its plain name as well; neither case nor port
/// matters.
pub fn host(bytes: &[u8]) {
    let found = parse_host(bytes);
    assert_eq!(found, parse_host(&bytes.to_ascii_uppercase()), "in upper case");
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = parse_service_name(text);
    }
    if let Ok(Authority::Service(name)) = found {
        check_service_name(&name);
        let plain = format!("{}.localhost", label(&name));
        assert_eq!(parse_host(format!("{plain}:7009").as_bytes()), Ok(Authority::Service(name.clone())));
        assert_eq!(parse_service_name(&plain), Ok(name));
    }
}

/// A link that is read is read the same in its longest form.
pub fn link(bytes: &[u8]) {
    if let Ok(name) = parse_link(&String::from_utf8_lossy(bytes)) {
        check_service_name(&name);
        assert_eq!(parse_link(&format!(" http://{}.localhost:7009/x?y#z\n", label(&name))), Ok(name));
    }
}

fn check_service_name(name: &ServiceName) {
    if let Some(password) = &name.password {
        assert!((1..=22).contains(&password.len()), "fits a label beside the key");
        assert_eq!(password, &password.to_ascii_lowercase());
        assert!(password.bytes().all(|b| b.is_ascii_graphic() && b != b'-'));
    }
}

fn label(name: &ServiceName) -> String {
    name.password.as_ref().map_or_else(|| name.key.to_string(), |password| format!("{password}-{}", name.key))
}

/// How the bytes were cut into reads makes no difference: a verdict on a beginning is the verdict
/// on the whole.
pub fn head(bytes: &[u8]) {
    let whole = sniff(bytes);
    for end in cuts(bytes) {
        match sniff(&bytes[..end]) {
            Ok(Sniffed::Partial) => assert!(end < MAX_HEAD),
            verdict => assert_eq!(verdict, whole, "after {end} of {} bytes", bytes.len()),
        }
    }
    match whole {
        Ok(Sniffed::Http(head)) => {
            assert!(head.len <= bytes.len().min(MAX_HEAD));
            assert_eq!(sniff(&bytes[..head.len]), Ok(Sniffed::Http(head.clone())), "nothing behind it is looked at");
            assert_eq!(sniff(&bytes[..head.len - 1]), Ok(Sniffed::Partial));
        }
        Err(HeadError::ManyHosts { count, .. }) => assert!(count > 1),
        _ => {}
    }
}

/// Neither the cut into reads nor that into records makes a difference.
pub fn client_hello(bytes: &[u8]) {
    let whole = read_client_hello(bytes);
    for end in cuts(bytes) {
        match read_client_hello(&bytes[..end]) {
            Ok(Hello::Partial) => assert!(end < MAX_CLIENT_HELLO),
            verdict => assert_eq!(verdict, whole, "after {end} of {} bytes", bytes.len()),
        }
    }
    if let (Ok(Hello::Complete { .. }), Some(message)) = (&whole, only_fragment(bytes)) {
        for size in [1, 7, 300] {
            let records: Vec<u8> = message.chunks(size).flat_map(record).collect();
            let verdict = read_client_hello(&records);
            assert!(verdict == whole || verdict == Err(HelloError::TooLarge), "{verdict:?} in records of {size}");
        }
    }
}

/// The content of the first record, when the bytes are that record alone.
fn only_fragment(bytes: &[u8]) -> Option<&[u8]> {
    let (header, fragment) = bytes.split_at_checked(5)?;
    (usize::from(u16::from_be_bytes([header[3], header[4]])) == fragment.len()).then_some(fragment)
}

fn record(fragment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(fragment.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[22, 3, 1], &length[..], fragment].concat()
}

/// Where to cut `bytes`: everywhere near both ends, and at some places between.
fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let len = bytes.len();
    let step = len / 16 + 1;
    (0..len).filter(move |&end| end < 16 || end + 16 > len || end % step == 0)
}

/// What was read can be written, within the limit, and reads the same again.
pub fn opening(bytes: &[u8]) {
    match Preamble::parse(bytes) {
        Ok(preamble) => {
            assert!(bytes.len() <= MAX_PREAMBLE);
            assert!(preamble.password.as_ref().is_none_or(|password| password.len() <= MAX_PASSWORD));
            let line = preamble.encode();
            assert!(line.len() <= MAX_PREAMBLE);
            assert_eq!(line.iter().position(|&b| b == b'\n'), Some(line.len() - 1), "one line");
            assert_eq!(Preamble::parse(&line), Ok(preamble));
        }
        Err(error) => assert_eq!(error == PreambleError::TooLong, bytes.len() > MAX_PREAMBLE),
    }
}

/// A list is bounded and without repeats, and what is written reads the same again.
pub fn hosts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let list = HostList::parse_lenient(&text);
    let entries = list.as_slice();
    assert!(entries.len() <= MAX_HOSTS);
    for (i, at) in entries.iter().enumerate() {
        assert!(!entries[..i].contains(at), "{at} twice");
        assert_ne!(at.port, 0);
        assert_eq!(at.to_string().parse::<HostPort>().as_ref(), Ok(at));
        let addr = at.clone().into();
        let permit = |trust| DialPolicy::default().permits(&NetworkState::default(), &addr, trust);
        assert!(permit(Trust::Person) || !permit(Trust::Service), "the person may more");
    }
    assert_eq!(HostList::parse_lenient(&list.to_string()), list);
    if let Ok(at) = text.parse::<HostPort>() {
        assert_eq!(entries, [at], "a list of one");
    }
}
