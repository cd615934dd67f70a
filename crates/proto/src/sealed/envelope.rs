//! Plaintext ⇄ ciphertext of one service and day: a byte for the version, a nonce, and
//! XChaCha20-Poly1305 over the rest.

use super::SealedError;
use crate::cipher::{self, Cipher, DecryptError};
use crate::key::KeyHash;
use crate::rolling::Day;

/// Length of the nonce, in bytes: long enough to be random.
pub const NONCE_LEN: usize = cipher::NONCE_LEN;

/// Bytes that encryption adds: version, nonce, Poly1305 tag.
pub const OVERHEAD: usize = cipher::OVERHEAD;

const CIPHER: Cipher = Cipher { version: 2, context: b"hardline/2 sealed record" };

/// The encryption key: BLAKE2b-256 over a text, the key hash, and the day as unsigned 64-bit
/// little-endian.
#[must_use]
pub fn key(key: &KeyHash, day: Day) -> [u8; 32] {
    CIPHER.key(key, day)
}

/// Encrypts. `nonce` has to be random: a repeat would show both texts.
#[must_use]
pub fn encrypt(plaintext: &[u8], service: &KeyHash, day: Day, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
    CIPHER.encrypt(plaintext, service, day, nonce)
}

/// Decrypts.
///
/// # Errors
/// [`SealedError::UnknownVersion`]; [`SealedError::NotDecryptable`] for another service, another
/// day, or changed bytes.
pub fn decrypt(bytes: &[u8], service: &KeyHash, day: Day) -> Result<Vec<u8>, SealedError> {
    CIPHER.decrypt(bytes, service, day).map_err(|error| match error {
        DecryptError::UnknownVersion => SealedError::UnknownVersion,
        DecryptError::NotDecryptable => SealedError::NotDecryptable,
    })
}
