//! Plaintext ⇄ ciphertext of one service and day: a byte for the version, a nonce, and
//! XChaCha20-Poly1305 over the rest.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use super::SealedError;
use crate::key::KeyHash;
use crate::rolling::Day;

/// Length of the nonce, in bytes: long enough to be random.
pub const NONCE_LEN: usize = 24;

/// Bytes that encryption adds: version, nonce, Poly1305 tag.
pub const OVERHEAD: usize = 1 + NONCE_LEN + 16;

/// Version of the format, the first byte.
const VERSION: u8 = 2;

/// What parts this key from other uses of the same hash.
const KEY_CONTEXT: &[u8] = b"hardline/2 sealed record";

/// The encryption key: BLAKE2b-256 over a text, the key hash, and the day as unsigned 64-bit
/// little-endian.
#[must_use]
pub fn key(key: &KeyHash, day: Day) -> [u8; 32] {
    let hash = Blake2b::<U32>::new().chain_update(KEY_CONTEXT).chain_update(key.as_bytes());
    hash.chain_update(day.0.to_le_bytes()).finalize().into()
}

/// Encrypts. `nonce` has to be random: a repeat would show both texts.
#[must_use]
pub fn encrypt(plaintext: &[u8], service: &KeyHash, day: Day, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
    let payload = Payload { msg: plaintext, aad: &[VERSION] };
    let sealed = cipher(service, day).encrypt(&XNonce::from(nonce), payload);
    let sealed = sealed.expect("ChaCha20 refuses only texts of more than 256 GiB");
    [&[VERSION][..], &nonce, &sealed].concat()
}

/// Decrypts.
///
/// # Errors
/// [`SealedError::UnknownVersion`]; [`SealedError::NotDecryptable`] for another service, another
/// day, or changed bytes.
pub fn decrypt(bytes: &[u8], service: &KeyHash, day: Day) -> Result<Vec<u8>, SealedError> {
    let (version, rest) = bytes.split_first().ok_or(SealedError::NotDecryptable)?;
    if *version != VERSION {
        return Err(SealedError::UnknownVersion);
    }
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealedError::NotDecryptable)?;
    let payload = Payload { msg: sealed, aad: &[VERSION] };
    cipher(service, day).decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealedError::NotDecryptable)
}

fn cipher(service: &KeyHash, day: Day) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(key(service, day)))
}
