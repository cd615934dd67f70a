//! The released Python program, in virtual environments of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::network::Host;
use crate::process::{Process, run};

/// A release of the Python program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 0.0.12 of January 2021, the oldest that works with the text it came with.
    First,
    /// 0.21.1, the last.
    Last,
}

/// A running Python server.
#[derive(Debug)]
pub struct PythonServer {
    /// Its service's name: a password, `-` and the key hash.
    pub name: String,
    /// The process.
    pub process: Process,
}

impl Host {
    /// Starts a Python server for `backend`, listening for peers at `p2p_port`, and waits until it
    /// is ready.
    ///
    /// The certificate is `service.cert` in the host's home, made when absent, with a password of
    /// the program's making.
    pub fn python_server(&self, release: Release, p2p_port: u16, backend: SocketAddr) -> Result<PythonServer> {
        let certificate = self.home().join("service.cert");
        let (host, port) = (backend.ip().to_string(), backend.port().to_string());
        let mut command = self.python(release)?;
        // A server without a gateway port never accepts anything; so it gets one that nobody uses.
        command.args(["server", "7010", &p2p_port.to_string()]).arg(certificate).args([
            &host,
            &port,
            "A Python service",
        ]);
        let process = self.spawn(&format!("python {} server", release.version()), &mut command)?;
        let name = process.wait_for("ready", |line| line.strip_prefix("ready ").map(str::to_owned))?;
        Ok(PythonServer { name, process })
    }

    /// Starts a Python client whose gateway is 127.0.0.1:7009, and waits until it is ready.
    pub fn python_client(&self, release: Release) -> Result<Process> {
        let label = format!("python {} client", release.version());
        let process = self.spawn(&label, self.python(release)?.args(["client", "7009"]))?;
        process.wait_for_line("ready -")?;
        Ok(process)
    }

    /// Starts a Python program that browses the LAN and prints `found HASH TITLE` for each service.
    pub fn python_browser(&self, release: Release) -> Result<Process> {
        self.spawn(&format!("python {} browser", release.version()), self.python(release)?.arg("browse"))
    }

    /// Has every Python program started on this host from now on use this proxy of the DHT.
    pub fn use_dht_proxy(&self, proxy: &str) -> Result<()> {
        let folder = self.home().join(".hardlinep2p");
        fs::create_dir_all(&folder)?;
        // It puts the key behind the URL as it is. Where number 3 is missing it sets number 2 to
        // one of the internet's.
        let settings = format!("[DHTProxy]\nserver1 = \"{proxy}/key/\"\nserver3 = \"{proxy}/key/\"\n");
        Ok(fs::write(folder.join("settings.toml"), settings)?)
    }

    fn python(&self, release: Release) -> Result<Command> {
        let environment = release.environment()?;
        let mut command = self.command(environment.join("bin/python"));
        command.args(["-u", concat!(env!("CARGO_MANIFEST_DIR"), "/python/peer.py")]);
        release.prepare(&environment, &mut command)?;
        Ok(command)
    }
}

impl Release {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Last];

    /// The number it was released under.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::First => "0.0.12",
            Self::Last => "0.21.1",
        }
    }

    /// The virtual environment, made when absent.
    fn environment(self) -> Result<PathBuf> {
        // (Importing the release itself would start its threads.)
        let check = format!(
            "import importlib.metadata, nacl.bindings, requests, lxml.etree, OpenSSL.crypto, ifaddr; \
             assert importlib.metadata.version('hardline') == '{}'",
            self.version()
        );
        environment(&format!("python-{}", self.version()), &check, &format!("requirements-{}.txt", self.version()))
    }

    /// What the release needs in its environment variables.
    fn prepare(self, environment: &Path, command: &mut Command) -> Result<()> {
        command.env_remove("PYTHONPATH");
        if self == Self::First {
            // It imports a file beside it as if that stood on the path.
            command.env("PYTHONPATH", site_packages(environment)?.join("hardline"));
        }
        Ok(())
    }
}

/// A virtual environment under cargo's target folder, with the packages of `requirements`; made
/// when absent, and anew when the program `check` does not run in it.
pub(crate) fn environment(name: &str, check: &str, requirements: &str) -> Result<PathBuf> {
    let (environment, _lock) = claim(name)?;
    let mut command = Command::new(environment.join("bin/python"));
    command.env_remove("PYTHONPATH").args(["-c", check]);
    if !command.output().is_ok_and(|output| output.status.success()) {
        install(&environment, requirements).with_context(|| format!("installing {requirements}"))?;
    }
    Ok(environment)
}

/// A place for installed things under cargo's target folder, whether there or not, and the lock
/// that keeps others from installing them at the same time.
pub(crate) fn claim(name: &str) -> Result<(PathBuf, File)> {
    let build = crate::helper::build_folder()?;
    let folder = build.parent().context("cargo's target folder")?.join("lab");
    fs::create_dir_all(&folder)?;
    // One at a time, also among several test programs.
    let lock = File::create(folder.join(format!("{name}.lock")))?;
    lock.lock()?;
    Ok((folder.join(name), lock))
}

fn install(environment: &Path, requirements: &str) -> Result<()> {
    if environment.exists() {
        fs::remove_dir_all(environment)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(environment))?.success()?;
    let requirements = format!("{}/python/{requirements}", env!("CARGO_MANIFEST_DIR"));
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--requirement"]);
    run(pip.arg(requirements))?.success()?;
    Ok(())
}

/// `lib/python3.N/site-packages`, whichever N; an environment not made yet has none, which is no
/// error.
fn site_packages(environment: &Path) -> Result<PathBuf> {
    let library = environment.join("lib");
    let Ok(mut versions) = fs::read_dir(&library) else { return Ok(library) };
    let version = versions.next().context("an empty virtual environment")??;
    Ok(version.path().join("site-packages"))
}
