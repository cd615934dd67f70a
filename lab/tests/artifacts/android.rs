//! The program as an app of Android runs it: an empty root without `/proc` and `/etc`, no
//! environment, netlink refused, a list of system calls, networks told on stdin. The processor is
//! this machine's, and the kernel no phone's.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{EVERY_CHECK, Hardline, Host, Lab, Process, artifact, helper, is_long};

const PROGRAM: &str = "x86_64-unknown-linux-musl/hardline";

/// The calls that an app may make.
const CALLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/artifacts/android_calls.txt");

/// The signal that ends who makes another one.
const SIGSYS: i32 = 31;

/// The LAN's group, in `hardline_proto::lan`.
const GROUP: &str = "239.192.152.143";

const PATIENCE: Duration = Duration::from_secs(60);

/// A running program, and what the app has for its stdin.
struct App {
    program: Hardline,
    stdin: File,
}

impl App {
    fn start(phone: &Host) -> Result<Self> {
        let (process, stdin) = spawn(phone, Path::new(CALLS))?;
        Ok(Self { program: Hardline::started(process)?, stdin })
    }

    fn gateway(&self) -> Result<SocketAddr> {
        let port = self.program.ready["port"].as_u64().context("a port")?;
        Ok((Ipv4Addr::LOCALHOST, u16::try_from(port)?).into())
    }

    fn tell(&mut self, event: &str) -> Result<()> {
        Ok(writeln!(self.stdin, "{event}")?)
    }

    /// The phone is in this network alone from now on.
    fn move_to(&mut self, interface: &str, address: &str) -> Result<()> {
        self.tell(&format!(
            "{{\"v\":1,\"event\":\"networks\",\"networks\":[{{\"name\":\"{interface}\",\"transport\":\"wifi\",\
             \"addresses\":[\"{address}\"],\"multicast\":true}}]}}"
        ))
    }

    /// Asks until nothing is connected.
    fn rest(&mut self) -> Result<()> {
        self.tell(r#"{"v":1,"event":"doze","on":true}"#)?;
        let end = Instant::now() + PATIENCE;
        while self.status()? != "services 0 tunnels 0" {
            ensure!(Instant::now() < end, "a session stays");
        }
        self.tell(r#"{"v":1,"event":"doze","on":false}"#)
    }

    fn status(&mut self) -> Result<String> {
        let answers = |lines: &[String]| lines.iter().filter(|line| line.contains(r#""status""#)).count();
        let before = answers(&self.program.process.stdout());
        self.tell(r#"{"v":1,"event":"status"}"#)?;
        let end = Instant::now() + PATIENCE;
        loop {
            let said = self.program.process.stdout();
            if answers(&said) > before {
                let last = said.iter().rfind(|line| line.contains(r#""status""#)).context("an answer")?;
                let status: serde_json::Value = serde_json::from_str(last)?;
                return Ok(format!("services {} tunnels {}", status["services"], status["tunnels"]));
            }
            ensure!(Instant::now() < end, "no answer to a question for the status");
            sleep(Duration::from_millis(5));
        }
    }
}

/// Starts the program with its own root, and a pipe as stdin.
fn spawn(phone: &Host, calls: &Path) -> Result<(Process, File)> {
    let root = phone.home().join("root");
    std::fs::create_dir_all(&root)?;
    std::fs::copy(artifact(PROGRAM)?, root.join("hardline"))?;
    let input: PathBuf = phone.home().join("stdin");
    phone.run("mkfifo", &[input.to_str().context("a path")?])?.success()?;
    let mut command = phone.command(helper()?);
    command.arg("app").arg(&root).arg(calls).arg(&input).args(["--mobile", "--data-dir", "/data"]);
    let process = phone.spawn("the program of an app", &mut command)?;
    // Waits until the other end is open.
    let stdin = File::options().write(true).open(&input).context("the program's stdin")?;
    Ok((process, stdin))
}

/// No packets of the kernel's own: those of IPv6 come when it likes.
fn without_ipv6(phone: &Host, interface: &str) -> Result<()> {
    let switch = format!("echo 1 > /proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    phone.run("sh", &["-c", &switch])?.success().map(drop)
}

fn is_member(phone: &Host, interface: &str) -> Result<bool> {
    Ok(phone.run("ip", &["maddress", "show", "dev", interface])?.success()?.stdout.contains(GROUP))
}

/// Waits until the group has been left.
fn until_left(phone: &Host, interface: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while is_member(phone, interface)? {
        ensure!(Instant::now() < end, "still a member of {GROUP}");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn an_app_opens_a_service_in_two_networks_and_sends_nothing_at_rest() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_home, [alice, phone]) = lab.lan(["alice", "phone"])?;
    let office = lab.switch("office")?;
    without_ipv6(&phone, "eth0")?;
    let service = alice.service(&[])?;
    let name = service.program.service_name()?;
    ensure!(is_member(&alice, "eth0")?, "who shares is asked by the group");
    let mut app = App::start(&phone)?;
    app.move_to("eth0", "192.168.77.2/24")?;
    phone.check_site(app.gateway()?, &name, EVERY_CHECK)?;
    app.rest()?;
    sends_nothing(&phone, "eth0", &mut app)?;

    // Both meet again elsewhere.
    phone.detach("eth0")?;
    app.tell(r#"{"v":1,"event":"networks","networks":[]}"#)?;
    alice.detach("eth0")?;
    alice.attach(&office, "eth1", &["192.168.78.1/24"])?;
    phone.attach(&office, "eth1", &["192.168.78.2/24"])?;
    without_ipv6(&phone, "eth1")?;
    app.move_to("eth1", "192.168.78.2/24")?;
    phone.check_site(app.gateway()?, &name, EVERY_CHECK)?;
    drop(app.stdin);
    ensure!(app.program.process.wait(PATIENCE)?.success(), "it ends when the app is gone");
    Ok(())
}

fn sends_nothing(phone: &Host, interface: &str, app: &mut App) -> Result<()> {
    until_left(phone, interface)?;
    phone.count_sent(4222)?;
    let end = Instant::now() + Duration::from_secs(if is_long() { 900 } else { 10 });
    while Instant::now() < end {
        // What the app asks costs no packet either.
        app.status()?;
        ensure!(!is_member(phone, interface)?, "joined {GROUP} without a search");
        sleep(Duration::from_secs(1));
    }
    let sent = phone.sent_in_all()?;
    ensure!(sent.packets == 0, "{sent:?}");
    Ok(())
}

/// That the list bites: without one of its calls the program does not even start.
#[test]
fn a_call_that_is_not_in_the_list_ends_the_program() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let phone = lab.host("phone")?;
    let fewer = phone.home().join("calls");
    let calls = std::fs::read_to_string(CALLS)?;
    std::fs::write(&fewer, calls.replace("\nepoll_create1\n", "\n"))?;
    let (mut process, _stdin) = spawn(&phone, &fewer)?;
    assert_eq!(process.wait(PATIENCE)?.signal(), Some(SIGSYS));
    Ok(())
}
