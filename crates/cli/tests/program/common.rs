//! The real program, in a world of its own: its own data folder, its own ports, nothing of this
//! user's.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for what must happen before it fails. The machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that is gone with its value.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A TCP port that was free a moment ago, for flags that cannot take a free one by themselves.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The program under test: the environment's `HARDLINE_PROGRAM` (one built for handing out, say),
/// else cargo's own build.
fn program() -> OsString {
    std::env::var_os("HARDLINE_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_hardline").into())
}

/// The program with a home of its own.
pub(crate) struct Program {
    home: TempDir,
    lan_port: u16,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) stderr: String,
}

impl Outcome {
    /// The objects on stdout, one a line.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Program {
    /// A computer alone on its LAN.
    pub(crate) fn new() -> Self {
        let lan_port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { home: folder(), lan_port }
    }

    /// Another computer on the same LAN.
    pub(crate) fn neighbour(&self) -> Self {
        Self { home: folder(), lan_port: self.lan_port }
    }

    /// The home and data folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command line that touches nothing outside of this test: loopback only, free ports.
    pub(crate) fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Command {
        let mut command = Command::new(program());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HARDLINE_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.home())
            .env("HOME", self.home())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("NOTIFY_SOCKET")
            .env("HARDLINE_DATA_DIR", self.home())
            .env("HARDLINE_GATEWAY_PORT", "0")
            .env("HARDLINE_P2P_PORT", "0")
            .env("HARDLINE_P2P_BIND", "127.0.0.1")
            .env("HARDLINE_LAN_PORT", self.lan_port.to_string())
            .env("HARDLINE_LAN_BIND", "127.0.0.1")
            .env("HARDLINE_DHT_ENABLED", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub(crate) fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Outcome {
        let output = self.command(arguments).output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts with `--json` and waits until it is ready.
    #[track_caller]
    pub(crate) fn start<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Running {
        let mut command = self.command(arguments);
        command.arg("--json");
        Running::start(command)
    }
}

/// A program that runs on; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    stderr: Option<std::thread::JoinHandle<String>>,
    /// Its first line.
    pub(crate) ready: Value,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        });
        let mut running = Self { child, lines, stderr: Some(stderr), ready: Value::Null };
        match running.lines.recv_timeout(PATIENCE) {
            Ok(line) => running.ready = serde_json::from_str(&line).unwrap(),
            Err(err) => panic!("not ready: {err}; {}", running.stderr.take().unwrap().join().unwrap()),
        }
        assert_eq!(running.ready["event"], "ready");
        running
    }

    /// The next object on stdout for which `is_wanted`.
    #[track_caller]
    pub(crate) fn event(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())).expect("an event");
            let event = serde_json::from_str(&line).unwrap();
            if is_wanted(&event) {
                return event;
            }
        }
    }

    /// Writes a line to its stdin, which the command has to pipe.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "{line}").unwrap();
    }

    /// Ends its stdin.
    pub(crate) fn hang_up(&mut self) {
        self.child.stdin = None;
    }

    /// Ends it without notice.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The gateway's first address.
    #[track_caller]
    pub(crate) fn gateway(&self) -> SocketAddr {
        self.ready["gateway"][0].as_str().expect("a gateway").parse().unwrap()
    }

    /// The address for other computers.
    #[track_caller]
    pub(crate) fn p2p(&self) -> String {
        self.ready["p2p"][0].as_str().expect("a P2P port").to_owned()
    }

    /// The link of the only service.
    #[track_caller]
    pub(crate) fn link(&self) -> String {
        self.ready["services"][0]["link"].as_str().expect("a link").to_owned()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end. Returns the status, what was left on stdout, and stderr.
    #[track_caller]
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>, String) {
        let end = Instant::now() + PATIENCE;
        let mut rest = Vec::new();
        // stdout ends with the process.
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            rest.push(line);
        }
        assert!(Instant::now() < end, "it goes on");
        let status = self.child.wait().unwrap();
        (status, rest, self.stderr.take().unwrap().join().unwrap())
    }

    /// Asks it to stop and waits for the end.
    #[track_caller]
    pub(crate) fn stop(self) -> (ExitStatus, Vec<String>, String) {
        self.signal(Signal::TERM);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A program to publish: for every connection one thread that runs `serve`. Ends with the test.
pub(crate) fn backend(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = std::sync::Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = std::sync::Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A web server that answers everything with `body`.
pub(crate) fn web_server(body: &'static str) -> u16 {
    backend(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
            line.clear();
        }
        let length = body.len();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    })
}

/// Reads to the end, then answers with all of it and its length: works only where half-close does.
pub(crate) fn echo_at_the_end() -> u16 {
    backend(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let _ = stream.write_all(&all);
        let _ = write!(stream, "{} bytes", all.len());
    })
}

/// GET of `link` through the gateway at `gateway`, as a browser sends it. Returns the whole answer.
pub(crate) fn get(gateway: SocketAddr, link: &str) -> String {
    let host = link.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The key hash of a link without a password.
pub(crate) fn key_of(link: &str) -> &str {
    link.strip_prefix("http://").unwrap().split('.').next().unwrap()
}

/// Compares a generated file with what lies in the repository. With `HARDLINE_UPDATE=1` in the
/// environment it is written instead.
pub(crate) fn expect_current(path: &Path, text: &str) {
    if std::env::var_os("HARDLINE_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "{} is out of date: run HARDLINE_UPDATE=1 cargo test -p hardline", path.display());
}
