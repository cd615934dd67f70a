//! Files and folders for their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};

/// Makes a folder when it is missing, and those above it, for this user alone. (On Windows folders
/// of a user are private by inheritance.)
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(path)
}

/// Options to make a file that only its owner can read.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    options.mode(0o600);
    options
}

/// Takes the rights of others away.
#[cfg(unix)]
pub(crate) fn protect(file: &File, _path: &Path) -> io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Takes the rights of others away, those that come from the folder too. Best effort: a file system
/// such as FAT has no rights. Blocks while `icacls` runs.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it fails")]
pub(crate) fn protect(_file: &File, path: &Path) -> io::Result<()> {
    if let Err(error) = windows::for_owner_alone(path) {
        tracing::warn!(%error, path = %path.display(), "the rights of other users stay as in the folder");
    }
    Ok(())
}

/// Here files are as private as their folder.
#[cfg(not(any(unix, windows)))]
pub(crate) fn protect(_file: &File, _path: &Path) -> io::Result<()> {
    Ok(())
}

/// Whether others than the owner may read or change the file. False where modes do not tell.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    #[cfg(unix)]
    return fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// Puts a new name in `folder` on the disk. Some network file systems cannot; they promise no more
/// than they can.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if [InvalidInput, PermissionDenied, Unsupported].contains(&error.kind()) => Ok(()),
        other => other,
    }
}

/// Folders cannot be opened as files here; the name is on the disk a moment later.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it fails")]
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(windows)]
mod windows {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    /// "Owner rights": whoever owns the file, in every language
    /// (<https://learn.microsoft.com/windows/win32/secauthz/well-known-sids>).
    const OWNER: &str = "*S-1-3-4:F";

    pub(super) fn for_owner_alone(path: &Path) -> io::Result<()> {
        // By its whole path: not whatever has the same name where the program was started.
        let root = std::env::var_os("SystemRoot").ok_or_else(|| io::Error::other("SystemRoot is not set"))?;
        let icacls = PathBuf::from(root).join("System32").join("icacls.exe");
        let status = Command::new(icacls)
            .arg(path)
            .args(["/inheritance:r", "/grant:r", OWNER, "/Q"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("icacls ended with {status}"))) }
    }
}
