//! Files and folders for their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};

/// Makes a folder when it is missing, and those above it, for this user alone. On Windows what is
/// made in there later is so too; one that was there before keeps its rights. Blocks.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    #[cfg(windows)]
    let made = first_missing(path);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(path)?;
    #[cfg(windows)]
    if let Some(folder) = made {
        windows::protect(folder, access::Of::Folder);
    }
    Ok(())
}

/// The outermost folder of `path` that is not there.
#[cfg(any(windows, test))]
fn first_missing(path: &Path) -> Option<&Path> {
    path.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists()).last()
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
    windows::protect(path, access::Of::File);
    Ok(())
}

/// The same for files that another library makes beside one of ours, whose names begin with
/// `prefix`, if there are any. On Unix SQLite gives its own the rights of the database.
pub(crate) fn protect_companions(prefix: &Path) {
    #[cfg(windows)]
    windows::protect(prefix, access::Of::Companions);
    #[cfg(not(windows))]
    let _ = prefix;
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

/// What is said to Windows' `icacls`.
#[cfg(any(windows, test))]
mod access {
    use std::ffi::OsString;
    use std::path::Path;

    /// What gets an access list.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Of {
        File,
        /// A folder, and whatever is made in it.
        Folder,
        /// Every file whose name begins with the path.
        Companions,
    }

    /// An access list with one line, and nothing from the folder above. `S-1-3-4` is "owner
    /// rights": whoever owns the file, in every language
    /// (<https://learn.microsoft.com/windows/win32/secauthz/well-known-sids>).
    pub(super) fn for_owner_alone(path: &Path, of: Of) -> Vec<OsString> {
        let mut named = path.as_os_str().to_owned();
        let rights = match of {
            Of::File => "*S-1-3-4:F",
            Of::Folder => "*S-1-3-4:(OI)(CI)F",
            Of::Companions => {
                named.push("*");
                "*S-1-3-4:F"
            }
        };
        [named, "/inheritance:r".into(), "/grant:r".into(), rights.into(), "/Q".into()].into()
    }
}

#[cfg(windows)]
mod windows {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use super::access::{Of, for_owner_alone};

    /// Best effort: a file system such as FAT has no rights.
    pub(super) fn protect(path: &Path, of: Of) {
        if let Err(error) = icacls(path, of) {
            tracing::warn!(%error, path = %path.display(), "the rights of other users stay as in the folder");
        }
    }

    fn icacls(path: &Path, of: Of) -> io::Result<()> {
        // By its whole path: not whatever has the same name where the program was started.
        let root = std::env::var_os("SystemRoot").ok_or_else(|| io::Error::other("SystemRoot is not set"))?;
        let status = Command::new(PathBuf::from(root).join("System32").join("icacls.exe"))
            .args(for_owner_alone(path, of))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("icacls ended with {status}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::access::{Of, for_owner_alone};
    use super::*;

    #[test]
    fn nothing_of_the_folder_above_is_left_in_an_access_list() {
        let rows = [
            (Of::File, "/data/id.private", "*S-1-3-4:F"),
            (Of::Folder, "/data/id.private", "*S-1-3-4:(OI)(CI)F"),
            (Of::Companions, "/data/id.private*", "*S-1-3-4:F"),
        ];
        for (of, named, rights) in rows {
            let said = for_owner_alone(Path::new("/data/id.private"), of);
            assert_eq!(said, [named, "/inheritance:r", "/grant:r", rights, "/Q"], "{of:?}");
        }
    }

    /// What is above it is somebody else's.
    #[test]
    fn the_outermost_folder_that_was_made_is_the_one_to_protect() {
        let folder = tempfile::tempdir().unwrap();
        let (outer, inner) = (folder.path().join("hardline"), folder.path().join("hardline/data/keys"));
        assert_eq!(first_missing(&inner), Some(&*outer));
        fs::create_dir(&outer).unwrap();
        assert_eq!(first_missing(&inner), Some(&*outer.join("data")));
        make_folder(&inner).unwrap();
        assert_eq!(first_missing(&inner), None);
        assert_eq!(first_missing(Path::new("not-here/at-all")), Some(Path::new("not-here")));
    }
}
