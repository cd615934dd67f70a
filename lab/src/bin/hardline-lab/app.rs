//! What Android does to the programs of apps, as far as a Linux kernel can do the same: an empty
//! root, no environment, no netlink, and a list of system calls, all others of which end it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

/// `AF_NETLINK` and `EACCES`, which is what apps are told.
const NETLINK: i32 = 16;
const REFUSED: i32 = 13;

/// Becomes `/hardline ARGUMENTS…` in the folder `root`, with the file `input` as stdin. `calls`
/// names a file with the calls that are allowed, several names a line.
pub(crate) fn become_one(root: &str, calls: &str, input: &str, arguments: &[&str]) -> Result<()> {
    let calls = std::fs::read_to_string(calls).with_context(|| format!("reading {calls}"))?;
    let input = File::open(input).with_context(|| format!("opening {input}"))?;
    std::os::unix::fs::chroot(root).context("entering the root")?;
    std::env::set_current_dir("/")?;
    let filters = filters(&calls)?;
    for name in ["netlink", "calls"] {
        let filter = filters.get(name).context("a filter")?;
        seccompiler::apply_filter(filter).context("filtering system calls")?;
        if name == "netlink" && Socket::new(Domain::from(NETLINK), Type::RAW, None).is_ok() {
            bail!("netlink is not refused");
        }
    }
    Err(Command::new("/hardline").args(arguments).env_clear().stdin(input).exec()).context("starting the program")
}

fn filters(calls: &str) -> Result<HashMap<String, seccompiler::BpfProgram>> {
    let allowed: Vec<Value> = names(calls).map(|name| json!({"syscall": name})).collect();
    let netlink = json!({"syscall": "socket", "args": [{"index": 0, "type": "dword", "op": "eq", "val": NETLINK}]});
    let filters = json!({
        "calls": {"mismatch_action": "kill_process", "match_action": "allow", "filter": allowed},
        "netlink": {"mismatch_action": "allow", "match_action": {"errno": REFUSED}, "filter": [netlink]},
    });
    let machine = std::env::consts::ARCH.try_into().context("filters for this processor")?;
    Ok(seccompiler::compile_from_json(filters.to_string().as_bytes(), machine)?)
}

fn names(calls: &str) -> impl Iterator<Item = &str> {
    calls.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace)
}
