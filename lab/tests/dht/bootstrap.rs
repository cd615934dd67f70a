//! Entering the network by a name that cannot be resolved at first, as on a computer that has just
//! been woken.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hardline_lab::{Lab, hardline_program};

#[test]
fn a_host_whose_name_is_not_known_yet_is_tried_again() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let host = lab.host("woken")?;
    let mut entrance = host.spawn("dhtnode", host.command("dhtnode").args(["-s", "-p", "4222"]))?;
    let names = host.home().join("hosts");
    std::fs::write(&names, "127.0.0.1 localhost\n")?;
    std::fs::write(host.home().join("resolv.conf"), "")?;
    // The files are written to in place later: what is mounted is the file, not its name.
    let mount = "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";
    let program = hardline_program()?.to_str().context("a path in UTF-8")?;
    let node = ["--json", "-vv", "dht", "node", "--port", "0", "--bootstrap", "entrance.example:4222"];
    let mut command = host.command("unshare");
    command.args(["--mount", "sh", "-c", mount, "sh", program]).args(node);
    let mut ours = host.spawn("hardline dht node", &mut command)?;

    ours.wait_for_line("bootstrap host not resolved")?;
    std::fs::write(&names, "127.0.0.1 localhost entrance.example\n")?;
    ours.wait_for("state, connected", |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        (event["event"] == "state" && event["connected"] == true).then_some(())
    })?;
    ours.terminate(Duration::from_secs(10))?;
    // It takes its ten seconds to end when it is asked to.
    entrance.kill()?;
    Ok(())
}
