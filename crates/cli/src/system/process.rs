//! Programs that this one started, and the end of stdout.

use std::io;
use std::process::ExitStatus;

use tokio::process::Child;

/// Asks a program to stop.
#[cfg(unix)]
pub(crate) fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// Ctrl-C and the end of the console reach the program by themselves; there is no other way to ask.
#[cfg(not(unix))]
pub(crate) fn terminate(_child: &Child) {}

/// A program's status as shells see it: 128 and the signal's number if one ended it.
pub(crate) fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().map_or(1, |code| u8::try_from(code).unwrap_or(u8::MAX))
}

/// Lets the reader of stdout see its end while stdin is still read.
#[cfg(unix)]
pub(crate) fn close_stdout() -> io::Result<()> {
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(nowhere)?)
}

/// Here stdout is closed by the end of the program only.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it fails")]
pub(crate) fn close_stdout() -> io::Result<()> {
    Ok(())
}
