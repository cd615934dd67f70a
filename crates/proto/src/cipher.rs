//! Plaintext ⇄ ciphertext for those who know a key hash, on one day: a byte for the version, a
//! nonce, and XChaCha20-Poly1305 over the rest.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use crate::key::KeyHash;
use crate::rolling::Day;

/// Length of the nonce, in bytes: long enough to be random.
pub(crate) const NONCE_LEN: usize = 24;

/// Bytes that encryption adds: version, nonce, Poly1305 tag.
pub(crate) const OVERHEAD: usize = 1 + NONCE_LEN + 16;

/// One kind of message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cipher {
    /// Version of the format, the first byte.
    pub(crate) version: u8,
    /// What parts its keys from those of other kinds.
    pub(crate) context: &'static [u8],
}

/// Why bytes cannot be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecryptError {
    /// Of a version that this program does not know.
    UnknownVersion,
    /// For another service, another day, of another kind, or changed since.
    NotDecryptable,
}

impl Cipher {
    /// The encryption key: BLAKE2b-256 over the context, the key hash, and the day as unsigned
    /// 64-bit little-endian.
    pub(crate) fn key(&self, service: &KeyHash, day: Day) -> [u8; 32] {
        let hash = Blake2b::<U32>::new().chain_update(self.context).chain_update(service.as_bytes());
        hash.chain_update(day.0.to_le_bytes()).finalize().into()
    }

    /// Encrypts. `nonce` has to be random: a repeat would show both texts.
    pub(crate) fn encrypt(&self, plaintext: &[u8], service: &KeyHash, day: Day, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let payload = Payload { msg: plaintext, aad: &[self.version] };
        let sealed = self.aead(service, day).encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("ChaCha20 refuses only texts of more than 256 GiB");
        [&[self.version][..], &nonce, &sealed].concat()
    }

    /// Decrypts.
    pub(crate) fn decrypt(&self, bytes: &[u8], service: &KeyHash, day: Day) -> Result<Vec<u8>, DecryptError> {
        let (version, rest) = bytes.split_first().ok_or(DecryptError::NotDecryptable)?;
        if *version != self.version {
            return Err(DecryptError::UnknownVersion);
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(DecryptError::NotDecryptable)?;
        let payload = Payload { msg: sealed, aad: &[self.version] };
        let plaintext = self.aead(service, day).decrypt(&XNonce::from(*nonce), payload);
        plaintext.map_err(|_| DecryptError::NotDecryptable)
    }

    fn aead(&self, service: &KeyHash, day: Day) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.key(service, day)))
    }
}
