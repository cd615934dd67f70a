//! An invitation: a link that holds the key hash of a service and a secret.
//!
//! `http://localhost:7009/invite/CODE`. The code is the base32 (RFC 4648, section 6, in lower case)
//! of 40 bytes: the key hash, the secret, and 4 bytes of a hash of both, by which a wrong character
//! is told from an invitation that nobody made.

use std::fmt;

use super::{Door, is_same};
use crate::key::{KeyHash, truncated_blake2b_256};

/// The path in the link of an invitation; the code stands behind it.
pub const PATH: &str = "/invite/";

/// Characters of a code, and bytes in it.
const CODE: usize = 64;
const BYTES: usize = 40;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

const CHECK: &[u8] = b"hardline invitation check";
const DIGEST: &[u8] = b"hardline invitation digest";
const DOOR: [&[u8]; 2] = [b"hardline invitation door 1", b"hardline invitation door 2"];

/// What an invitation proves. Its `Debug` text hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; Secret::LEN]);

impl Secret {
    /// Its length in bytes: nobody guesses 128 bits.
    pub const LEN: usize = 16;

    /// The secret with these random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The door through which who has the secret comes to redeem it.
    #[must_use]
    pub fn door(&self) -> Door {
        let mut bytes = [0; Door::LEN];
        for (half, purpose) in bytes.chunks_exact_mut(Door::LEN / 2).zip(DOOR) {
            half.copy_from_slice(&truncated_blake2b_256(&[purpose, &self.0])[..Door::LEN / 2]);
        }
        Door::from_bytes(bytes)
    }

    /// What the service keeps in place of the secret.
    #[must_use]
    pub fn digest(&self) -> [u8; KeyHash::LEN] {
        truncated_blake2b_256(&[DIGEST, &self.0])
    }

    /// Whether this is the secret that `digest` is of. Takes the same time whatever is wrong.
    #[must_use]
    pub fn has_digest(&self, digest: &[u8; KeyHash::LEN]) -> bool {
        is_same(&self.digest(), digest)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(MASKED)")
    }
}

/// An invitation to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The service.
    pub key: KeyHash,
    /// What it is redeemed by.
    pub secret: Secret,
}

/// Why a text is no invitation. Neither text repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// It is something else.
    #[error("this is no invitation: the link of one has /invite/ in it, and 64 letters and digits behind that")]
    NotOne,
    /// A character is wrong, or some are missing.
    #[error("this invitation is not complete, or a character of it is wrong: copy the whole link once more")]
    Mistyped,
}

impl Invitation {
    /// The code alone.
    #[must_use]
    pub fn code(&self) -> String {
        let check = check(&self.key, &self.secret);
        base32(&[&self.key.as_bytes()[..], self.secret.as_bytes(), &check].concat())
    }

    /// The link for a computer whose gateway has `port`.
    #[must_use]
    pub fn link(&self, port: u16) -> String {
        format!("http://localhost:{port}{PATH}{}", self.code())
    }

    /// Reads a link or a code, in either case, with white space around it.
    ///
    /// # Errors
    /// [`InvitationError`] says whether it was meant to be one.
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let text = text.trim();
        let code = match text.split_once(PATH) {
            Some((_, behind)) => behind.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/'),
            None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && text.len() > 40 => {
                text
            }
            None => return Err(InvitationError::NotOne),
        };
        let bytes = unbase32(code).ok_or(InvitationError::Mistyped)?;
        let (key, rest) = bytes.split_first_chunk().ok_or(InvitationError::Mistyped)?;
        let (secret, written) = rest.split_first_chunk().ok_or(InvitationError::Mistyped)?;
        let (key, secret) = (KeyHash::from_bytes(*key), Secret(*secret));
        if written != check(&key, &secret) {
            return Err(InvitationError::Mistyped);
        }
        Ok(Self { key, secret })
    }
}

fn check(key: &KeyHash, secret: &Secret) -> [u8; 4] {
    let [a, b, c, d, ..] = truncated_blake2b_256(&[CHECK, key.as_bytes(), secret.as_bytes()]);
    [a, b, c, d]
}

/// Five bytes are eight characters.
fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(CODE);
    for five in bytes.chunks(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        text.extend((0..8).rev().map(|place| char::from(ALPHABET[(bits >> (5 * place) & 31) as usize])));
    }
    text
}

fn unbase32(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != CODE {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (five, eight) in bytes.chunks_exact_mut(5).zip(text.as_bytes().chunks_exact(8)) {
        let bits = eight.iter().try_fold(0_u64, |bits, c| Some(bits << 5 | value(*c)?))?;
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(bytes)
}

fn value(c: u8) -> Option<u64> {
    match c.to_ascii_lowercase() {
        c @ b'a'..=b'z' => Some(u64::from(c - b'a')),
        c @ b'2'..=b'7' => Some(u64::from(c - b'2') + 26),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation { key: KeyHash::from_bytes([7; 20]), secret: Secret::from_bytes([0xab; 16]) }
    }

    /// `base64.b32encode` of Python says the same of the key hash and the secret.
    #[test]
    fn a_code_is_64_characters_of_base32() {
        let code = invitation().code();
        assert_eq!(code.len(), CODE);
        assert!(code.starts_with("a4dqobyha4dqobyha4dqobyha4dqobyhvov2xk5lvov2xk5lvov2xk5l"), "{code}");
    }

    #[test]
    fn every_form_people_have_is_read() {
        let (code, link) = (invitation().code(), invitation().link(7009));
        assert_eq!(link, format!("http://localhost:7009/invite/{code}"));
        for text in [
            code.clone(),
            code.to_uppercase(),
            link.clone(),
            format!(" {link}\n"),
            format!("{link}/"),
            format!("{link}?x#y"),
            format!("localhost:1/invite/{code}"),
        ] {
            assert_eq!(Invitation::parse(&text), Ok(invitation()), "{text}");
        }
    }

    #[test]
    fn a_wrong_character_is_told_from_what_is_no_invitation() {
        let code = invitation().code();
        for at in 0..CODE {
            let other = if code.as_bytes()[at] == b'a' { "b" } else { "a" };
            let wrong = [&code[..at], other, &code[at + 1..]].concat();
            assert_eq!(Invitation::parse(&wrong), Err(InvitationError::Mistyped), "{at}");
            assert_eq!(Invitation::parse(&format!("/invite/{}", &code[..at])), Err(InvitationError::Mistyped));
        }
        for text in ["", "hello", "http://07070707.localhost:7009/", &"07".repeat(20), "http://example.org/a"] {
            assert_eq!(Invitation::parse(text), Err(InvitationError::NotOne), "{text}");
        }
    }

    #[test]
    fn neither_debug_text_nor_door_nor_digest_tells_the_secret() {
        let secret = Secret::from_bytes([0xab; 16]);
        assert_eq!(format!("{secret:?}"), "Secret(MASKED)");
        assert!(!format!("{:?}", invitation()).contains("ab, "));
        assert!(!secret.door().as_bytes().windows(4).any(|part| part == [0xab; 4]));
        assert!(secret.has_digest(&secret.digest()) && !Secret::from_bytes([0xac; 16]).has_digest(&secret.digest()));
    }
}
