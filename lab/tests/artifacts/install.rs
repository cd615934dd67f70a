//! `install.sh`, as a stranger runs it: from a web server, with each kind of shell, and with
//! everything that can go wrong.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use hardline_lab::{Host, Lab, Output, Process};

use crate::debian::succeed;
use crate::packed::packed;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/install.sh");
const TARGET: &str = "x86_64-unknown-linux-musl";

/// The tools that it may use, but for those that fetch.
const TOOLS: [&str; 19] = [
    "awk",
    "cat",
    "chmod",
    "cp",
    "env",
    "grep",
    "gzip",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "rmdir",
    "sed",
    "sh",
    "sha256sum",
    "sort",
    "tar",
    "uname",
    "id",
];

/// A folder that a web server of the host hands out.
struct Site {
    folder: PathBuf,
    url: String,
    _server: Process,
}

impl Site {
    /// With the archive for this machine, and its sum.
    fn new(lab: &Lab, host: &Host) -> Result<Self> {
        let folder = lab.dir().join("site");
        std::fs::create_dir(&folder)?;
        let archive = archive()?;
        std::fs::copy(&archive, folder.join(archive.file_name().context("a name")?))?;
        let mut command = host.command("python3");
        command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(&folder).arg("0");
        let server = host.spawn("web server", &mut command)?;
        let port =
            server.wait_for("its port", |line| Some(line.split(" port ").nth(1)?.split(' ').next()?.to_owned()))?;
        let site = Self { folder, url: format!("http://127.0.0.1:{port}/"), _server: server };
        site.write_sums()?;
        Ok(site)
    }

    /// As `cargo xtask dist` writes them.
    fn write_sums(&self) -> Result<()> {
        let sums = succeed(Command::new("sh").current_dir(&self.folder).args(["-c", "sha256sum hardline*"]))?;
        Ok(std::fs::write(self.folder.join("SHA256SUMS"), sums)?)
    }
}

fn archive() -> Result<PathBuf> {
    packed("hardline-", &format!("-{TARGET}.tar.gz"))
}

/// Somebody's computer: a home, a shell, and programs.
struct Person<'a> {
    host: &'a Host,
    shell: &'a [&'a str],
    path: String,
    url: String,
}

impl<'a> Person<'a> {
    fn new(host: &'a Host, site: &Site) -> Result<Self> {
        // With a space, since some have one.
        std::fs::create_dir_all(host.home().join("a home/.local/share/hardline"))?;
        std::fs::create_dir_all(host.home().join("a home/.config/hardline"))?;
        let path = std::env::var("PATH").context("a PATH")?;
        Ok(Self { host, shell: &["sh"], path, url: site.url.clone() })
    }

    fn home(&self) -> PathBuf {
        self.host.home().join("a home")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.host.command("env");
        command.arg("-i").arg(format!("HOME={}", self.home().display())).arg(format!("PATH={}", self.path));
        command.arg(format!("HARDLINE_URL={}", self.url)).args(words);
        command
    }

    fn script(&self, arguments: &[&str]) -> Result<Output> {
        let words = [self.shell, &[SCRIPT], arguments].concat();
        output(&mut self.command(&words))
    }

    /// Everything in the home, with the bytes of files.
    fn files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let home = self.home();
        let found = succeed(Command::new("find").current_dir(&home).args([".", "-mindepth", "1"]))?;
        let read = |path: &str| {
            let whole = home.join(path);
            let bytes = if whole.is_file() { std::fs::read(&whole)? } else { Vec::new() };
            Ok((path.to_owned(), bytes))
        };
        found.lines().map(read).collect()
    }

    /// Nothing else may have changed, and the message has these words.
    fn fails(&self, arguments: &[&str], words: &str) -> Result<()> {
        let before = self.files()?;
        let output = self.script(arguments)?;
        assert_eq!(output.status.code(), Some(1), "{words}: {output:?}");
        assert!(output.stderr.contains(words), "{words}: {output:?}");
        assert!(self.files()? == before, "{words}: the home has changed");
        Ok(())
    }

    /// Tools for the PATH: those of the list, and these.
    fn only(&mut self, more: &[&str]) -> Result<()> {
        let folder = self.host.home().join(format!("only {}", more.join(" ")));
        std::fs::create_dir_all(&folder)?;
        for tool in TOOLS.iter().chain(more) {
            let real = succeed(Command::new("sh").args(["-c", "command -v \"$1\"", "sh", tool]))?;
            symlink(real.trim(), folder.join(tool))?;
        }
        self.path = folder.display().to_string();
        Ok(())
    }
}

fn output(command: &mut Command) -> Result<Output> {
    let output = command.output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) })
}

#[test]
fn shellcheck_finds_nothing() -> Result<()> {
    succeed(Command::new("shellcheck").arg(SCRIPT)).map(drop)
}

#[test]
fn every_shell_installs_and_removes_without_a_trace() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let host = lab.host("stranger")?;
    let site = Site::new(&lab, &host)?;
    let mut person = Person::new(&host, &site)?;
    let before = person.files()?;
    for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
        person.shell = shell;
        let said = person.script(&[])?.success()?.stdout;
        assert!(said.contains("is not on your PATH"), "{said}");
        let program = person.home().join(".local/bin/hardline");
        let version = succeed(&mut person.command(&[&program.display().to_string(), "--version"]))?;
        assert!(said.contains(&format!("{} is installed", version.trim())), "{said}");
        let share = person.home().join(".local/share");
        for part in [
            "man/man1/hardline.1",
            "man/man1/hardline-share.1",
            "bash-completion/completions/hardline",
            "fish/vendor_completions.d/hardline.fish",
            "zsh/site-functions/_hardline",
        ] {
            assert!(share.join(part).is_file(), "{part}");
        }
        let unit = std::fs::read_to_string(share.join("systemd/user/hardline.service"))?;
        assert!(unit.contains("\nExecStart=%h/.local/bin/hardline\n"), "{unit}");
        person.script(&["--uninstall"])?.success()?;
        assert!(person.files()? == before, "after {shell:?}: {:?}", person.files()?.keys());
    }
    Ok(())
}

/// A computer with busybox and nothing else, as Alpine's or a router.
#[test]
fn busybox_is_enough() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let host = lab.host("router")?;
    let site = Site::new(&lab, &host)?;
    let mut person = Person::new(&host, &site)?;
    let before = person.files()?;
    let tools = host.home().join("busybox");
    std::fs::create_dir(&tools)?;
    let busybox = succeed(Command::new("sh").args(["-c", "command -v busybox"]))?;
    for applet in succeed(Command::new("busybox").arg("--list"))?.lines() {
        symlink(busybox.trim(), tools.join(applet))?;
    }
    // On the PATH this time.
    person.path = format!("{}:{}", tools.display(), person.home().join(".local/bin").display());
    let said = person.script(&[])?.success()?.stdout;
    assert!(said.contains("Try: hardline share ."), "{said}");
    person.script(&["--uninstall"])?.success()?;
    assert!(person.files()? == before);
    Ok(())
}

#[test]
fn another_version_takes_the_place_of_the_one_before() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let host = lab.host("stranger")?;
    let site = Site::new(&lab, &host)?;
    let person = Person::new(&host, &site)?;
    let before = person.files()?;
    // The same with a page that was dropped since.
    let archive = archive()?;
    let name = archive.file_name().context("a name")?.to_string_lossy().into_owned();
    let folder = name.trim_end_matches(".tar.gz");
    let unpacked = lab.dir().join("older");
    std::fs::create_dir(&unpacked)?;
    succeed(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&unpacked))?;
    std::fs::write(unpacked.join(folder).join("man/hardline-dropped.1"), "")?;
    succeed(Command::new("tar").arg("-czf").arg(site.folder.join(&name)).arg("-C").arg(&unpacked).arg(folder))?;
    site.write_sums()?;
    person.script(&[])?.success()?;
    let dropped = person.home().join(".local/share/man/man1/hardline-dropped.1");
    assert!(dropped.exists());
    // Somebody else's page comes into a folder that the script has made.
    let others = person.home().join(".local/share/man/man1/other.1");
    std::fs::write(&others, "")?;

    std::fs::copy(&archive, site.folder.join(&name))?;
    site.write_sums()?;
    person.script(&[])?.success()?;
    assert!(!dropped.exists(), "what the newer one lacks is gone");
    person.script(&["--uninstall"])?.success()?;
    assert!(others.exists(), "not the script's to remove");
    std::fs::remove_file(&others)?;
    for folder in ["man/man1", "man"] {
        std::fs::remove_dir(person.home().join(".local/share").join(folder))?;
    }
    assert!(person.files()? == before);
    Ok(())
}

#[test]
fn whatever_goes_wrong_is_said_and_changes_nothing() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let host = lab.host("stranger")?;
    let site = Site::new(&lab, &host)?;
    let mut person = Person::new(&host, &site)?;
    person.fails(&["--uninstall"], "nothing is installed here")?;
    person.url = String::new();
    person.fails(&[], "no public address yet")?;
    person.url = format!("{}nothing-here", site.url);
    person.fails(&[], "nothing-here/SHA256SUMS cannot be fetched")?;
    person.url.clone_from(&site.url);

    person.only(&[])?;
    person.fails(&[], "curl or wget is needed")?;
    person.only(&["wget"])?;
    person.script(&[])?.success()?;
    person.script(&["--uninstall"])?.success()?;
    let mine = person.home().join(".local/bin/hardline");
    std::fs::create_dir_all(mine.parent().context("a folder")?)?;
    std::fs::write(&mine, "built by hand")?;
    person.fails(&[], "was not put there by this script")?;
    std::fs::remove_file(&mine)?;

    person.only(&["curl"])?;
    let tools = PathBuf::from(&person.path);
    for (system, processor, words) in [
        ("Linux", "riscv64", "no program for the processor riscv64"),
        ("Linux", "armv6l", "no program for the processor armv6l"),
        ("Linux", "aarch64", "no archive for aarch64-unknown-linux-musl"),
        ("FreeBSD", "amd64", "no program for FreeBSD"),
        ("Darwin", "arm64", "no program for macOS"),
        ("MINGW64_NT-10.0", "x86_64", "use install.ps1"),
    ] {
        pretend(&tools, system, processor)?;
        person.fails(&[], words)?;
    }
    pretend(&tools, "Linux", "x86_64")?;
    let sums = site.folder.join("SHA256SUMS");
    let right = std::fs::read_to_string(&sums)?;
    std::fs::write(&sums, right.replace("hardline-", "hardline-/../"))?;
    person.fails(&[], "a file with a slash")?;
    let other = right.replace("hardline-", "hardline-9");
    std::fs::write(&sums, format!("{right}{other}"))?;
    person.fails(&[], "has several versions")?;
    std::fs::write(&sums, format!("{}{}", "0".repeat(64), &right[64..]))?;
    person.fails(&[], "its sum is wrong")
}

#[test]
fn a_folder_that_may_not_be_written_is_said_before_anything_is_changed() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    if !lab.has_users()? {
        return Ok(());
    }
    let host = lab.host("stranger")?;
    let site = Site::new(&lab, &host)?;
    let mut person = Person::new(&host, &site)?;
    let person_id = 65533;
    for folder in [lab.dir(), host.home(), &person.home()] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    }
    for path in person.files()?.keys() {
        chown(person.home().join(path), Some(person_id), Some(person_id))?;
    }
    let share = person.home().join(".local/share");
    std::fs::set_permissions(&share, std::fs::Permissions::from_mode(0o555))?;
    person.shell = &["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "sh"];
    person.fails(&[], &format!("you may not write into {}", share.display()))?;
    std::fs::set_permissions(&share, std::fs::Permissions::from_mode(0o755))?;
    person.script(&[])?.success()?;
    person.script(&["--uninstall"])?.success().map(drop)
}

/// Has `uname` name another system and processor.
fn pretend(tools: &Path, system: &str, processor: &str) -> Result<()> {
    let uname = tools.join("uname");
    std::fs::remove_file(&uname)?;
    std::fs::write(&uname, format!("#!/bin/sh\n[ \"$1\" = -m ] && echo {processor} || echo {system}\n"))?;
    Ok(std::fs::set_permissions(&uname, std::fs::Permissions::from_mode(0o755))?)
}
