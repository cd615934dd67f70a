//! `NAME`, `NAME.private`, `NAME.hash` → certificate and key; made on first use.

mod create; // nothing → key → certificate
mod error; // what is wrong with which file, and the remedy
mod files; // the three files: names, bounded reading, atomic writing
mod hash_file; // text of `NAME.hash` → access and key hash
mod load; // texts of the files → identity

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardline_proto::KeyHash;
use rustls::sign::CertifiedKey;

pub use error::IdentityError;
use files::{Files, Found};

pub(super) use create::pair as make_pair;

use crate::access::Access;

/// Steps to a complete identity: key, certificate, hash, and as many again for losing each to
/// another process that makes the same identity at the same time.
const MAX_STEPS: usize = 8;

/// A certificate and the key that proves it.
#[derive(Clone)]
pub struct Identity {
    /// The name.
    pub key: KeyHash,
    /// What TLS presents.
    pub certified: Arc<CertifiedKey>,
    /// Who may use the service: free text in front of the hash in the `.hash` file is its password,
    /// as the releases read it.
    pub access: Access,
}

/// What a person should hear about loading an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityNotice {
    /// Made anew.
    Created,
    /// The private key can be read by other users of this computer.
    KeyReadableByOthers {
        /// Its file.
        path: PathBuf,
    },
    /// The hash file was absent and could not be made. Nothing needs it but people and the released
    /// program.
    HashNotWritten {
        /// Its file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl Identity {
    /// Loads the identity at `path`, or makes it: `path` holds the certificate (PEM, the first one
    /// counts), `path.private` the key (PEM: PKCS#8, PKCS#1 or SEC1) and `path.hash` the key hash.
    ///
    /// What is absent is made: the key first, then a certificate for it, then the hash. Each file
    /// appears whole or not at all, none is ever overwritten, so a process that is killed in
    /// between leaves what the next start goes on from, and two processes at once end up with the
    /// same identity. Returns when all of it is on the disk.
    ///
    /// A `path` that holds the key as well needs no `path.private`. Blocks for some file accesses.
    ///
    /// # Errors
    /// [`IdentityError`] says which file is wrong, and how.
    pub fn load_or_create(path: &Path) -> Result<(Self, Vec<IdentityNotice>), IdentityError> {
        complete(&Files::new(path))
    }

    /// Makes an identity that is never written.
    ///
    /// # Errors
    /// [`IdentityError::Make`] when no key can be made.
    pub fn ephemeral() -> Result<Self, IdentityError> {
        create::ephemeral()
    }
}

/// Neither the key nor the password.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Takes one step after the other to an identity that is all there.
fn complete(files: &Files) -> Result<(Identity, Vec<IdentityNotice>), IdentityError> {
    let mut created = None;
    for _ in 0..MAX_STEPS {
        match files.read()? {
            Found::Nothing => {
                files.write_new(&files.key, &create::key()?)?;
            }
            Found::Key(key) => {
                let is_ours = files.write_new(&files.certificate, &create::certificate(files, &key)?)?;
                created = is_ours.then_some(IdentityNotice::Created);
            }
            Found::Identity(texts) => {
                let identity = load::identity(files, &texts)?;
                let hash_not_written = match &texts.hash {
                    Some(_) => None,
                    None => match files.write_new(&files.hash, identity.key.to_string().as_bytes()) {
                        Ok(true) => None,
                        Ok(false) => continue, // what the other process wrote counts
                        Err(IdentityError::Write { path, source }) => {
                            Some(IdentityNotice::HashNotWritten { path, reason: source.to_string() })
                        }
                        Err(other) => return Err(other),
                    },
                };
                let notices = [created, files.key_readable_by_others(&texts), hash_not_written];
                return Ok((identity, notices.into_iter().flatten().collect()));
            }
        }
    }
    Err(IdentityError::Unsettled { path: files.certificate.clone() })
}

#[cfg(test)]
mod tests;
