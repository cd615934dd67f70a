use std::fmt;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use super::{HEADER, RecordError, TAG};

/// One direction's key, and the number of its next record.
pub(super) struct Keys {
    key: LessSafeKey,
    iv: [u8; ring::aead::NONCE_LEN],
    sequence: u64,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, RecordError> {
        let (algorithm, key, iv): (&Algorithm, _, _) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(unknown_cipher()),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| unknown_cipher())?;
        let iv = iv.as_ref().try_into().map_err(|_| unknown_cipher())?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    /// Records sealed or opened so far.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Decrypts in place and returns the plaintext, without the tag.
    pub(super) fn open<'a>(&mut self, header: [u8; HEADER], sealed: &'a mut [u8]) -> Result<&'a [u8], RecordError> {
        let nonce = self.next_nonce()?;
        let plain = self.key.open_in_place(nonce, Aad::from(header), sealed);
        plain.map(|plain| &*plain).map_err(|_| RecordError::NotAuthentic)
    }

    /// Encrypts in place and returns the tag.
    pub(super) fn seal(&mut self, header: [u8; HEADER], plain: &mut [u8]) -> Result<[u8; TAG], RecordError> {
        let nonce = self.next_nonce()?;
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(header), plain);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(RecordError::TooLong)
    }

    /// The nonce of the next record (section 5.3): used once, and then never again under this key.
    fn next_nonce(&mut self) -> Result<Nonce, RecordError> {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        // Sequence numbers do not wrap (section 5.3).
        self.sequence = self.sequence.checked_add(1).ok_or(RecordError::Unexpected)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

fn unknown_cipher() -> RecordError {
    RecordError::Secrets(rustls::Error::General("a cipher that TLS 1.3 has not".to_owned()))
}
