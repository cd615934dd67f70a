//! The static program where there is nothing else: no shell, no library, no `/etc`, only `/proc`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hardline_lab::{EVERY_CHECK, Hardline, Host, Lab, artifact};

const PROGRAM: &str = "x86_64-unknown-linux-musl/hardline";

/// Runs `/hardline ARGUMENTS…` with this folder as root and no environment. The mount is seen by
/// this command alone: every command on a host has mounts of its own.
const INSIDE: &str = r#"set -eu
root=$1; shift
mount --rbind /proc "$root/proc"
exec env -i "$(command -v chroot)" "$root" /hardline "$@"
"#;

/// A root folder with the program.
fn make_root(root: &Path) -> Result<()> {
    std::fs::create_dir_all(root.join("proc"))?;
    std::fs::copy(artifact(PROGRAM)?, root.join("hardline"))?;
    Ok(())
}

fn inside(host: &Host, root: &Path, arguments: &[&str]) -> Command {
    let mut command = host.command("sh");
    command.args(["-c", INSIDE, "sh"]).arg(root).args(arguments);
    command
}

fn start(host: &Host, arguments: &[&str]) -> Result<Hardline> {
    let root = host.home().join("root");
    make_root(&root)?;
    let arguments = [&["--json", "--data-dir", "/data"], arguments].concat();
    Hardline::started(host.spawn("hardline in an empty root", &mut inside(host, &root, &arguments))?)
}

#[test]
fn a_service_is_shared_and_opened_from_empty_roots() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    let mut server = start(&alice, &["share", &backend.address.to_string()])?;
    let mut client = start(&bob, &[])?;
    bob.check_site(client.gateway()?, &server.service_name()?, EVERY_CHECK)?;
    for program in [&mut server, &mut client] {
        assert_eq!(program.process.terminate(Duration::from_secs(40))?.code(), Some(0));
    }
    Ok(())
}

/// That the root is really empty: the program finds what a test put there and nothing of this
/// machine.
#[test]
fn an_empty_root_has_the_program_and_proc_alone() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, host) = lab.lone_host("alone")?;
    let root = host.home().join("root");
    make_root(&root)?;
    let output = inside(&host, &root, &["share", "/etc"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || !said.contains("/etc") {
        bail!("{}: {said}", output.status);
    }
    let names: Result<Vec<_>, _> = std::fs::read_dir(&root)?.map(|entry| entry.map(|it| it.file_name())).collect();
    let mut names = names.context("the root's files")?;
    names.sort();
    assert_eq!(names, ["hardline", "proc"]);
    Ok(())
}
