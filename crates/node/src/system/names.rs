//! Names of files.

use std::ffi::OsString;
use std::io;

/// Whether a name with this byte in it is more than a name.
pub(crate) fn is_separator(byte: u8) -> bool {
    byte == b'/' || cfg!(windows) && matches!(byte, b'\\' | b':')
}

/// A name from the bytes of a link, if the system can have such a one.
#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // elsewhere it can fail
pub(crate) fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

/// A name from the bytes of a link, if the system can have such a one.
#[cfg(not(unix))]
pub(crate) fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}

/// Whether a symbolic link leads to itself (`ELOOP`).
pub(crate) fn is_loop(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    return error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    #[cfg(not(target_os = "linux"))]
    return error.to_string().contains("symbolic links");
}
