//! First tries, counted and timed.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hardline_lab::{Hardline, Host, is_long};

/// First tries of a scenario.
fn tries() -> usize {
    if is_long() { 100 } else { 5 }
}

/// Makes the first tries one after another, as [`so_many_first_tries`] does.
pub(crate) fn first_tries(scenario: &str, one: impl FnMut(usize) -> Result<Duration>) -> Result<()> {
    so_many_first_tries(scenario, tries(), one)
}

/// Makes first tries one after another, each of which gives its time to first byte, and prints what
/// they came to.
///
/// # Errors
/// If one of them fails.
pub(crate) fn so_many_first_tries(
    scenario: &str,
    tries: usize,
    one: impl FnMut(usize) -> Result<Duration>,
) -> Result<()> {
    most_first_tries(scenario, tries, 0, one)
}

/// The same, where chance decides: at most `may_fail` of them may fail.
///
/// # Errors
/// If more fail.
pub(crate) fn most_first_tries(
    scenario: &str,
    tries: usize,
    may_fail: usize,
    mut one: impl FnMut(usize) -> Result<Duration>,
) -> Result<()> {
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    for number in 0..tries {
        match one(number) {
            Ok(time) => times.push(time),
            Err(err) => failures.push(format!("try {number}: {err:#}")),
        }
    }
    times.sort_unstable();
    let Some(slowest) = times.last() else { bail!("no try of {scenario} succeeded: {failures:#?}") };
    let median = times[times.len() / 2];
    say(&format!(
        "{scenario}: {} of {} first tries; first byte after {} ms (median), {} ms (slowest)",
        times.len(),
        times.len() + failures.len(),
        median.as_millis(),
        slowest.as_millis()
    ))?;
    ensure!(failures.len() <= may_fail, "{scenario}: {failures:#?}");
    failures.iter().try_for_each(|failure| say(&format!("{scenario}: allowed to fail: {failure}")))?;
    Ok(())
}

/// Prints a line, also when the test passes.
pub(crate) fn say(line: &str) -> Result<()> {
    // Not `println!`: the test harness swallows that.
    Ok(std::io::stdout().write_all(format!("{line}\n").as_bytes())?)
}

/// A gateway that remembers nothing.
pub(crate) fn new_gateway(host: &Host, number: usize, options: &[&str]) -> Result<Hardline> {
    host.gateway(&format!("new{number}"), options)
}

/// A gateway that remembers what the one in the data folder `learned` did, which has ended.
pub(crate) fn knowing_gateway(host: &Host, learned: &str, number: usize, options: &[&str]) -> Result<Hardline> {
    let folder = format!("knowing{number}");
    host.run("cp", &["--recursive", learned, &folder])?.success()?;
    host.gateway(&folder, options)
}

/// Opens the service once, so that the gateway in the data folder `learned` knows what the service
/// tells of itself, and ends it.
pub(crate) fn learn(host: &Host, learned: &str, key: &str) -> Result<()> {
    let mut gateway = host.gateway(learned, &[])?;
    host.first_byte(&gateway, key)?;
    gateway.process.terminate(Duration::from_secs(40))?;
    Ok(())
}
