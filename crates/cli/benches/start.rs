//! From starting the program to its `ready` line, and from SIGTERM to its end: `cargo bench -p
//! hardline --bench start`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 30;

fn main() {
    let data = tempfile::tempdir().unwrap();
    let (mut first, mut again, mut stop) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..RUNS {
        let folder = data.path().join(run.to_string());
        for times in [&mut first, &mut again] {
            let began = Instant::now();
            let mut program = Command::new(env!("CARGO_BIN_EXE_hardline"))
                .args(["share", "9", "--json", "--gateway-port", "0", "--p2p-port", "0"])
                .args(["--set", "lan.port=26772", "--data-dir"])
                .arg(&folder)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
            times.push(began.elapsed());
            assert!(line.contains("\"ready\""), "{line}");
            let asked = Instant::now();
            assert!(Command::new("kill").arg(program.id().to_string()).status().unwrap().success());
            assert!(program.wait().unwrap().success());
            stop.push(asked.elapsed());
        }
    }
    print("start to ready, everything made anew", &mut first);
    print("start to ready, again", &mut again);
    print("SIGTERM to the end, idle", &mut stop);
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what}: median {:.1} ms, 95th percentile {:.1} ms, most {:.1} ms", at(0.5), at(0.95), at(1.0));
}
