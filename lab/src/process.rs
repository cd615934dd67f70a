//! Programs that run beside a test.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a program may take to print the line that says it is ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How often an ending process is looked at; the standard library cannot wait with a limit.
const POLL: Duration = Duration::from_millis(5);

/// What a finished program left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote on stdout, with anything that is not UTF-8 replaced.
    pub stdout: String,
    /// What it wrote on stderr, likewise.
    pub stderr: String,
}

impl Output {
    /// Gives the output of a program that must succeed.
    ///
    /// # Errors
    /// If it exited with anything but 0; the error carries what it said.
    pub fn success(self) -> Result<Self> {
        if !self.status.success() {
            bail!("{}\nstdout: {}\nstderr: {}", self.status, self.stdout.trim_end(), self.stderr.trim_end());
        }
        Ok(self)
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {command:?}"))?;
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Waits until `is_so`, for a minute at most.
pub(crate) fn until(mut is_so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while !is_so() {
        if Instant::now() > deadline {
            bail!("not within a minute");
        }
        sleep(POLL);
    }
    Ok(())
}

/// A running program whose output is kept; killed on drop. A failed test shows what it had said.
#[derive(Debug)]
pub struct Process {
    label: String,
    child: Child,
    said: Arc<Said>,
    readers: Vec<JoinHandle<()>>,
    is_quiet: bool,
}

/// Lines a process has printed so far.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    stdout: Vec<String>,
    stderr: Vec<String>,
    /// Streams that have ended, of two.
    ended: usize,
}

impl Process {
    pub(crate) fn spawn(label: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {label}: {command:?}"))?;
        let said = Arc::new(Said::default());
        let stdout = child.stdout.take().context("a piped stdout")?;
        let stderr = child.stderr.take().context("a piped stderr")?;
        let readers = vec![
            read_lines(stdout, &said, |lines| &mut lines.stdout),
            read_lines(stderr, &said, |lines| &mut lines.stderr),
        ];
        Ok(Self { label: label.to_owned(), child, said, readers, is_quiet: false })
    }

    /// Waits for a line on stdout or stderr that holds `text`, and returns it; one already printed
    /// counts.
    ///
    /// # Errors
    /// If the program ends or a minute passes first.
    pub fn wait_for_line(&self, text: &str) -> Result<String> {
        self.wait_for(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Waits until `look` finds something in a line of stdout or stderr; lines already printed
    /// count.
    ///
    /// # Errors
    /// If the program ends or a minute passes first.
    pub fn wait_for<T>(&self, what: &str, look: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + READY_LIMIT;
        let mut lines = self.said.lock();
        loop {
            if let Some(found) = lines.stdout.iter().chain(&lines.stderr).find_map(|line| look(line)) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended == 2 || left.is_zero() {
                let reason = if lines.ended == 2 { "it ended" } else { "time is up" };
                bail!("{} never said {what:?}: {reason}\n{}", self.label, lines.shown());
            }
            lines = self.said.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The name it has in messages.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The lines on stdout so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.said.lock().stdout.clone()
    }

    /// The lines on stderr so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.said.lock().stderr.clone()
    }

    /// Its process id. (`ip netns exec` becomes the program, so this is the program's own.)
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without showing what it had said.
    pub fn discard(mut self) {
        self.is_quiet = true;
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// If it still runs after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(rustix::process::Signal::TERM)?;
        self.wait(limit)
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    ///
    /// # Errors
    /// If it still runs after `limit`.
    pub fn interrupt(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(rustix::process::Signal::INT)?;
        self.wait(limit)
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Sends SIGSTOP: it does nothing more, as in a computer that sleeps.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Sends SIGCONT, which ends [`Self::pause`].
    pub fn resume(&mut self) -> Result<()> {
        self.signal(rustix::process::Signal::CONT)
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// If it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} still runs after {limit:?}\n{}", self.label, self.said.lock().shown());
            }
            sleep(POLL);
        }
    }

    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            // Not reaped yet, so the number is still this process's.
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.is_quiet {
            // The test harness shows this when the test fails.
            eprintln!("---- {} had said:\n{}", self.label, self.said.lock().shown());
        }
        // A grandchild may hold the pipes open longer; the namespace's end closes them, and the
        // threads with them.
        self.readers.clear();
    }
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// The last lines of each stream.
    fn shown(&self) -> String {
        const LAST: usize = 40;
        let last = |lines: &[String]| lines[lines.len().saturating_sub(LAST)..].join("\n");
        format!("stdout:\n{}\nstderr:\n{}", last(&self.stdout), last(&self.stderr))
    }
}

fn read_lines(
    stream: impl Read + Send + 'static,
    said: &Arc<Said>,
    part: fn(&mut Lines) -> &mut Vec<String>,
) -> JoinHandle<()> {
    let said = Arc::clone(said);
    spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            part(&mut said.lock()).push(String::from_utf8_lossy(&line).trim_end().to_owned());
            said.changed.notify_all();
        }
        said.lock().ended += 1;
        said.changed.notify_all();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Process {
        Process::spawn("sh", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn a_line_on_either_stream_is_found_also_when_it_came_before() {
        let process = sh("echo first; echo second >&2; sleep 60");
        assert_eq!(process.wait_for_line("second").unwrap(), "second");
        assert_eq!(process.wait_for_line("fir").unwrap(), "first");
    }

    #[test]
    fn a_program_that_ends_without_the_line_is_an_error_that_shows_what_it_said() {
        let err = sh("echo other; exit 3").wait_for_line("ready").unwrap_err();
        assert!(err.to_string().contains("other"), "{err}");
    }

    #[test]
    fn terminate_gives_a_program_the_time_to_end_by_itself() {
        let mut process = sh("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        process.wait_for_line("ready").unwrap();
        assert_eq!(process.terminate(Duration::from_secs(10)).unwrap().code(), Some(7));
    }

    #[test]
    fn a_dropped_process_is_dead() {
        let process = sh("echo ready; exec sleep 60");
        process.wait_for_line("ready").unwrap();
        let proc = format!("/proc/{}", process.id());
        assert!(std::fs::exists(&proc).unwrap());
        drop(process);
        assert!(!std::fs::exists(&proc).unwrap());
    }
}
