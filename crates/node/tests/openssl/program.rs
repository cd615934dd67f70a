//! The program itself, as maker, client and server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use hardline_node::proto::KeyHash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};

const MISSING: &str = "the program `openssl` is needed: apt-get install openssl";

/// Both versions the protocol knows, as the program's flags.
pub(crate) const TLS_VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// Runs `openssl` in `folder` and returns what it prints. Arguments are parted at spaces.
#[track_caller]
pub(crate) fn openssl(folder: &Path, arguments: &str) -> Vec<u8> {
    try_openssl(folder, arguments).unwrap_or_else(|said| panic!("openssl {arguments}: {said}"))
}

/// The same; what it complains of when it fails.
pub(crate) fn try_openssl(folder: &Path, arguments: &str) -> Result<Vec<u8>, String> {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect(MISSING);
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// `openssl s_client` or `s_server`, its standard error thrown in with its output. Ended when
/// dropped.
pub(crate) struct Peer {
    _process: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// All it has printed so far.
    pub(crate) printed: String,
    /// How much of that has been waited for.
    seen: usize,
}

impl Peer {
    /// A client of `addr` that asks for `name`, all names if there is none.
    pub(crate) fn client(addr: SocketAddr, name: Option<&str>, flags: &str) -> Self {
        Self::client_with_commands(addr, name, &format!("-quiet {flags}"))
    }

    /// The same, talkative; lines that begin with `k`, `K`, `Q` or `R` are commands to it.
    pub(crate) fn client_with_commands(addr: SocketAddr, name: Option<&str>, flags: &str) -> Self {
        let name = name.map_or("-noservername".to_owned(), |name| format!("-servername {name}"));
        Self::start(&format!("s_client -connect {addr} {name} {flags}"))
    }

    /// A server of one connection, on a free port, once it listens.
    pub(crate) async fn server(flags: &str) -> (Self, SocketAddr) {
        let mut server = Self::start(&format!("s_server -accept 127.0.0.1:0 -naccept 1 {flags}"));
        server.read_until("ACCEPT 127.0.0.1:").await;
        server.read_until("\n").await;
        let line = server.printed.lines().find_map(|line| line.strip_prefix("ACCEPT ")).unwrap();
        let addr = line.parse().unwrap();
        (server, addr)
    }

    fn start(arguments: &str) -> Self {
        let mut process = tokio::process::Command::new("sh")
            .args(["-c", "exec openssl \"$@\" 2>&1", "openssl"])
            .args(arguments.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect(MISSING);
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { _process: process, input, output, printed: String::new(), seen: 0 }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `text` appears behind the text waited for before. Panics when the program ends
    /// without.
    pub(crate) async fn read_until(&mut self, text: &str) {
        loop {
            if let Some(at) = self.printed[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let mut bytes = [0; 4096];
            let length = self.output.read(&mut bytes).await.unwrap();
            assert_ne!(length, 0, "openssl ended without {text:?}: {}", self.printed);
            self.printed += &String::from_utf8_lossy(&bytes[..length]);
        }
    }

    /// Closes its input and reads to its end: that of its one connection.
    pub(crate) async fn finish(mut self) -> String {
        drop(self.input);
        let mut rest = Vec::new();
        self.output.read_to_end(&mut rest).await.unwrap();
        self.printed + &String::from_utf8_lossy(&rest)
    }
}

/// The key hash of a certificate, from the DER that OpenSSL makes of it.
pub(crate) fn key_hash(certificate: &Path) -> KeyHash {
    let folder = certificate.parent().unwrap();
    KeyHash::of_certificate(&openssl(folder, &format!("x509 -in {} -outform DER", certificate.display())))
}
