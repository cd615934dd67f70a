//! What a run leaves for those who compare it with an earlier one.

use std::fs;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use super::bars::{Standing, judge};
use super::figure::Figures;
use crate::usage::load_average;

/// Everything about one run.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    date: String,
    command: String,
    commit: String,
    cpu: String,
    cores: usize,
    kernel: String,
    load_at_start: f64,
    load_at_end: f64,
    rounds: usize,
    figures: &'a Figures,
    pub(super) bars: Vec<Standing>,
    pub(super) failures: Vec<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(figures: &'a Figures, rounds: usize, load_at_start: f64, failures: Vec<String>) -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Ok(Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            command: format!("cargo xtask bench {}", arguments.join(" ")),
            commit: said_by("git", &["describe", "--always", "--dirty"]),
            cpu: cpu_name(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_at_start,
            load_at_end: load_average()?,
            rounds,
            figures,
            bars: judge(figures),
            failures,
        })
    }

    /// In a sentence, to stand above the table.
    pub(super) fn conditions(&self) -> String {
        let Self { command, date, commit, cpu, cores, kernel, load_at_start, load_at_end, rounds, .. } = self;
        format!(
            "`{command}`, {date}, commit {commit}, {cpu} with {cores} cores, Linux {kernel}, {rounds} rounds, load average \
             {load_at_start} at the start and {load_at_end} at the end.\n"
        )
    }
}

fn cpu_name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    name.unwrap_or("unknown CPU").to_owned()
}

/// What a program printed, or nothing where it does not run.
fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
