//! What the datagrams of LAN discovery look like: byte for byte when sent, generously when read.
#![allow(clippy::unwrap_used)]

use hardline_proto::KeyHash;
use hardline_proto::lan::*;
use proptest::prelude::*;

const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

#[test]
fn a_search_is_written_as_the_released_peers_write_it() {
    let cookie = Cookie::from_random([0xab; 16]);
    let search = Datagram::Search(Search { code: Some(bytes(KEY)), cookie: cookie.clone(), speaks_v2: false });
    let expected = format!("HARDLINE-SEARCH * HTTP/1.1\r\nInfohash: {KEY}\r\ncookie: {}\r\n\r\n\r\n", "ab".repeat(16));
    assert_eq!(search.to_bytes(), expected.as_bytes());
    let browse = Datagram::Search(Search { code: None, cookie, speaks_v2: false });
    assert_eq!(browse.to_bytes(), expected.replace(KEY, "").as_bytes());
}

#[test]
fn an_announcement_is_written_as_the_released_peers_write_it() {
    let announcement = Datagram::Service(Announcement {
        port: 7008,
        infohash: Infohash { freetext: Freetext::new("pass-word"), hash: bytes(KEY) },
        cookie: Cookie::from_random([0xab; 16]),
        title: Title::clean("Käse & mehr"),
        speaks_v2: false,
    });
    let expected = format!(
        "HARDLINE-SERVICE * HTTP/1.1\r\nPort: 7008\r\nInfohash: pass-word-{KEY}\r\ncookie: {}\r\ntitle: Käse & mehr\r\n\r\n\r\n",
        "ab".repeat(16)
    );
    assert_eq!(announcement.to_bytes(), expected.as_bytes());
}

#[test]
fn a_goodbye_has_no_word_that_released_peers_look_for() {
    let key = KEY.parse().unwrap();
    let goodbye = Datagram::Goodbye(Goodbye { port: 7008, key, cookie: Cookie::from_random([0xab; 16]) });
    let expected = format!(
        "HARDLINE-GOODBYE * HTTP/1.1\r\nPort: 7008\r\nInfohash: {KEY}\r\ncookie: {}\r\n\r\n\r\n",
        "ab".repeat(16)
    );
    assert_eq!(goodbye.to_bytes(), expected.as_bytes());
    // They take a datagram that holds one of these anywhere for a search or an announcement.
    assert!(!expected.contains("HARDLINE-SEARCH") && !expected.contains("HARDLINE-SERVICE"));
    for (bad, error) in [
        (expected.replace("Port: 7008", "Port: 0"), DatagramError::Port),
        (expected.replace("Port: 7008\r\n", ""), DatagramError::Missing { name: "Port" }),
        (expected.replace("Infohash", "hash"), DatagramError::Missing { name: "Infohash" }),
    ] {
        check(bad.as_bytes(), error);
    }
}

#[test]
fn version_2_is_a_line_behind_those_that_released_peers_know() {
    let search = Search { code: Some(bytes(KEY)), cookie: Cookie::from_random([0xab; 16]), speaks_v2: true };
    let expected = format!(
        "HARDLINE-SEARCH * HTTP/1.1\r\nInfohash: {KEY}\r\ncookie: {}\r\nversion: 2\r\n\r\n\r\n",
        "ab".repeat(16)
    );
    assert_eq!(Datagram::Search(search).to_bytes(), expected.as_bytes());
    for (value, is_v2) in [("2", true), (" 3 ", true), ("1", false), ("", false), ("two", false), ("-2", false)] {
        let text = expected.replace("version: 2", &format!("VERSION:{value}"));
        let Ok(Datagram::Search(search)) = Datagram::parse(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(search.speaks_v2, is_v2, "{value}");
    }
}

#[test]
fn lines_are_read_in_any_order_case_and_spacing() {
    let exact =
        format!("HARDLINE-SERVICE * HTTP/1.1\r\nPort: 7008\r\nInfohash: {KEY}\r\ncookie: c\r\ntitle: T\r\n\r\n\r\n");
    let expected = Datagram::parse(exact.as_bytes()).unwrap();
    for text in [
        format!("HARDLINE-SERVICE * HTTP/1.1\r\ntitle: T\r\ncookie: c\r\nInfohash: {KEY}\r\nPort: 7008\r\n\r\n\r\n"),
        format!("hardline-service * http/1.1\r\nPORT:7008\r\ninfoHash :{KEY}\r\nCookie:   c\r\nTITLE:\tT  \r\n"),
        format!("HARDLINE-SERVICE\nPort: 7008\nInfohash: {}\ncookie: c\ntitle: T", KEY.to_uppercase()),
        format!(
            "HARDLINE-SERVICE * HTTP/1.1\r\nversions: 2\r\nPort: 1\r\nPort: 7008\r\nInfohash: {KEY}\r\nno colon\r\ncookie: c\r\ntitle: T\r\n"
        ),
    ] {
        assert_eq!(Datagram::parse(text.as_bytes()), Ok(expected.clone()), "{text}");
    }
}

#[test]
fn what_is_no_datagram_of_ours_is_refused_with_the_reason() {
    check(b"", DatagramError::Unknown);
    check(b"\r\n\r\n", DatagramError::Unknown);
    check(b"BT-SEARCH * HTTP/1.1\r\nInfohash: \r\n", DatagramError::Unknown);
    check(&[0xff; 100], DatagramError::Unknown);
    check(&[b'x'; 4097], DatagramError::TooLong { len: 4097 });
    check(&[b"HARDLINE-SEARCH\r\n".to_vec(), vec![b'\n'; 4000]].concat(), DatagramError::TooManyLines);
    check(b"HARDLINE-SEARCH * HTTP/1.1\r\ncookie: c\r\n", DatagramError::Missing { name: "Infohash" });
    check(b"HARDLINE-SERVICE * HTTP/1.1\r\nInfohash: \r\n", DatagramError::Missing { name: "Port" });
    for port in ["0", "-1", "65536", "", "http", "7008 7009", "99999999999999999999"] {
        check(format!("HARDLINE-SERVICE *\r\nPort: {port}\r\nInfohash: {KEY}\r\n").as_bytes(), DatagramError::Port);
    }
    for infohash in ["", "xyz", &KEY[1..], "pw-", &format!("{KEY}0"), &format!("{KEY}-x")] {
        let text = format!("HARDLINE-SERVICE *\r\nPort: 7008\r\nInfohash: {infohash}\r\n");
        assert!(matches!(Datagram::parse(text.as_bytes()), Err(DatagramError::Infohash(_))), "{infohash}");
    }
}

#[test]
fn a_hostile_title_is_cut_to_256_bytes_and_loses_its_control_characters() {
    for (raw, clean) in [
        ("plain", "plain"),
        ("  spaces around ", "spaces around"),
        ("a\0b\x07c\x1b[31md\x7fe\u{85}f\tg", "abc[31mdefg"),
        ("evil\u{202e}gpj.exe\u{2066}\u{2069}\u{200f}", "evilgpj.exe"),
        ("line\u{2028}line\u{2029}line", "linelineline"),
        ("tag\u{e0041}s\u{feff}", "tags"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"), // escaping is the page's work
    ] {
        assert_eq!(Title::clean(raw).as_str(), clean);
        assert_eq!(title_of(&announcement_with(raw.as_bytes())), clean, "and the same off the wire");
    }
    assert_eq!(Title::clean(&"x".repeat(257)).as_str().len(), 256);
    assert_eq!(Title::clean(&"ä".repeat(200)).as_str(), "ä".repeat(128));
    assert_eq!(Title::clean(&format!("{}ä", "x".repeat(255))).as_str(), "x".repeat(255));
}

#[test]
fn a_title_that_is_not_utf_8_shows_a_replacement_character() {
    assert_eq!(title_of(&announcement_with(b"K\xe4se")), "K\u{fffd}se");
}

#[test]
fn text_in_front_of_the_key_that_cannot_be_part_of_a_host_name_is_left_out() {
    for (text, kept) in [
        ("pass", Some("pass")),
        ("two-words", Some("two-words")),
        ("", None),
        ("a.b", None),
        ("a b", None),
        ("a/b", None),
        ("ä", None),
        ("a:80@", None),
        ("12345678901234567890123", None),
    ] {
        let bytes = format!("HARDLINE-SERVICE *\r\nPort: 1\r\nInfohash: {text}-{KEY}\r\n\r\n").into_bytes();
        let Ok(Datagram::Service(announcement)) = Datagram::parse(&bytes) else { panic!("{text}") };
        assert_eq!(announcement.infohash.freetext.as_ref().map(Freetext::as_str), kept);
    }
}

#[test]
fn the_debug_text_hides_what_may_be_a_password() {
    let freetext = Freetext::new("hunter2");
    assert!(!format!("{freetext:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(datagram in any_datagram()) {
        prop_assert_eq!(Datagram::parse(&datagram.to_bytes()), Ok(datagram));
    }

    #[test]
    fn titles_of_any_text_are_clean_and_stay_so(text in any::<String>()) {
        let title = Title::clean(&text);
        prop_assert!(title.as_str().len() <= MAX_TITLE);
        prop_assert!(!title.as_str().contains(char::is_control));
        prop_assert_eq!(&Title::clean(title.as_str()), &title);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let _ = Datagram::parse(&bytes);
    }

    #[test]
    fn random_fields_never_panic(fields in prop::collection::vec(("(Port|Infohash|cookie|title)", ".{0,50}"), 0..10), kind in "(SERVICE|SEARCH|GOODBYE)") {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        let _ = Datagram::parse(format!("HARDLINE-{kind} * HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes());
    }

    #[test]
    fn mutated_and_truncated_datagrams_never_panic_and_what_reads_can_be_written(
        datagram in any_datagram(), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = datagram.to_bytes();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(read) = Datagram::parse(&bytes) {
            prop_assert_eq!(Datagram::parse(&read.to_bytes()), Ok(read));
        }
    }
}

#[track_caller]
fn check(bytes: &[u8], expected: DatagramError) {
    assert_eq!(Datagram::parse(bytes), Err(expected));
}

fn bytes(key: &str) -> [u8; 20] {
    *key.parse::<KeyHash>().unwrap().as_bytes()
}

fn announcement_with(title: &[u8]) -> Vec<u8> {
    let head = format!("HARDLINE-SERVICE * HTTP/1.1\r\nPort: 7008\r\nInfohash: {KEY}\r\ncookie: c\r\ntitle: ");
    [head.as_bytes(), title, b"\r\n\r\n\r\n"].concat()
}

fn title_of(bytes: &[u8]) -> String {
    match Datagram::parse(bytes) {
        Ok(Datagram::Service(announcement)) => announcement.title.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn any_datagram() -> impl Strategy<Value = Datagram> {
    let cookie = || any::<[u8; 16]>().prop_map(Cookie::from_random);
    let search = (any::<Option<[u8; 20]>>(), cookie(), any::<bool>());
    let search = search.prop_map(|(code, cookie, speaks_v2)| Search { code, cookie, speaks_v2 });
    let infohash = ("[a-zA-Z0-9_-]{0,22}", any::<[u8; 20]>())
        .prop_map(|(text, hash)| Infohash { freetext: Freetext::new(&text), hash });
    let service = (1..=u16::MAX, infohash, cookie(), any::<String>(), any::<bool>());
    let service = service.prop_map(|(port, infohash, cookie, title, speaks_v2)| Announcement {
        port,
        infohash,
        cookie,
        title: Title::clean(&title),
        speaks_v2,
    });
    let goodbye = (1..=u16::MAX, any::<[u8; 20]>(), cookie());
    let goodbye = goodbye.prop_map(|(port, key, cookie)| Goodbye { port, key: KeyHash::from_bytes(key), cookie });
    prop_oneof![
        search.prop_map(Datagram::Search),
        service.prop_map(Datagram::Service),
        goodbye.prop_map(Datagram::Goodbye)
    ]
}
