//! The package for Debian: installed, used, upgraded and removed in one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hardline_lab::{Hardline, Host, Lab};

use crate::debian::{Debian, succeed};
use crate::packed::packed;

/// What the user of these tests shares.
const TEXT: &str = "served by the package\n";

/// The package for this machine.
fn package() -> Result<PathBuf> {
    packed("hardline_", "_amd64.deb")
}

#[test]
fn lintian_finds_no_error() -> Result<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error", "--tag-display-limit", "0"]);
    let said = succeed(lintian.arg(package()?))?;
    // What it must not do without being asked, it says in warnings.
    for tag in ["maintainer-script", "md5sums", "manpage", "systemd", "copyright"] {
        assert!(!said.contains(tag), "{said}");
    }
    Ok(())
}

#[test]
fn a_package_is_installed_used_upgraded_and_removed_without_a_trace() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    if !lab.has_users()? {
        return Ok(());
    }
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let debian = Debian::new(&lab)?;
    debian.sh(&alice, "useradd --create-home ann")?;
    let before = debian.files()?;

    install(&debian, &alice, &older(lab.dir())?)?;
    assert_eq!(debian.sh(&alice, "dpkg-query --show --showformat='${Version}' hardline")?, "0.0.1");
    assert!(debian.root().join("usr/share/doc/hardline/gone").exists());
    let mut server = share(&debian, &alice)?;
    let name = server.service_name()?;
    let client = bob.hardline(&[])?;
    assert_eq!(get(&bob, &client, &name)?, TEXT);

    // Who uses it is not interrupted by an upgrade.
    install(&debian, &alice, &package()?)?;
    assert!(!debian.root().join("usr/share/doc/hardline/gone").exists());
    assert_eq!(get(&bob, &client, &name)?, TEXT);
    assert_eq!(server.process.terminate(Duration::from_secs(40))?.code(), Some(0));
    let mut server = share(&debian, &alice)?;
    assert_eq!(server.service_name()?, name, "the key is the user's and stays");
    assert_eq!(get(&bob, &client, &name)?, TEXT);
    assert_eq!(server.process.terminate(Duration::from_secs(40))?.code(), Some(0));
    check_installed(&debian, &alice)?;

    let of_people = of_people(&debian, &alice)?;
    debian.sh(&alice, "apt-get --yes remove hardline")?;
    let expected = before.union(&of_people).cloned().collect();
    assert_eq!(debian.files()?, expected, "after remove");
    install(&debian, &alice, &package()?)?;
    debian.sh(&alice, "apt-get --yes purge hardline")?;
    assert_eq!(debian.files()?, expected, "after purge");
    Ok(())
}

fn install(debian: &Debian, host: &Host, package: &Path) -> Result<()> {
    std::fs::copy(package, debian.root().join("tmp/hardline.deb"))?;
    debian.sh(host, "dpkg --install /tmp/hardline.deb; rm /tmp/hardline.deb").map(drop)
}

/// The same as an older version, with a document that the newer one has no more.
fn older(folder: &Path) -> Result<PathBuf> {
    let (unpacked, older) = (folder.join("unpacked"), folder.join("older.deb"));
    succeed(Command::new("dpkg-deb").arg("--raw-extract").arg(package()?).arg(&unpacked))?;
    let control = unpacked.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control)?;
    let version = text.lines().find(|line| line.starts_with("Version: ")).context("a version")?;
    std::fs::write(&control, text.replace(version, "Version: 0.0.1"))?;
    std::fs::write(unpacked.join("usr/share/doc/hardline/gone"), "")?;
    succeed(Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).arg(&unpacked).arg(&older))?;
    Ok(older)
}

/// A folder of the user's, published by the installed program.
fn share(debian: &Debian, host: &Host) -> Result<Hardline> {
    let home = debian.root().join("home/ann");
    debian.sh(host, "su ann -c 'mkdir -p ~/pictures'")?;
    std::fs::write(home.join("pictures/text"), TEXT)?;
    let mut command = debian.command(host, "setpriv");
    command.args(["--reuid=ann", "--regid=ann", "--init-groups", "env", "HOME=/home/ann", "hardline", "--json"]);
    command.args(["share", "/home/ann/pictures"]);
    Hardline::started(host.spawn("installed hardline", &mut command)?)
}

fn get(host: &Host, client: &Hardline, name: &str) -> Result<String> {
    let to = format!("::{}", client.gateway()?);
    Ok(host.curl(&["--fail", "--connect-to", &to, &format!("http://{name}/text")])?.success()?.stdout)
}

/// Where a Debian's own programs look for each part.
fn check_installed(debian: &Debian, host: &Host) -> Result<()> {
    debian.sh(host, "dpkg --verify hardline")?;
    let version = debian.sh(host, "dpkg-query --show --showformat='${Version}' hardline")?;
    assert_eq!(debian.sh(host, "/usr/bin/hardline --version")?.trim(), format!("hardline {version}"));
    debian.sh(host, "bash -n /usr/share/bash-completion/completions/hardline")?;
    debian.sh(host, "zcat /usr/share/man/man1/hardline-share.1.gz | grep -q '^.TH'")?;
    debian.sh(host, "hardline --config /usr/share/doc/hardline/examples/hardline.toml config check")?;
    let root = debian.root();
    for unit in ["usr/lib/systemd/user/hardline.service", "usr/share/doc/hardline/examples/system/hardline.service"] {
        let text = std::fs::read_to_string(root.join(unit))?;
        assert!(text.lines().any(|line| line.starts_with("ExecStart=/usr/bin/hardline")), "{unit}: {text}");
    }
    Ok(())
}

/// What the user and the administrator have made with it by now, with folders.
fn of_people(debian: &Debian, host: &Host) -> Result<BTreeSet<String>> {
    debian.sh(
        host,
        "mkdir /etc/hardline; cp /usr/share/doc/hardline/examples/hardline.toml /etc/hardline/
         su ann -c 'mkdir -p ~/.config/hardline; hardline config example > ~/.config/hardline/hardline.toml'",
    )?;
    let made: BTreeSet<String> = debian
        .files()?
        .into_iter()
        .filter(|path| path.starts_with("/home/ann") || path.starts_with("/etc/hardline"))
        .collect();
    for expected in ["/home/ann/.config/hardline/hardline.toml", "/home/ann/.local/share/hardline"] {
        assert!(made.contains(expected), "{made:?}");
    }
    Ok(made)
}
