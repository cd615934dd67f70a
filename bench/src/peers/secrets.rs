//! Certificates and keys for those that need some made beforehand: ECDSA P-256, as Hardline's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Name in the certificate, for those that look at it.
pub(super) const NAME: &str = "bench.test";

/// Password of the PKCS#12 file, which cannot do without.
pub(super) const PASSWORD: &str = "bench";

/// Files, and rathole's own kind of keys.
pub(super) struct Secrets {
    /// Certificate, PEM.
    pub(super) certificate: PathBuf,
    /// Certificate and key in one, PEM.
    pub(super) combined: PathBuf,
    /// The same as PKCS#12.
    pub(super) pkcs12: PathBuf,
}

impl Secrets {
    /// Makes them with OpenSSL.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let path = |name: &str| folder.join(name);
        let (key, certificate) = (path("key.pem"), path("certificate.pem"));
        let (combined, pkcs12) = (path("combined.pem"), path("identity.p12"));
        let subject = format!("/CN={NAME}");
        let names = format!("subjectAltName=DNS:{NAME}");
        let mut request = Command::new("openssl");
        request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]);
        request.args(["-subj", &subject, "-addext", &names, "-keyout"]).arg(&key).arg("-out").arg(&certificate);
        run(&mut request)?;
        let mut export = Command::new("openssl");
        export.args(["pkcs12", "-export", "-passout", &format!("pass:{PASSWORD}"), "-inkey"]).arg(&key);
        run(export.arg("-in").arg(&certificate).arg("-out").arg(&pkcs12))?;
        let both = [std::fs::read(&certificate)?, std::fs::read(&key)?].concat();
        std::fs::write(&combined, both)?;
        Ok(Self { certificate, combined, pkcs12 })
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
