//! `NAME`, `NAME.private`, `NAME.hash` → certificate and key; made on first use.

use std::path::Path;
use std::sync::Arc;

use hardline_proto::KeyHash;
use rustls::sign::CertifiedKey;

/// A certificate and the key that proves it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name.
    pub key: KeyHash,
    /// What TLS presents.
    pub certified: Arc<CertifiedKey>,
    /// Free text in front of the hash in the `.hash` file: the password of this service (as the releases read it).
    pub password: Option<String>,
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
        path: std::path::PathBuf,
    },
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// To be refined: one variant per cause, each names the file and the remedy.
    #[error("identity")]
    Todo,
}

impl Identity {
    /// Loads the identity at `path`, or makes it.
    ///
    /// # Errors
    /// [`IdentityError`] says which file is wrong, and how.
    pub fn load_or_create(path: &Path) -> Result<(Self, Vec<IdentityNotice>), IdentityError> {
        let _ = path;
        todo!()
    }

    /// Makes an identity that is never written.
    ///
    /// # Errors
    /// [`IdentityError`] when no key can be made.
    pub fn ephemeral() -> Result<Self, IdentityError> {
        todo!()
    }
}
