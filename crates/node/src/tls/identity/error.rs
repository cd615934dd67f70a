//! What is wrong with which file of an identity, and the remedy.

use std::io;
use std::path::PathBuf;

use hardline_proto::KeyHash;
use hardline_proto::key::KeyHashError;

use crate::tls::certificate::CertificateError;

/// Why an identity cannot be used. Every variant names the file; [`Self::remedy`] says what to do.
/// None holds any part of a private key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("reading {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file, or the folder for it, cannot be made.
    #[error("writing {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is larger than any certificate or key.
    #[error("{path} has more than {limit} bytes", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most it may have, in bytes.
        limit: u64,
    },
    /// A file has a PEM block that is damaged.
    #[error("{path} is damaged: a PEM block in it cannot be decoded", path = path.display())]
    BadPem {
        /// The file.
        path: PathBuf,
    },
    /// The certificate's file has no certificate in it.
    #[error("{path} has no PEM certificate in it", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate cannot be used.
    #[error("the certificate in {path} cannot be used", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: CertificateError,
    },
    /// The certificate's hash has decimal digits only, and TLS does not carry such a name.
    #[error("the hash of {path} is {hash}: it has decimal digits only, and TLS does not carry such a name", path = path.display())]
    AllDecimal {
        /// The certificate's file.
        path: PathBuf,
        /// Its hash.
        hash: KeyHash,
    },
    /// There is a certificate, but no key for it.
    #[error("{certificate} is there, but its private key {key} is not", certificate = certificate.display(), key = key.display())]
    MissingKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// The key's file has no key in it.
    #[error("{path} has no PEM private key in it", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is protected by a passphrase, which a service that starts by itself cannot ask for.
    #[error("the private key in {path} is encrypted", path = path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that cannot sign here, or is damaged.
    #[error("the private key in {path} is damaged, or not RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519", path = path.display())]
    UnusableKey {
        /// The file.
        path: PathBuf,
    },
    /// There is a key without a certificate, and none can be made for this kind of key.
    #[error("{key} is there, but its certificate {certificate} is not, and for this kind of key none can be made", certificate = certificate.display(), key = key.display())]
    MissingCertificate {
        /// Where the certificate should be.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The key is that of another certificate.
    #[error("the private key in {key} is not that of the certificate in {certificate}", certificate = certificate.display(), key = key.display())]
    KeyDoesNotFit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// There is a hash without a certificate: the address is known, but what proves it is lost.
    #[error("{hash} is there, but its certificate {certificate} is not", certificate = certificate.display(), hash = hash.display())]
    MissingCertificateOfHash {
        /// Where the certificate should be.
        certificate: PathBuf,
        /// The hash's file.
        hash: PathBuf,
    },
    /// The hash's file holds no key hash.
    #[error("{path} holds no key hash", path = path.display())]
    BadHash {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyHashError,
    },
    /// The hash's file contradicts the certificate.
    #[error("{path} says {stated}, but the hash of {certificate} is {actual}", path = path.display(), certificate = certificate.display())]
    HashContradicts {
        /// The hash's file.
        path: PathBuf,
        /// What it says.
        stated: KeyHash,
        /// The certificate's file.
        certificate: PathBuf,
        /// Its hash.
        actual: KeyHash,
    },
    /// A key or certificate could not be made.
    #[error("making a key and certificate")]
    Make(#[source] rcgen::Error),
    /// The files kept changing while they were read.
    #[error("the files of {path} keep changing, or one is a link to nowhere", path = path.display())]
    Unsettled {
        /// The certificate's file.
        path: PathBuf,
    },
}

impl IdentityError {
    /// What a person can do about it, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!("make {} readable for this user, or choose another name", path.display())
            }
            Self::Write { path, .. } => {
                format!("make room and let this user write {}, or choose another name", path.display())
            }
            Self::TooLarge { path, .. } | Self::BadPem { path } => {
                format!("put the PEM file you meant at {}, or choose another name", path.display())
            }
            Self::NoCertificate { path } => {
                format!("if it is in DER: openssl x509 -inform DER -in FILE -out {}", path.display())
            }
            Self::Certificate { .. } | Self::AllDecimal { .. } => {
                "choose another name, and a new identity is made there".to_owned()
            }
            Self::UnusableKey { path } => format!(
                "choose another name, and a new identity is made there; an elliptic-curve key that lacks its public part is \
                 made whole by: openssl ec -in {0} -out {0}.whole",
                path.display()
            ),
            Self::MissingKey { certificate, key } => format!(
                "put the key back at {}, or move {} away and a new identity is made",
                key.display(),
                certificate.display()
            ),
            Self::NoKey { path } => {
                format!("if it is in DER: openssl pkey -inform DER -in FILE -out {}", path.display())
            }
            Self::EncryptedKey { path } => {
                format!(
                    "take the passphrase away: openssl pkey -in {0} -out {0}.plain, and put that in its place",
                    path.display()
                )
            }
            Self::MissingCertificate { certificate, key } => format!(
                "make one: openssl req -x509 -subj /CN=hardline -days 36500 -key {} -out {}",
                key.display(),
                certificate.display()
            ),
            Self::KeyDoesNotFit { .. } => "put back the certificate and key that belong together".to_owned(),
            Self::MissingCertificateOfHash { certificate, hash } => format!(
                "put the certificate back at {}, or move {} away and an identity with a new address is made",
                certificate.display(),
                hash.display()
            ),
            Self::BadHash { path, .. } | Self::HashContradicts { path, .. } => {
                format!("if the certificate is the right one, move {} away and it is made again", path.display())
            }
            Self::Make(_) | Self::Unsettled { .. } => "try again".to_owned(),
        }
    }
}
