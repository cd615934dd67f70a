//! Names that say who made a thing, and the removal of what a killed run left behind.
//!
//! Namespaces and folders are named `hardline-lab-PID-START-…`, with process id and start time of
//! the test program: a thing whose maker no longer lives is nobody's.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::lab::run_ip;

const PREFIX: &str = "hardline-lab-";

/// How long processes of a namespace may take to die after SIGKILL.
const DEATH_LIMIT: Duration = Duration::from_secs(10);

/// What the names of everything that this process makes begin with.
pub(crate) fn own_prefix() -> Result<String> {
    let pid = std::process::id();
    Ok(format!("{PREFIX}{pid}-{}-", start_time(pid).context("reading this process's start time")?))
}

/// Removes namespaces and folders whose maker is gone, and ends what still runs in them.
pub(crate) fn remove() -> Result<()> {
    for name in orphans(Path::new("/run/netns")) {
        delete_namespace(&name).with_context(|| format!("removing the leftover namespace {name}"))?;
    }
    let temporary = std::env::temp_dir();
    for name in orphans(&temporary) {
        // Another run may be clearing the same folder.
        let _ = fs::remove_dir_all(temporary.join(name));
    }
    Ok(())
}

/// Ends every process in the namespace, then deletes it.
pub(crate) fn delete_namespace(name: &str) -> Result<()> {
    let deadline = Instant::now() + DEATH_LIMIT;
    loop {
        let pids = namespace_pids(name)?;
        if pids.is_empty() || Instant::now() > deadline {
            break;
        }
        for pid in pids {
            // One that is already gone is what we want.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        sleep(Duration::from_millis(10));
    }
    run_ip(&["netns", "delete", name])
}

fn namespace_pids(name: &str) -> Result<Vec<rustix::process::Pid>> {
    let output = std::process::Command::new("ip").args(["netns", "pids", name]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| rustix::process::Pid::from_raw(line.trim().parse().ok()?)).collect())
}

fn orphans(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| maker(name).is_some_and(|(pid, start)| start_time(pid) != Some(start))).collect()
}

/// Process id and start time of the maker, out of the name of something of ours.
fn maker(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// When the process began, in clock ticks since boot; with its id this names a process for good.
/// `None` when it is gone.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name, may hold spaces and brackets; the 22nd is the start
    // time.
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_known_by_its_prefix() {
        let prefix = own_prefix().unwrap();
        let (pid, start) = maker(&format!("{prefix}x-0-alice")).unwrap();
        assert_eq!(pid, std::process::id());
        assert_eq!(start_time(pid), Some(start));
    }

    #[test]
    fn names_of_others_have_no_maker() {
        for name in ["", "eth0", "hardline-lab-", "hardline-lab-x-1-", "hardline-lab-12", "other-12-13-"] {
            assert_eq!(maker(name), None, "{name:?}");
        }
    }

    #[test]
    fn only_what_has_no_living_maker_is_an_orphan() {
        let folder = tempfile::tempdir().unwrap();
        let living = format!("{}alive", own_prefix().unwrap());
        // No process has this id: it is above the kernel's limit.
        let dead = format!("{PREFIX}4294967295-7-dead");
        for name in [&living, &dead, "somebody-else"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(orphans(folder.path()), [dead]);
    }
}
