//! Computers and switches.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::lab::run_ip;
use crate::leftovers::delete_namespace;
use crate::process::{Output, Process, run};

/// A computer: a network namespace and a home folder of its own.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    name: String,
    home: PathBuf,
}

impl Host {
    pub(crate) fn new(namespace: String, name: &str, home: PathBuf) -> Result<Self> {
        Ok(Self { namespace: Namespace::new(namespace)?, name: name.to_owned(), home })
    }

    /// The name given to it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder programs on this host start in and have as `HOME`.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A command on this host, for the caller to add arguments to.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace.0]).arg(program);
        command.current_dir(&self.home).env("HOME", &self.home).env("TMPDIR", "/tmp");
        for variable in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts a program that goes on by itself. `label` names it in messages.
    pub fn spawn(&self, label: &str, command: &mut Command) -> Result<Process> {
        Process::spawn(&format!("{}/{label}", self.name), command)
    }

    /// Runs a program to its end and gives back what it printed, whatever its exit status.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Result<Output> {
        run(self.command(program).args(arguments))
    }

    /// Runs `curl` without its progress meter, with a limit of 60 s.
    pub fn curl(&self, arguments: &[&str]) -> Result<Output> {
        run(self.command("curl").args(["--silent", "--show-error", "--max-time", "60"]).args(arguments))
    }

    /// Runs `ip` with these words, which are split at spaces.
    pub fn ip(&self, words: &str) -> Result<()> {
        self.namespace.ip(words)
    }

    /// Plugs a new interface into the switch and gives it these addresses (`192.168.77.1/24`, `fd77::1/64`).
    pub fn attach(&self, switch: &Switch, interface: &str, addresses: &[&str]) -> Result<()> {
        let port = format!("port{}", switch.ports.get());
        switch.ports.set(switch.ports.get() + 1);
        let (host, other) = (&self.namespace.0, &switch.namespace.0);
        run_ip(&["link", "add", interface, "netns", host, "type", "veth", "peer", "name", &port, "netns", other])?;
        switch.namespace.ip(&format!("link set {port} master br0 up"))?;
        for address in addresses {
            self.ip(&format!("address add {address} dev {interface}"))?;
        }
        self.set_link(interface, true)
    }

    /// Pulls the plug: the interface is gone.
    pub fn detach(&self, interface: &str) -> Result<()> {
        self.ip(&format!("link delete {interface}"))
    }

    /// Sets the interface up or down.
    pub fn set_link(&self, interface: &str, up: bool) -> Result<()> {
        self.ip(&format!("link set {interface} {}", if up { "up" } else { "down" }))
    }
}

/// An Ethernet switch; multicast reaches every port.
#[derive(Debug)]
pub struct Switch {
    namespace: Namespace,
    ports: std::cell::Cell<u32>,
}

impl Switch {
    pub(crate) fn new(namespace: String) -> Result<Self> {
        let namespace = Namespace::new(namespace)?;
        namespace.ip("link add br0 type bridge forward_delay 0")?;
        namespace.ip("link set br0 up")?;
        Ok(Self { namespace, ports: std::cell::Cell::new(0) })
    }
}

/// A network namespace, deleted on drop with all that runs in it.
#[derive(Debug)]
struct Namespace(String);

impl Namespace {
    fn new(name: String) -> Result<Self> {
        run_ip(&["netns", "add", &name])?;
        let namespace = Self(name);
        // Frames between two ports of a bridge are no business of the packet filter's; and without duplicate address
        // detection IPv6 addresses are usable at once.
        let settings = "for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -w $f ] || echo 0 > $f; done; \
                        echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad; \
                        echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
        run_ip(&["netns", "exec", &namespace.0, "sh", "-ec", settings])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    fn ip(&self, words: &str) -> Result<()> {
        let mut all = vec!["-n", self.0.as_str()];
        all.extend(words.split_whitespace());
        run_ip(&all).with_context(|| format!("in {}", self.0))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(err) = delete_namespace(&self.0) {
            eprintln!("the namespace {} stays behind: {err:#}", self.0);
        }
    }
}
