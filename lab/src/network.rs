//! Computers and switches.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::helper::helper;
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
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.namespace.command(program);
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
    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<Output> {
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

    /// Plugs a new interface into the switch and gives it these addresses (`192.168.77.1/24`,
    /// `fd77::1/64`).
    pub fn attach(&self, switch: &Switch, interface: &str, addresses: &[&str]) -> Result<()> {
        switch.plug(&self.namespace, interface)?;
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
    pub(crate) namespace: Namespace,
    ports: Cell<u32>,
    /// Time a frame needs between a computer and the switch.
    pub(crate) delay: Duration,
    /// The cables of that length.
    cables: RefCell<Vec<Process>>,
    /// Whether the ports see the switch alone and not each other.
    pub(crate) is_isolating: bool,
    /// The STUN server of an internet, once somebody needs it.
    pub(crate) stun: OnceCell<Process>,
}

impl Switch {
    pub(crate) fn new(namespace: String) -> Result<Self> {
        let namespace = Namespace::new(namespace)?;
        namespace.ip("link add br0 type bridge forward_delay 0")?;
        namespace.ip("link set br0 up")?;
        let (ports, cables) = (Cell::default(), RefCell::default());
        Ok(Self { namespace, ports, delay: Duration::ZERO, cables, is_isolating: false, stun: OnceCell::new() })
    }

    /// Makes an interface of `host` that ends in a port of this switch.
    fn plug(&self, host: &Namespace, interface: &str) -> Result<()> {
        let number = self.ports.replace(self.ports.get() + 1);
        let port = format!("port{number}");
        if self.delay.is_zero() {
            let (host, own) = (&host.0, &self.namespace.0);
            run_ip(&["link", "add", interface, "netns", host, "type", "veth", "peer", "name", &port, "netns", own])?;
        } else {
            self.lay_cable(host, interface, &port, &format!("far{number}"))?;
        }
        self.namespace.ip(&format!("link set {port} master br0 up"))?;
        if self.is_isolating {
            self.namespace.ip(&format!("link set {port} type bridge_slave isolated on"))?;
        }
        Ok(())
    }

    fn lay_cable(&self, host: &Namespace, interface: &str, port: &str, far: &str) -> Result<()> {
        let mut command = self.namespace.command(helper()?);
        command.args(["delay", port, far, &self.delay.as_micros().to_string()]);
        let cable = Process::spawn(&format!("cable of {interface}"), &mut command)?;
        cable.wait_for_line("ready")?;
        self.cables.borrow_mut().push(cable);
        self.namespace.ip(&format!("link set {far} netns {} name {interface}", host.0))
    }
}

/// A network namespace, deleted on drop with all that runs in it.
#[derive(Debug)]
pub(crate) struct Namespace(String);

impl Namespace {
    fn new(name: String) -> Result<Self> {
        run_ip(&["netns", "add", &name])?;
        let namespace = Self(name);
        // Frames between two ports of a bridge are no business of the packet filter's; and without
        // duplicate address detection IPv6 addresses are usable at once.
        namespace.sh(
            "for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -w $f ] || echo 0 > $f; done; \
                      echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad; \
                      echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad",
        )?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs a script in this namespace, which must succeed.
    pub(crate) fn sh(&self, script: &str) -> Result<()> {
        run_ip(&["netns", "exec", &self.0, "sh", "-ec", script])
    }

    /// A command that runs in this namespace.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    /// Runs `ip` with these words in this namespace.
    pub(crate) fn ip(&self, words: &str) -> Result<()> {
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
