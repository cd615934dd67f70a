//! The signature. Android updates an app only by one that the same key has signed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::MIN_SDK;
use crate::steps::run;

/// Names a key store (PKCS #12 or JKS), and its password.
const KEY: &str = "HARDLINE_ANDROID_KEY";
const PASSWORD: &str = "HARDLINE_ANDROID_KEY_PASSWORD";

/// Of a key that is made here: who can read its file can sign.
const MADE_PASSWORD: &str = "hardline";

/// A key store and what opens it.
pub(super) struct Key {
    store: PathBuf,
    password: String,
}

impl Key {
    /// The one that the environment names, else one that is made, and kept there.
    ///
    /// # Errors
    /// If there is a key without a password, or none can be made.
    pub(super) fn given_or_made(at: &Path) -> Result<Self> {
        match std::env::var_os(KEY) {
            Some(store) => {
                let password = std::env::var(PASSWORD).with_context(|| format!("{KEY} is set, {PASSWORD} is not"))?;
                Ok(Self { store: store.into(), password })
            }
            None => Self::made(at),
        }
    }

    /// One that was made here before, or is made now.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn made(at: &Path) -> Result<Self> {
        let key = Self { store: at.to_owned(), password: MADE_PASSWORD.to_owned() };
        if at.exists() {
            println!("Signed with the key in {}, which was made here.", at.display());
            return Ok(key);
        }
        println!("{KEY} names no key, so one is made: {}. Keep it: without it,", at.display());
        println!("whoever has installed the app has to remove it before the next version.");
        let mut keytool = Command::new("keytool");
        keytool.args(["-genkeypair", "-storetype", "PKCS12", "-storepass:env", PASSWORD, "-alias", "hardline"]);
        keytool.args(["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "10000", "-dname", "CN=Hardline"]);
        run(keytool.arg("-keystore").arg(at).env(PASSWORD, &key.password))?;
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o600))?;
        Ok(key)
    }
}

/// Signs by schemes 2 and 3; the first one is for phones older than any that the app runs on.
///
/// # Errors
/// If the key cannot be used.
pub(super) fn sign(unsigned: &Path, signed: &Path, key: &Key) -> Result<()> {
    let mut command = Command::new("apksigner");
    command.arg("sign").arg("--ks").arg(&key.store).args(["--ks-pass", &format!("env:{PASSWORD}")]);
    for (scheme, on) in [("v1", "false"), ("v2", "true"), ("v3", "true"), ("v4", "false")] {
        command.args([format!("--{scheme}-signing-enabled"), on.to_owned()]);
    }
    command.args(["--min-sdk-version", &MIN_SDK.to_string(), "--out"]).arg(signed).arg(unsigned);
    run(command.env(PASSWORD, &key.password))
}

/// Looks at both signatures, and that the table of resources lies where it has to.
///
/// # Errors
/// If one is missing or wrong.
pub(super) fn verify(path: &Path) -> Result<()> {
    run(Command::new("zipalign").args(["-c", "4"]).arg(path))?;
    // Newer phones look at scheme 3 alone: the other is seen as an older one would.
    for (from, to, scheme) in [(MIN_SDK, super::TARGET_SDK, "v3"), (24, 27, "v2")] {
        let mut command = Command::new("apksigner");
        command.args(["verify", "--verbose", "--min-sdk-version", &from.to_string()]);
        command.args(["--max-sdk-version", &to.to_string()]).arg(path);
        let output = command.output().context("starting apksigner")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let is_verified =
            text.lines().any(|line| line.starts_with(&format!("Verified using {scheme} ")) && line.ends_with(": true"));
        if !output.status.success() || !is_verified {
            bail!("{}: {scheme} is not verified: {text}{}", path.display(), String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(())
}
