//! The static programs for ARM, as they are handed out, in an emulated processor (qemu-user), which
//! leaves system calls to this machine's kernel.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use hardline_lab::{EVERY_CHECK, Hardline, Host, Lab, artifact};

/// Unpacks the program of the target's archive on the host, and starts it in that processor.
fn start(host: &Host, emulator: &str, triple: &str, arguments: &[&str]) -> Result<Hardline> {
    let program = unpacked(host, triple)?;
    let label = format!("{emulator} hardline {}", arguments.join(" "));
    Hardline::started(host.spawn(&label, host.command(emulator).arg(program).arg("--json").args(arguments))?)
}

fn unpacked(host: &Host, triple: &str) -> Result<PathBuf> {
    let name = format!("hardline-{}-{triple}", env!("CARGO_PKG_VERSION"));
    let archive = artifact(&format!("{name}.tar.gz"))?;
    let mut tar = Command::new("tar");
    let output = tar.arg("--extract").arg("--file").arg(archive).arg("--directory").arg(host.home()).output()?;
    if !output.status.success() {
        bail!("{tar:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(host.home().join(name).join("hardline"))
}

/// Tells the programs on the host where alice has the service: the emulator refuses the option of
/// sockets that chooses the interface for multicast, and they would not find her by themselves.
fn tell_address(host: &Host, service: &str) -> Result<()> {
    let peer = format!("[[peer]]\nlink = \"http://{service}/\"\naddresses = [\"192.168.77.1:7008\"]\n");
    Ok(std::fs::write(host.home().join("hardline.toml"), peer)?)
}

/// Both ways with this machine's own program, every exchange there is.
fn share_and_open(emulator: &str, triple: &str) -> Result<()> {
    for is_publisher in [true, false] {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let run = |host: &Host, is_emulated: bool, arguments: &[&str]| {
            if is_emulated { start(host, emulator, triple, arguments) } else { host.hardline(arguments) }
        };
        let backend = alice.backend("127.0.0.1:0")?;
        let server = run(&alice, is_publisher, &["share", &backend.address.to_string()])?;
        tell_address(&bob, &server.service_name()?)?;
        let client = run(&bob, !is_publisher, &["--config", "hardline.toml"])?;
        bob.check_site(client.gateway()?, &server.service_name()?, EVERY_CHECK)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs what `cargo xtask dist` makes: cargo xtask test --long"]
fn a_64_bit_arm_shares_and_opens() -> Result<()> {
    share_and_open("qemu-aarch64-static", "aarch64-unknown-linux-musl")
}

#[test]
#[ignore = "needs what `cargo xtask dist` makes: cargo xtask test --long"]
fn a_32_bit_arm_shares_and_opens() -> Result<()> {
    share_and_open("qemu-arm-static", "armv7-unknown-linux-musleabihf")
}
