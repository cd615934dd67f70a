//! Windows computers: hosts of the lab whose programs run under Wine.
//!
//! Each has a drive of its own, and with it a Wine server of its own, which has the sockets of all
//! its programs. A drive is made once; the others share its files and have a registry of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use hardline_lab::{Hardline, Host, Output, artifact};
use tempfile::TempDir;

const PROGRAM: &str = "x86_64-pc-windows-gnu/hardline.exe";

/// Where drives lie: on one file system, so that files can be shared.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wine");

/// What Wine keeps of the registry; everything else of a new drive is never written to.
const REGISTRY: [&str; 3] = ["system.reg", "user.reg", "userdef.reg"];

/// A computer with Windows, or what takes itself for it.
pub(crate) struct Windows<'a> {
    pub(crate) host: &'a Host,
    drive: TempDir,
}

impl<'a> Windows<'a> {
    /// Installs it, with the program in `C:\hardline`.
    pub(crate) fn new(host: &'a Host) -> Result<Self> {
        // A home's router. With a default route that has none Wine lists no interfaces.
        host.ip("route replace default via 192.168.77.254 dev eth0")?;
        let first = first_drive()?;
        let drive = tempfile::Builder::new().prefix("computer-").tempdir_in(FOLDER)?;
        succeed(
            Command::new("cp").args(["--archive", "--link", "--no-target-directory"]).arg(&first).arg(drive.path()),
        )?;
        for file in REGISTRY {
            fs::remove_file(drive.path().join(file))?;
            fs::copy(first.join(file), drive.path().join(file))?;
        }
        let windows = Self { host, drive };
        fs::create_dir(windows.path(""))?;
        fs::copy(artifact(PROGRAM)?, windows.path("hardline.exe"))?;
        windows.compile("bcryptprimitives.c", "bcryptprimitives.dll", &["-shared", "-ladvapi32"])?;
        Ok(windows)
    }

    /// Where a file of `C:\hardline` lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join("hardline").join(name)
    }

    /// `C:\`.
    pub(crate) fn root(&self) -> PathBuf {
        self.drive.path().join("drive_c")
    }

    /// Makes a program of C in `C:\hardline`.
    pub(crate) fn compile(&self, source: &str, program: &str, flags: &[&str]) -> Result<()> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/artifacts/wine").join(source);
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        succeed(compiler.args(["-O1", "-o"]).arg(self.path(program)).arg(source).args(flags))
    }

    /// A command of Windows, by its path there or the name of one of its own.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.host.command("wine");
        set_up(&mut command, self.drive.path());
        command.arg(program).args(arguments);
        command
    }

    /// Runs `hardline ARGUMENTS…` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.output(r"C:\hardline\hardline.exe", arguments)
    }

    /// Runs a command of Windows to its end.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let output = self.command(program, arguments).output().with_context(|| format!("starting {program}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\r', "");
        Ok(Output { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Starts `hardline --json ARGUMENTS…` and waits until it is ready.
    pub(crate) fn hardline(&self, arguments: &[&str]) -> Result<Hardline> {
        let arguments = [&["--json"], arguments].concat();
        let label = format!("hardline.exe {}", arguments.join(" "));
        let process = self.host.spawn(&label, &mut self.command(r"C:\hardline\hardline.exe", &arguments))?;
        Hardline::started(process)
    }
}

impl Drop for Windows<'_> {
    /// Ends what runs on this drive and nothing else. It may have ended by itself; what is left
    /// ends with its host.
    fn drop(&mut self) {
        let mut server = self.host.command("wineserver");
        set_up(&mut server, self.drive.path());
        let _ = server.arg("--kill=9").output();
    }
}

/// The drive that the others come from: made once for each version of Wine.
fn first_drive() -> Result<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let version = Command::new("wine").arg("--version").env("WINEDEBUG", "-all").output().context("starting wine")?;
    let version = String::from_utf8(version.stdout)?;
    let name = version.split_whitespace().next().context("Wine's version")?;
    let drive = Path::new(FOLDER).join(name);
    if drive.exists() {
        return Ok(drive);
    }
    fs::create_dir_all(FOLDER)?;
    let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(FOLDER)?;
    for (program, argument) in [("wineboot", "--init"), ("wineserver", "--wait")] {
        let mut command = Command::new(program);
        set_up(&mut command, unfinished.path());
        succeed(command.arg(argument).env("HOME", unfinished.path()))?;
    }
    ensure!(unfinished.path().join("drive_c/windows/system32/reg.exe").exists(), "Wine made no whole drive");
    fs::rename(unfinished.keep(), &drive)?;
    Ok(drive)
}

/// Nothing of this user's Wine: its drive, its screen, its menus.
fn set_up(command: &mut Command, drive: &Path) {
    command.env("WINEPREFIX", drive).env("WINEARCH", "win64").env("WINEDEBUG", "-all");
    command.env("WINEDLLOVERRIDES", "mscoree=;mshtml=;winemenubuilder.exe=").env_remove("DISPLAY");
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
