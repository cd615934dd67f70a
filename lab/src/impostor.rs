//! A neighbour that claims to be whatever is looked for.

use anyhow::{Result, ensure};

use crate::helper::helper;
use crate::network::Host;
use crate::process::Process;

/// TCP port of an impostor's TLS server.
pub const IMPOSTOR_PORT: u16 = 7008;

/// A TLS server with a certificate of its own that takes everybody and prints what it is sent.
#[derive(Debug)]
pub struct Impostor(Process);

impl Host {
    /// Starts an impostor that nobody knows of yet.
    pub fn impostor(&self) -> Result<Impostor> {
        let make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
        self.run("openssl", &[&make[..], &["-keyout", "key.pem", "-out", "cert.pem"]].concat())?.success()?;
        // It ends with its standard input.
        let serve = format!("tail -f /dev/null | openssl s_server -accept {IMPOSTOR_PORT} -cert cert.pem -key key.pem");
        let server = self.spawn("impostor", self.command("sh").args(["-c", &serve]))?;
        server.wait_for_line("ACCEPT")?;
        Ok(Impostor(server))
    }

    /// Claims on the LAN, unasked and in answer to every search, that the impostor here is the
    /// service `key`.
    pub fn lie_on_lan(&self, key: &str) -> Result<Process> {
        let liar = self.spawn("liar", self.command(helper()?).args(["liar", key, &IMPOSTOR_PORT.to_string()]))?;
        liar.wait_for_line("lying")?;
        Ok(liar)
    }
}

impl Impostor {
    /// Whether somebody dialled it and broke off.
    #[must_use]
    pub fn was_dialled(&self) -> bool {
        self.0.stdout().iter().any(|line| line.contains("ERROR"))
    }

    /// Checks that it was dialled, refused, and sent nothing.
    ///
    /// # Errors
    /// If it was sent anything that is meant for the service.
    pub fn was_refused_and_sent_nothing(&self) -> Result<()> {
        self.0.wait_for_line("ERROR")?;
        self.was_sent_nothing()
    }

    /// Checks that whoever dialled it, if anybody, sent nothing.
    ///
    /// # Errors
    /// If it was sent anything that is meant for the service.
    pub fn was_sent_nothing(&self) -> Result<()> {
        let said = self.0.stdout().join("\n");
        for secret in ["WANHosts", "password", "GET", "Host:", "localhost"] {
            ensure!(!said.contains(secret), "the impostor was sent {secret}:\n{said}");
        }
        Ok(())
    }
}
