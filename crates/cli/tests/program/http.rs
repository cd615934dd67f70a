//! Services whose HTTP is understood, as people publish them.

use std::io::{BufRead as _, BufReader, Write as _};

use crate::common::{Program, backend, get};

/// A program that answers with the head it has heard.
fn repeats() -> u16 {
    backend(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut heard = String::new();
        while reader.read_line(&mut heard).is_ok_and(|count| count > 2) {}
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{heard}", heard.len());
        let _ = stream.write_all(answer.as_bytes());
    })
}

#[test]
fn the_flags_of_share_say_what_the_program_hears() {
    let program = Program::new();
    let port = repeats();
    let sharing = program.start([
        "share",
        &port.to_string(),
        "--host-header",
        "app.example",
        "--forwarded",
        "--header",
        "X-Key: se:cret",
        "--header=X-Two: 2",
    ]);
    let heard = get(sharing.gateway(), &sharing.link());
    for line in ["Host: app.example\r\n", "x-key: se:cret\r\n", "x-two: 2\r\n", "x-forwarded-for: 127.0.0.1\r\n"] {
        assert!(heard.contains(line), "{line}: {heard}");
    }
    drop(sharing);
    let sharing = program.start(["share", &port.to_string(), "--app", "jupyter"]);
    let heard = get(sharing.gateway(), &sharing.link());
    assert!(heard.contains(&format!("Host: localhost:{port}\r\n")) && !heard.contains("x-forwarded"), "{heard}");
    drop(sharing);
    let sharing = program.start(["share", &port.to_string()]);
    assert!(get(sharing.gateway(), &sharing.link()).contains(".localhost"), "without a flag nothing changes");
}

#[test]
fn the_keys_of_a_service_say_what_the_program_hears() {
    let program = Program::new();
    let port = repeats();
    let file = program.home().join("hardline.toml");
    let text = format!(
        "[[service]]\ntarget = {port}\nhost_header = \"target\"\nforwarded = true\nheaders = {{ \"X-Key\" = \"secret\" }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let running = program.start(["--config", file.to_str().unwrap()]);
    let heard = get(running.gateway(), &running.link());
    for line in [&format!("Host: localhost:{port}\r\n"), "x-key: secret\r\n", "x-forwarded-proto: http\r\n"] {
        assert!(heard.contains(line), "{line}: {heard}");
    }
    let shown = program.run(["--config", file.to_str().unwrap(), "config", "show"]);
    assert!(shown.stdout.contains("x-key") && !shown.stdout.contains("secret"), "{}", shown.stdout);
}

#[test]
fn that_any_certificate_is_accepted_is_said_aloud() {
    let sharing = Program::new().start(["share", "https://127.0.0.1:9", "--backend-certificate", "any"]);
    let notices = sharing.ready["notices"].to_string();
    assert!(notices.contains("any certificate of https://127.0.0.1:9 is accepted"), "{notices}");
}

#[test]
fn settings_that_make_no_sense_are_refused_with_a_reason() {
    for (arguments, reason) in [
        (&["share", "8080", "--backend-certificate", "any"][..], "https://"),
        (&["share", "https://nas", "--backend-certificate", "SHA256:abc"], "digits"),
        (&["share", "https://nas", "--backend-certificate", "/absent.pem"], "absent.pem"),
        (&["share", "8080", "--app", "word"], "jupyter"),
        (&["share", "8080", "--header", "Host: x"], "host"),
        (&["share", "8080", "--header", "nothing"], "NAME: VALUE"),
        (&["share", "8080", "--host-header", "a b"], "a b"),
        (&["share", "https://nas/path"], "https://HOST"),
    ] {
        let outcome = Program::new().run(arguments);
        assert!(outcome.code.is_some_and(|code| code != 0), "{arguments:?}");
        assert!(outcome.stderr.contains(reason), "{arguments:?}: {}", outcome.stderr);
    }
}

/// A program that answers only those who call it by its own name, and sends them to its own
/// address.
fn picky() -> u16 {
    backend(|mut stream| {
        let port = stream.local_addr().unwrap().port();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut heard = String::new();
        while reader.read_line(&mut heard).is_ok_and(|count| count > 2) {}
        let (status, body) = if heard.contains(&format!("Host: localhost:{port}\r\n")) {
            (format!("302 Found\r\nLocation: http://localhost:{port}/home"), "")
        } else {
            ("403 Forbidden".into(), "Invalid Host header")
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes());
    })
}

#[test]
fn doctor_says_what_a_visitor_of_a_service_would_see_and_which_setting_helps() {
    let program = Program::new();
    let (picky, ssh) =
        (picky().to_string(), backend(|mut stream| drop(stream.write_all(b"SSH-2.0-x\r\n"))).to_string());
    let file = program.home().join("hardline.toml");
    let services = [
        ("raw", ""),
        ("away", "host_header = \"target\"\nrewrite_redirects = false\n"),
        ("right", "host_header = \"target\"\n"),
    ];
    let text: String = services
        .iter()
        .map(|(title, settings)| {
            format!("[[service]]\nname = \"{title}\"\ntarget = {picky}\ntitle = \"{title}\"\n{settings}")
        })
        .collect();
    std::fs::write(&file, text).unwrap();
    for (service, code, said) in [
        ("raw", 8, "answers 403 because it does not know the Host"),
        ("raw", 8, "host_header = \"target\""),
        ("away", 8, "which is its own address"),
        ("away", 8, "rewrite_redirects = true"),
        ("right", 0, "answers a visitor with 302"),
        (&picky, 8, "answers 403"),
        (&ssh, 0, "it says \"SSH-2.0-x\""),
        ("9", 8, "is not reached"),
        ("https://127.0.0.1:9", 8, "is not reached"),
    ] {
        let outcome = program.run(["--config", file.to_str().unwrap(), "doctor", service]);
        assert!(outcome.stdout.contains(said), "{service}: {}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code, Some(code), "{service}: {}", outcome.stdout);
    }
    let outcome = program.run(["doctor", "no such service"]);
    assert!(outcome.code == Some(2) && outcome.stderr.contains("title, name or target"), "{}", outcome.stderr);
}

/// A program that refuses to be told who asks, with this body.
fn distrustful(body: &'static str) -> u16 {
    backend(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut heard = String::new();
        while reader.read_line(&mut heard).is_ok_and(|count| count > 2) {}
        let (status, body) =
            if heard.to_lowercase().contains("x-forwarded-for:") { ("400 Bad Request", body) } else { ("200 OK", "") };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes());
    })
}

#[test]
fn doctor_says_that_a_program_refuses_to_be_told_who_asks() {
    let program = Program::new();
    let file = program.home().join("hardline.toml");
    let services = [
        ("known", distrustful("400: Bad Request"), "forwarded = true"),
        ("unknown", distrustful("No."), "forwarded = true"),
        ("silent", distrustful("No."), "app = \"node-red\""),
    ];
    let text: String = services
        .iter()
        .map(|(name, port, line)| format!("[[service]]\nname = \"{name}\"\ntarget = {port}\n{line}\n"))
        .collect();
    std::fs::write(&file, text).unwrap();
    for (service, code, said) in [
        ("known", 8, "Home Assistant answers 400 because it is told who asks, and 200 where it is not"),
        ("known", 8, "trusted_proxies"),
        ("unknown", 8, "The program answers 400 because it is told who asks"),
        ("unknown", 8, "take forwarded = true out"),
        ("silent", 0, "answers a visitor with 200"),
    ] {
        let outcome = program.run(["--config", file.to_str().unwrap(), "doctor", service]);
        assert!(outcome.stdout.contains(said), "{service}: {}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code, Some(code), "{service}: {}", outcome.stdout);
    }
}
