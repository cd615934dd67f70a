//! A service of ours with something behind it, and opening it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::helper::Backend;
use crate::network::Host;
use crate::product::{Hardline, hardline_program};

/// A service that our program publishes, and the web server behind it.
#[derive(Debug)]
pub struct Service {
    /// Its key hash.
    pub key: String,
    /// The program that publishes it.
    pub program: Hardline,
    /// What it shows.
    pub backend: Backend,
}

impl Host {
    /// Publishes a web server with known answers by `hardline share`.
    pub fn service(&self, options: &[&str]) -> Result<Service> {
        self.service_by(hardline_program()?, options)
    }

    /// The same, with another build of the program.
    pub fn service_by(&self, program: &Path, options: &[&str]) -> Result<Service> {
        let backend = self.backend("127.0.0.1:0")?;
        let target = backend.address.port().to_string();
        Service::new(self.hardline_build(program, &[&["share", &target], options].concat())?, backend)
    }

    /// The same, with the identity in `certificate`, which is made when absent.
    pub fn service_with_identity(&self, certificate: &Path, options: &[&str]) -> Result<Service> {
        let backend = self.backend("127.0.0.1:0")?;
        let (port, certificate) = (backend.address.port().to_string(), certificate.to_string_lossy());
        let flags = ["--service", "127.0.0.1", "--serviceport", &port, "--certfile", &certificate];
        Service::new(self.hardline(&[&flags, options].concat())?, backend)
    }

    /// Starts our program as a gateway alone, in the data folder `folder`.
    pub fn gateway(&self, folder: &str, options: &[&str]) -> Result<Hardline> {
        self.hardline(&[&["--data-dir", folder], options].concat())
    }

    /// Opens a service through this host's gateway, as a browser does, and tells the time from the
    /// start of the connection to the answer's first byte.
    ///
    /// # Errors
    /// If anything but the service's own answer comes back.
    pub fn first_byte(&self, gateway: &Hardline, key: &str) -> Result<Duration> {
        let (header, url) = (format!("Host: {key}.localhost:7009"), format!("http://{}/slow/0", gateway.gateway()?));
        let said = self.curl(&["--header", &header, "--write-out", "\n%{http_code} %{time_starttransfer}", &url])?;
        let (body, rest) = said.stdout.rsplit_once('\n').with_context(|| format!("no answer: {}", said.stderr))?;
        let (code, seconds) = rest.split_once(' ').context("a code and a time")?;
        ensure!(code == "200" && body == "slow", "{code} after {seconds} s: {body:.2000}\n{}", said.stderr);
        Ok(Duration::from_secs_f64(seconds.parse()?))
    }
}

impl Service {
    fn new(program: Hardline, backend: Backend) -> Result<Self> {
        let key = program.ready["services"][0]["key"].as_str().context("a key")?.to_owned();
        Ok(Self { key, program, backend })
    }

    /// Opens the service's link in a gateway, at the first try, and compares every byte of what it
    /// answers.
    pub fn opens_at(&self, gateway: &Hardline, host: &Host) -> Result<()> {
        let at: SocketAddr = gateway.gateway()?;
        host.check_site(at, &format!("{}.localhost", self.key), &["get:1000"])
    }
}
