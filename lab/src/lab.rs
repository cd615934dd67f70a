//! One test's world, and whether this machine can have one.

use std::cell::Cell;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::leftovers;
use crate::network::{Host, Switch};

/// Set to anything, a machine that cannot do network namespaces fails the tests instead of skipping
/// them.
pub const REQUIRED: &str = "HARDLINE_LAB_REQUIRED";

/// One test's world. Hosts and switches made from it keep working for as long as they live
/// themselves.
#[derive(Debug)]
pub struct Lab {
    dir: TempDir,
    prefix: String,
    made: Cell<u32>,
}

impl Lab {
    /// Opens an empty world; `None` where this machine cannot do network namespaces, which is said
    /// on stderr.
    ///
    /// # Errors
    /// When namespaces are not to be had but [`REQUIRED`] is set, or the temporary folder cannot be
    /// made.
    pub fn open() -> Result<Option<Self>> {
        static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
        if let Some(obstacle) = OBSTACLE.get_or_init(|| namespaces_work().err().map(|err| format!("{err:#}"))) {
            skip("no network namespaces here", obstacle)?;
            return Ok(None);
        }
        let prefix = leftovers::own_prefix()?;
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir().context("making the lab's folder")?;
        // The random end of the folder's name tells this lab's namespaces from those of the next
        // test in this process.
        let prefix = dir.path().file_name().and_then(|name| name.to_str()).context("a folder's name")?.to_owned();
        Ok(Some(Self { dir, prefix, made: Cell::new(0) }))
    }

    /// Whether programs can become other users, which a root of its own namespace alone cannot have
    /// them do; said on stderr where not.
    ///
    /// # Errors
    /// Where not, when [`REQUIRED`] is set.
    pub fn has_users(&self) -> Result<bool> {
        let map = std::fs::read_to_string("/proc/self/uid_map").context("the users of this namespace")?;
        let has_users = map.split_whitespace().nth(2) != Some("1");
        if !has_users {
            skip("no other users here", "root of a namespace of its own alone")?;
        }
        Ok(has_users)
    }

    /// A computer with nothing but loopback.
    pub fn host(&self, name: &str) -> Result<Host> {
        let home = self.dir.path().join(name);
        std::fs::create_dir(&home).with_context(|| format!("making the home of host {name}"))?;
        Host::new(self.namespace_name(name), name, home)
    }

    /// An Ethernet switch without computers.
    pub fn switch(&self, name: &str) -> Result<Switch> {
        Switch::new(self.namespace_name(name))
    }

    /// Computers on one switch: `eth0` of the first is 192.168.77.1/24, of the next 192.168.77.2/24
    /// and so on, with IPv6 in fd77::/64 likewise, and a default route that leads nowhere.
    pub fn lan<const N: usize>(&self, names: [&str; N]) -> Result<(Switch, [Host; N])> {
        let switch = self.switch("switch")?;
        let mut hosts = Vec::with_capacity(N);
        for (number, name) in (1..).zip(names) {
            let host = self.host(name)?;
            host.attach(&switch, "eth0", &[&format!("192.168.77.{number}/24"), &format!("fd77::{number}/64")])?;
            host.ip("route add default dev eth0")?;
            hosts.push(host);
        }
        let hosts = hosts.try_into().ok().context("as many hosts as names")?;
        Ok((switch, hosts))
    }

    /// One computer on a LAN of its own (192.168.77.1), for peers that need to see one.
    pub fn lone_host(&self, name: &str) -> Result<(Switch, Host)> {
        let (switch, [host]) = self.lan([name])?;
        Ok((switch, host))
    }

    /// A folder of this lab, gone with it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn namespace_name(&self, name: &str) -> String {
        let number = self.made.get();
        self.made.set(number + 1);
        format!("{}-{number}-{name}", self.prefix)
    }
}

/// Whether the tests may take minutes (`cargo xtask test --long`).
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os("HARDLINE_LAB_LONG").is_some()
}

/// Says which test is skipped, and adds a line to the file named by `HARDLINE_LAB_SKIPPED`, if any;
/// an error when [`REQUIRED`] is set.
fn skip(what: &str, obstacle: &str) -> Result<()> {
    if std::env::var_os(REQUIRED).is_some() {
        bail!("{what}: {obstacle}");
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED {test}: {what}: {obstacle}\n");
    // Not `eprintln!`: the test harness swallows that when the test passes.
    std::io::stderr().write_all(line.as_bytes())?;
    if let Some(list) = std::env::var_os("HARDLINE_LAB_SKIPPED") {
        std::fs::OpenOptions::new().create(true).append(true).open(list)?.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// Clears away what killed runs left, then tries the real thing: a namespace with a bridge in it.
fn namespaces_work() -> Result<()> {
    leftovers::remove()?;
    let name = format!("{}probe", leftovers::own_prefix()?);
    run_ip(&["netns", "add", &name])?;
    let outcome = run_ip(&["-n", &name, "link", "add", "br0", "type", "bridge"]);
    run_ip(&["netns", "delete", &name])?;
    outcome
}

/// Runs `ip` with these words.
pub(crate) fn run_ip(words: &[&str]) -> Result<()> {
    let shown = || format!("ip {}", words.join(" "));
    let output = Command::new("ip").args(words).output().with_context(shown)?;
    if !output.status.success() {
        bail!("{}: {}", shown(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
