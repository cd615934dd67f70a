//! What programs use, as the kernel counts it.

use std::collections::VecDeque;
use std::fs;

use anyhow::{Context as _, Result};

/// Clock ticks a second in `/proc` (Linux: `USER_HZ`, the same on every machine this runs on).
const TICKS: f64 = 100.0;

/// CPU time of a program in seconds: all its threads, those that have ended too, and its children.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut ticks = 0;
    for pid in tree(pid) {
        // One that ended just now is counted by its parent.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        ticks += stat_ticks(&stat).with_context(|| format!("/proc/{pid}/stat"))?;
    }
    Ok(ticks as f64 / TICKS)
}

/// Memory of a program and its children in KiB, shared pages counted by share (PSS).
pub(crate) fn memory_kib(pid: u32) -> Result<f64> {
    sum_of_rollups(pid, "Pss:")
}

/// What of it is nobody else's: without the program's own file, whose pages count for less while
/// more programs run it.
pub(crate) fn own_memory_kib(pid: u32) -> Result<f64> {
    sum_of_rollups(pid, "Pss_Anon:")
}

fn sum_of_rollups(pid: u32, name: &str) -> Result<f64> {
    let mut kib = 0;
    for pid in tree(pid) {
        let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let part = rollup.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        kib += part.unwrap_or(0_u64);
    }
    Ok(kib as f64)
}

/// Load average of the last minute.
pub(crate) fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().context("a load average")?.parse()?)
}

/// Whether somebody listens at the port, in the network namespace of `pid`. Looks at the kernel's
/// table, because a probing connection would be a first one.
pub(crate) fn is_listening(pid: u32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|family| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{family}")).unwrap_or_default();
        table.lines().skip(1).any(|line| has_listener(line, port))
    })
}

fn has_listener(line: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let mut words = line.split_whitespace().skip(1);
    let local = words.next().and_then(|address| address.rsplit_once(':'));
    words.nth(1) == Some(LISTEN) && local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port))
}

/// User and system time, of the process and of its children that were waited for: fields 14 to 17
/// of proc(5).
fn stat_ticks(stat: &str) -> Option<u64> {
    // The second field, the program's name, may hold spaces and brackets.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let times: Vec<u64> = after_name.split_whitespace().skip(11).take(4).map_while(|word| word.parse().ok()).collect();
    (times.len() == 4).then(|| times.iter().sum())
}

/// The process and all that descend from it.
fn tree(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut ahead = VecDeque::from([pid]);
    while let Some(pid) = ahead.pop_front() {
        found.push(pid);
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            ahead.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 90 0 0 0 11 22 33 44 20 0 1 0 100 0 0";
        assert_eq!(stat_ticks(stat), Some(110));
        assert_eq!(stat_ticks("7 (a"), None);
    }

    #[test]
    fn only_a_listening_socket_of_the_port_counts() {
        let listening = "0: 0100007F:1BC0 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1";
        let connected = "1: 0100007F:1BC0 0100007F:C350 01 00000000:00000000 00:00000000 00000000 0 0 1";
        assert!(has_listener(listening, 7104));
        assert!(!has_listener(listening, 7105));
        assert!(!has_listener(connected, 7104));
    }

    #[test]
    fn this_process_has_memory_and_its_listener_is_seen() {
        let pid = std::process::id();
        assert!(memory_kib(pid).unwrap() > 0.0);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(is_listening(pid, listener.local_addr().unwrap().port()));
    }
}
