//! Names → an open file or a folder, never outside the shared one.
//!
//! Paths are walked by `cap-std`, which refuses every step and every symbolic link that leads out,
//! also when somebody swaps them meanwhile. A link with an absolute target counts as leading out.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirEntry, Metadata};

use super::path::{SharedPath, is_hidden};

/// Most entries of one folder on a page; a page is then about 1.5 MB.
pub(super) const MAX_ENTRIES: usize = 5_000;

/// Shown instead of a listing.
const INDEX: &str = "index.html";

/// What is at a path.
pub(super) enum Found {
    File(SharedFile),
    /// Has no `index.html`, or was asked for without a slash.
    Folder(Folder),
}

/// An open file that may be shown.
pub(super) struct SharedFile {
    pub(super) name: OsString,
    pub(super) file: File,
}

/// A folder that may be shown.
pub(super) struct Folder {
    root: Dir,
    path: PathBuf,
}

/// What is in a folder.
pub(super) struct Listing {
    /// Folders first, then by name.
    pub(super) entries: Vec<Entry>,
    /// Entries beyond [`MAX_ENTRIES`].
    pub(super) left_out: usize,
}

/// A file or a folder in a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) is_folder: bool,
    pub(super) name: OsString,
    pub(super) size: u64,
    pub(super) changed: Option<SystemTime>,
}

/// Opens what is at `path` below `root`. Blocks.
///
/// The root is opened anew each time, so that a disk that was away and is back is shown again.
pub(super) fn find(root: &Path, path: &SharedPath) -> io::Result<Found> {
    let root = Dir::open_ambient_dir(root, ambient_authority())
        // Its absence is no visitor's mistake.
        .map_err(|error| io::Error::other(error.to_string()))?;
    let relative = path.relative();
    if path.names.is_empty() || look(&root, &relative)?.1.is_dir() {
        if path.ends_with_slash
            && let Ok(index) = open_file(&root, &relative.join(INDEX))
        {
            return Ok(Found::File(index));
        }
        return Ok(Found::Folder(Folder { root, path: relative }));
    }
    if path.ends_with_slash {
        return Err(io::ErrorKind::NotFound.into());
    }
    open_file(&root, &relative).map(Found::File)
}

impl Folder {
    /// Reads the folder. Blocks.
    pub(super) fn list(&self) -> io::Result<Listing> {
        let entries =
            if self.path.as_os_str().is_empty() { self.root.entries() } else { self.root.read_dir(&self.path) }?;
        // The first entries in order are kept, so that a folder of any size takes bounded memory.
        let mut first = BinaryHeap::new();
        let mut left_out = 0;
        for entry in entries {
            // An entry that vanishes meanwhile, or cannot be looked at, is not shown.
            let Some(entry) = entry.ok().and_then(|entry| self.entry(&entry)) else { continue };
            first.push(entry);
            if first.len() > MAX_ENTRIES {
                first.pop();
                left_out += 1;
            }
        }
        Ok(Listing { entries: first.into_sorted_vec(), left_out })
    }

    fn entry(&self, entry: &DirEntry) -> Option<Entry> {
        let name = entry.file_name();
        if is_hidden(&name) {
            return None;
        }
        let metadata = if entry.file_type().ok()?.is_symlink() {
            look(&self.root, &self.path.join(&name)).ok()?.1
        } else {
            entry.metadata().ok()?
        };
        if !metadata.is_dir() && !metadata.is_file() {
            return None;
        }
        let changed = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
        Some(Entry { name, is_folder: metadata.is_dir(), size: metadata.len(), changed })
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |entry: &Self| (!entry.is_folder, entry.name.to_string_lossy().to_lowercase());
        key(self).cmp(&key(other)).then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Follows all links from `path`: what is there, and its path without links. Links to hidden things
/// are refused like those that lead out.
fn look(root: &Dir, path: &Path) -> io::Result<(PathBuf, Metadata)> {
    let real = root.canonicalize(path)?;
    if real.components().any(|part| matches!(part, Component::Normal(name) if is_hidden(name))) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let metadata = root.metadata(&real)?;
    Ok((real, metadata))
}

fn open_file(root: &Dir, path: &Path) -> io::Result<SharedFile> {
    let (real, metadata) = look(root, path)?;
    // Only ordinary files: opening a named pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let name = path.file_name().unwrap_or_default().to_os_string();
    Ok(SharedFile { name, file: root.open(real)?.into_std() })
}
