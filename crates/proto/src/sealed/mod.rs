//! Addresses ⇄ a value for the DHT that only the service can make, and only who knows its name can
//! read.
//!
//! A record is written as JSON, signed together with its certificate ([`proof`]), and encrypted
//! under a key made of the key hash and the day ([`envelope`]). Who stores it, or comes by its key,
//! learns neither name nor addresses.

pub mod envelope; // plaintext ⇄ ciphertext of one service and day
mod home; // private addresses, for who is behind the same router
mod newest; // which of a publisher's records counts
pub mod proof; // certificate, statement and signature ⇄ bytes
mod statement; // record ⇄ JSON

pub use home::{Home, MAX_INSIDE};
pub use newest::Newest;
pub use proof::{Proof, Signature};

use std::net::SocketAddr;

use crate::hosts::{Host, HostList, HostPort};
use crate::key::KeyHash;
use crate::rolling::Day;

/// Longest certificate in a sealed record, in bytes. One with RSA-8192 has 2,300.
pub const MAX_CERTIFICATE: usize = 8 * 1024;

/// Longest signature, in bytes: RSA-8192.
pub const MAX_SIGNATURE: usize = 1024;

/// Longest statement, in bytes: sixteen long host names, and room to grow.
pub const MAX_STATEMENT: usize = 8 * 1024;

/// Longest sealed record, in bytes. A value of the DHT may have 65,400.
pub const MAX_SEALED: usize = envelope::OVERHEAD + proof::OVERHEAD + MAX_CERTIFICATE + MAX_SIGNATURE + MAX_STATEMENT;

const _: () = assert!(MAX_SEALED < 65_400);

/// Longest time from issue to expiry, in milliseconds. A clock that was wrong once does not make a
/// record that is read for ever.
pub const MAX_LIFETIME_MS: u64 = 24 * 3600 * 1000;

/// How far in the future a record may be issued, in milliseconds: clocks at home are wrong by
/// minutes, now and then by a time zone.
pub const MAX_AHEAD_MS: u64 = 2 * 3600 * 1000;

/// Versions of the tunnel kept of one record.
pub const MAX_TUNNEL_VERSIONS: usize = 8;

/// Relays kept of one record. One may be away; more than a few nobody runs.
pub const MAX_RELAYS: usize = 4;

/// Addresses for QUIC kept of one record: one or two of each family.
pub const MAX_QUIC: usize = 4;

/// Addresses for probes kept of one record: one of each family, and a few more.
pub const MAX_PUNCH: usize = 4;

/// What a service says of itself. Times are Unix time in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    /// Where it is reached, best first.
    pub addresses: HostList,
    /// Relays that join clients with it, best first, at most [`MAX_RELAYS`].
    pub relays: HostList,
    /// Where it speaks QUIC, best first, at most [`MAX_QUIC`].
    pub quic: Vec<SocketAddr>,
    /// Where it is reached from its own network.
    pub home: Home,
    /// Where others see the socket of QUIC, as far as it knows, for probes of those who
    /// [call](crate::call); at most [`MAX_PUNCH`].
    pub punch: Vec<SocketAddr>,
    /// When this was written.
    pub issued_ms: u64,
    /// From when on nobody should believe it.
    pub expires_ms: u64,
    /// Rises with each record of one publisher, also when its clock is set back.
    pub sequence: u64,
    /// Tells several computers with one identity apart; random, and kept by the publisher.
    pub publisher: u64,
    /// Versions of the tunnel that are spoken at these addresses.
    pub tunnels: Vec<u16>,
}

/// The network an address belongs to, by which a reader without it passes over the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// IPv4.
    Ipv4,
    /// IPv6, the mesh aside.
    Ipv6,
    /// 200::/7, the Yggdrasil mesh.
    Mesh,
    /// A DNS name.
    Name,
}

impl AddressKind {
    /// The kind of `at`.
    #[must_use]
    pub fn of(at: &HostPort) -> Self {
        match &at.host {
            Host::Name(_) => Self::Name,
            Host::LinkLocal(..) => Self::Ipv6,
            Host::Ip(ip) => match ip.to_canonical() {
                std::net::IpAddr::V4(_) => Self::Ipv4,
                std::net::IpAddr::V6(ip) if ip.segments()[0] & 0xfe00 == 0x0200 => Self::Mesh,
                std::net::IpAddr::V6(_) => Self::Ipv6,
            },
        }
    }

    /// As a record has it.
    const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Mesh => "mesh",
            Self::Name => "name",
        }
    }
}

/// Why a record cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The certificate is longer than [`MAX_CERTIFICATE`].
    #[error("the certificate has {len} bytes, {MAX_CERTIFICATE} fit into a sealed record")]
    CertificateTooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// The signature is longer than [`MAX_SIGNATURE`].
    #[error("the signature has {len} bytes, {MAX_SIGNATURE} fit into a sealed record")]
    SignatureTooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// The key does not sign.
    #[error("the private key does not sign")]
    NotSigned,
}

/// Why bytes are not a sealed record of this service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// Longer than [`MAX_SEALED`].
    #[error("{len} bytes are too many for a sealed record")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// Of a version that this program does not know.
    #[error("sealed record of an unknown version")]
    UnknownVersion,
    /// Not encrypted for this service and day, or changed since.
    #[error("not encrypted for this service and day")]
    NotDecryptable,
    /// Decrypted, but not what a record looks like.
    #[error("malformed sealed record: {0}")]
    Malformed(&'static str),
    /// Somebody else's certificate.
    #[error("sealed by {got}, not by {expected}")]
    WrongKey {
        /// The service looked for.
        expected: KeyHash,
        /// Whose certificate it is.
        got: KeyHash,
    },
    /// The signature is not that of the certificate's key.
    #[error("the signature is not genuine")]
    BadSignature,
    /// Its time is over.
    #[error("expired {ago_ms} ms ago")]
    Expired {
        /// How long ago, in milliseconds.
        ago_ms: u64,
    },
    /// Issued more than [`MAX_AHEAD_MS`] from now, or with a lifetime that is negative or above
    /// [`MAX_LIFETIME_MS`].
    #[error("its times make no sense: one of the two clocks is wrong")]
    BadTimes,
}

/// Seals `record` for one day. `sign` makes the signature of the certificate's key over the bytes
/// it is given, and `None` when it cannot. `nonce` has to be random.
///
/// # Errors
/// [`SealError`].
pub fn seal(
    record: &SealedRecord,
    certificate: &[u8],
    day: Day,
    nonce: [u8; envelope::NONCE_LEN],
    sign: impl FnOnce(&[u8]) -> Option<Signature>,
) -> Result<Vec<u8>, SealError> {
    if certificate.len() > MAX_CERTIFICATE {
        return Err(SealError::CertificateTooLarge { len: certificate.len() });
    }
    let statement = statement::write(record);
    let signature = sign(&proof::signed_bytes(&statement)).ok_or(SealError::NotSigned)?;
    if signature.bytes.len() > MAX_SIGNATURE {
        return Err(SealError::SignatureTooLarge { len: signature.bytes.len() });
    }
    let plaintext = proof::write(certificate, &signature, &statement);
    Ok(envelope::encrypt(&plaintext, &KeyHash::of_certificate(certificate), day, nonce))
}

/// Opens what [`seal`] made for `key` and `day`. `verify` judges the signature; it is called only
/// for a certificate that hashes to `key`. Whether the record is a replay, [`Newest`] says.
///
/// # Errors
/// [`SealedError`] says what is wrong with it; anybody can write such bytes.
pub fn open(
    bytes: &[u8],
    key: &KeyHash,
    day: Day,
    now_ms: u64,
    verify: impl FnOnce(&Proof<'_>) -> bool,
) -> Result<SealedRecord, SealedError> {
    if bytes.len() > MAX_SEALED {
        return Err(SealedError::TooLarge { len: bytes.len() });
    }
    let plaintext = envelope::decrypt(bytes, key, day)?;
    let proof = Proof::read(&plaintext)?;
    let got = KeyHash::of_certificate(proof.certificate);
    if got != *key {
        return Err(SealedError::WrongKey { expected: *key, got });
    }
    if !verify(&proof) {
        return Err(SealedError::BadSignature);
    }
    let record = statement::read(proof.statement)?;
    check_times(&record, now_ms)?;
    Ok(record)
}

fn check_times(record: &SealedRecord, now_ms: u64) -> Result<(), SealedError> {
    let lifetime = record.expires_ms.checked_sub(record.issued_ms);
    if lifetime.is_none_or(|lifetime| lifetime > MAX_LIFETIME_MS)
        || record.issued_ms > now_ms.saturating_add(MAX_AHEAD_MS)
    {
        return Err(SealedError::BadTimes);
    }
    if record.expires_ms <= now_ms {
        return Err(SealedError::Expired { ago_ms: now_ms - record.expires_ms });
    }
    Ok(())
}
