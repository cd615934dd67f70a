//! The three files of an identity: their names, bounded reading, atomic writing.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{IdentityError, IdentityNotice};
use crate::system::private;

/// Largest file read, in bytes: a certificate with its whole chain and explanatory text has a few
/// tens of thousands.
const MAX_FILE: u64 = 1024 * 1024;

/// Where the files of an identity are.
#[derive(Debug)]
pub(super) struct Files {
    /// `NAME`
    pub(super) certificate: PathBuf,
    /// `NAME.private`
    pub(super) key: PathBuf,
    /// `NAME.hash`
    pub(super) hash: PathBuf,
}

/// How far an identity has come.
pub(super) enum Found {
    /// None of the files.
    Nothing,
    /// A key alone, as a process leaves it that is killed on first use.
    Key(Vec<u8>),
    /// A certificate at least.
    Identity(Texts),
}

/// The contents of the files beside a certificate.
pub(super) struct Texts {
    /// `NAME`
    pub(super) certificate: Vec<u8>,
    /// `NAME.private`
    pub(super) key: Option<Vec<u8>>,
    /// `NAME.hash`
    pub(super) hash: Option<Vec<u8>>,
}

impl Files {
    pub(super) fn new(certificate: &Path) -> Self {
        let with = |suffix: &str| {
            let mut name = OsString::from(certificate);
            name.push(suffix);
            PathBuf::from(name)
        };
        Self { certificate: certificate.to_owned(), key: with(".private"), hash: with(".hash") }
    }

    /// Reads what there is, in the reverse order of making: whoever finds a file finds those made
    /// before it too, even while another process makes them.
    pub(super) fn read(&self) -> Result<Found, IdentityError> {
        let hash = read(&self.hash)?;
        let certificate = read(&self.certificate)?;
        let key = read(&self.key)?;
        match (certificate, key, hash) {
            (Some(certificate), key, hash) => Ok(Found::Identity(Texts { certificate, key, hash })),
            (None, _, Some(_)) => Err(IdentityError::MissingCertificateOfHash {
                certificate: self.certificate.clone(),
                hash: self.hash.clone(),
            }),
            (None, Some(key), None) => Ok(Found::Key(key)),
            (None, None, None) => Ok(Found::Nothing),
        }
    }

    /// Makes the file `path`, one of these: after a crash it is there whole, or not at all. Only
    /// its owner can read it, from the first moment on. False when it was there already; it is left
    /// as it is.
    pub(super) fn write_new(&self, path: &Path, contents: &[u8]) -> Result<bool, IdentityError> {
        match try_write_new(path, contents) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(IdentityError::Write { path: path.to_owned(), source }),
        }
    }

    /// Where the key is.
    pub(super) fn key_file(&self, texts: &Texts) -> &Path {
        if texts.key.is_some() { &self.key } else { &self.certificate }
    }

    /// A notice when others than the owner can read (or change) the key. Never on systems without
    /// Unix permissions, where the user's own folders are private by inheritance.
    pub(super) fn key_readable_by_others(&self, texts: &Texts) -> Option<IdentityNotice> {
        let path = self.key_file(texts);
        private::is_open_to_others(path).then(|| IdentityNotice::KeyReadableByOthers { path: path.to_owned() })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    let contents = File::open(path).and_then(|file| {
        let mut contents = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut contents).map(|_| contents)
    });
    match contents {
        Ok(contents) if contents.len() as u64 > MAX_FILE => {
            Err(IdentityError::TooLarge { path: path.to_owned(), limit: MAX_FILE })
        }
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Read { path: path.to_owned(), source }),
    }
}

/// Writes beside `path`, then gives the file its name, if that is free.
fn try_write_new(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private::make_folder(folder)?;
    let mut file = tempfile::Builder::new().prefix(".hardline-").tempfile_in(folder)?; // mode 0600
    private::protect(file.as_file(), file.path())?; // where modes are unknown
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    private::sync_folder(folder)
}
