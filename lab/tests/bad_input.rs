//! What strangers send to the real program, over real sockets.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Backend, Hardline, Host, Lab, Switch, helper};
use serde_json::Value;

/// When a client that says nothing is let go.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(10);

/// A computer that publishes the lab's web server, asked by itself.
struct Published {
    _switch: Switch,
    host: Host,
    backend: Backend,
    daemon: Hardline,
}

impl Published {
    fn new(lab: &Lab) -> Result<Self> {
        Self::with(lab, &[])
    }

    fn with(lab: &Lab, options: &[&str]) -> Result<Self> {
        let (switch, host) = lab.lone_host("alice")?;
        let backend = host.backend("127.0.0.1:0")?;
        let daemon = host.hardline(&[&["share", &backend.address.to_string()], options].concat())?;
        Ok(Self { _switch: switch, host, backend, daemon })
    }

    fn key(&self) -> Result<String> {
        let name = self.daemon.service_name()?;
        Ok(name.split(['.', '-']).find(|part| part.len() == 40).context("a key")?.to_owned())
    }

    /// Sends raw bytes, and gives back the answer and when the connection was closed.
    fn exchange(&self, to: SocketAddr, bytes: &[u8], pause_ms: Option<u32>) -> Result<(String, Duration)> {
        let file = self.host.home().join("bytes");
        fs::write(&file, bytes)?;
        let (to, pause) = (to.to_string(), pause_ms.map(|pause| pause.to_string()));
        let mut arguments = vec!["exchange", &to, "bytes"];
        arguments.extend(pause.as_deref());
        let output = self.host.run(helper()?, &arguments)?.success()?;
        let told: Value = serde_json::from_str(&output.stdout)?;
        let milliseconds = told["ms"].as_u64().context("a time")?;
        Ok((told["answer"].as_str().unwrap_or_default().to_owned(), Duration::from_millis(milliseconds)))
    }

    /// Sends a preamble and a request for the backend to the P2P port.
    fn ask_after(&self, line: &[u8]) -> Result<(String, Duration)> {
        let host = self.backend.address;
        let request = format!("\nGET /bytes/3 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        self.inside_tls(&[line, request.as_bytes()].concat())
    }

    /// Sends bytes to the P2P port inside TLS made by OpenSSL, and gives back what came until the
    /// connection was closed.
    fn inside_tls(&self, bytes: &[u8]) -> Result<(String, Duration)> {
        fs::write(self.host.home().join("bytes"), bytes)?;
        let client = format!(
            "timeout 60 openssl s_client -quiet -connect {} -servername {} < bytes",
            self.daemon.p2p()?,
            self.key()?
        );
        let begun = Instant::now();
        let output = self.host.run("sh", &["-c", &client])?;
        ensure!(output.status.code() != Some(124), "never closed");
        Ok((output.stdout, begun.elapsed()))
    }

    /// Everything works still, and the program has not panicked on the way.
    fn still_works(&self) -> Result<()> {
        self.host.check_site(self.daemon.gateway()?, &self.daemon.service_name()?, &["get:1000", "post:1000"])?;
        let log = self.daemon.process.stderr().join("\n");
        ensure!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
        Ok(())
    }
}

/// Pseudo-random bytes, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn garbage_at_the_p2p_port_is_answered_by_the_end_of_the_connection() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let published = Published::new(&lab)?;
    // An HTTP request, noise, and a TLS record header that promises more than ever comes.
    let mut hello = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];
    hello.extend(noise(200));
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), noise(100_000), hello, vec![0; 70_000]] {
        let (answer, time) = published.exchange(published.daemon.p2p()?, &bytes, None)?;
        assert!(answer.len() < 100, "at most an alert: {answer:?}");
        assert!(time < SILENCE_LIMIT + SLACK, "closed after {time:?}");
    }
    published.still_works()
}

#[test]
fn clients_that_say_nothing_are_let_go_and_delay_nobody() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let published = Published::new(&lab)?;
    let (p2p, gateway) = (published.daemon.p2p()?.to_string(), published.daemon.gateway()?.to_string());
    fs::write(published.host.home().join("nothing"), "")?;
    let silent = |address: &str| {
        let mut command = published.host.command(helper()?);
        published.host.spawn("a silent client", command.args(["exchange", address, "nothing"]))
    };
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(silent(&p2p)?);
        clients.push(silent(&gateway)?);
    }
    published.still_works()?;
    assert!(clients.iter().any(|client| client.stdout().is_empty()), "some were there all the while");
    for client in &mut clients {
        assert!(client.wait(Duration::from_secs(60))?.success());
        let told: Value = client.wait_for("a time", |line| serde_json::from_str(line).ok())?;
        let time = Duration::from_millis(told["ms"].as_u64().context("a time")?);
        assert!(time > SILENCE_LIMIT / 2 && time < SILENCE_LIMIT + SLACK, "let go after {time:?}");
    }
    Ok(())
}

#[test]
fn a_peer_without_a_preamble_is_let_go() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let published = Published::new(&lab)?;
    for beginning in [&b""[..], b"{\"password\":\""] {
        let (answer, time) = published.inside_tls(beginning)?;
        assert!(!answer.contains("HTTP/1.1"), "{answer}");
        assert!(time < SILENCE_LIMIT + SLACK, "let go after {time:?}");
    }
    published.still_works()
}

#[test]
fn no_bad_preamble_reaches_the_backend() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let published = Published::new(&lab)?;

    // What a good line gets, so that the others' silence means something.
    assert!(published.ask_after(b"{}")?.0.contains("HTTP/1.1 200"));
    assert!(published.ask_after(b"{\"unknown\":[1,{\"x\":null}]}")?.0.contains("HTTP/1.1 200"));

    let bad = [
        ("1 MB", [&b"{\"x\":\""[..], &vec![b'a'; 1_000_000], b"\"}"].concat()),
        ("not JSON", b"hello".to_vec()),
        ("empty", b"".to_vec()),
        ("not UTF-8", b"{\"x\":\"\xff\"}".to_vec()),
        ("an array", b"[1,2]".to_vec()),
        ("a number", b"7".to_vec()),
        ("two objects", b"{}{}".to_vec()),
        ("an object that does not end", b"{\"x\":1".to_vec()),
        ("deeply nested", [b"{\"x\":".to_vec(), vec![b'['; 4000], vec![b']'; 4000], b"}".to_vec()].concat()),
        ("more deeply nested", vec![b'['; 900_000]),
        ("one key twice", b"{\"password\":\"a\",\"password\":\"b\"}".to_vec()),
    ];
    for (what, line) in bad {
        let (answer, time) = published.ask_after(&line)?;
        assert!(!answer.contains("HTTP/1.1"), "{what}: {answer}");
        assert!(time < SILENCE_LIMIT + SLACK, "{what}: closed after {time:?}");
    }
    published.still_works()
}

#[test]
fn only_the_right_password_reaches_the_backend() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let published = Published::with(&lab, &["--password", "sesame"])?;
    assert!(published.ask_after(b"{\"password\":\"sesame\"}")?.0.contains("HTTP/1.1 200"));
    for line in ["{}", "{\"password\":{}}", "{\"password\":null}", "{\"password\":\"\"}", "{\"password\":\"sesam\"}"] {
        let (answer, _) = published.ask_after(line.as_bytes())?;
        assert!(!answer.contains("HTTP/1.1"), "{line}: {answer}");
    }
    published.still_works()
}

#[test]
fn the_gateway_names_what_is_wrong_with_a_request() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let published = Published::new(&lab)?;
    let name = published.daemon.service_name()?;
    let large = format!("GET / HTTP/1.1\r\nHost: {name}\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let requests = [
        (format!("GET / HTTP/1.1\r\nHost: {name}\r\nHost: {name}\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: ..\r\n\r\n".to_owned(), "400"),
        ("\0\0\0\0 this is not HTTP\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_owned(), "421"),
        (large, "431"),
    ];
    for (request, status) in requests {
        let (answer, _) = published.exchange(published.daemon.gateway()?, request.as_bytes(), None)?;
        let shown = &request[..request.len().min(80)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?} got {answer}");
    }
    published.still_works()
}

#[test]
fn a_head_that_drips_in_is_cut_off() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let published = Published::new(&lab)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nX: {}", published.daemon.service_name()?, "x".repeat(100));
    let (answer, time) = published.exchange(published.daemon.gateway()?, request.as_bytes(), Some(500))?;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(time > SILENCE_LIMIT / 2 && time < SILENCE_LIMIT + SLACK, "cut off after {time:?}");
    published.still_works()
}
