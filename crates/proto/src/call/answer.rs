//! What a service says to a call that asks for more than a few datagrams: a cookie, which the
//! caller sends back with its next call.
//!
//! The cookie belongs to the address that was named, and lives for some minutes. It shows that the
//! caller is there now and reads what is said to it: a call that was repeated, or written ahead,
//! gets nowhere.

use std::net::IpAddr;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};

use super::wire::{mapping_code, read_mapping};
use super::{CallError, CallId, NONCE_LEN};
use crate::cipher::{Cipher, OVERHEAD};
use crate::key::KeyHash;
use crate::punch::Mapping;
use crate::rolling::Day;

/// Length of every sealed answer, in bytes.
const ANSWER_LEN: usize = OVERHEAD + CallId::LEN + Cookie::LEN + 1;

/// Time for which a cookie is made, in milliseconds; it is taken until the end of the next such
/// time.
const EPOCH_MS: u64 = 2 * 60 * 1000;

const CIPHER: Cipher = Cipher { version: 1, context: b"hardline/2 answer" };

/// Belongs to one address for some minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie([u8; Self::LEN]);

impl Cookie {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Takes what an answer had.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// Makes cookies, and knows them again without keeping any.
#[derive(Clone)]
pub struct CookieSecret([u8; 32]);

impl std::fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieSecret")
    }
}

impl CookieSecret {
    /// Takes 32 bytes, which have to be random and are told to nobody.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The cookie of `ip` with `service`.
    #[must_use]
    pub fn cookie(&self, service: &KeyHash, ip: IpAddr, now_ms: u64) -> Cookie {
        self.of_epoch(service, ip, now_ms / EPOCH_MS)
    }

    /// Whether `cookie` was made for `ip` and `service` lately.
    #[must_use]
    pub fn knows(&self, cookie: &Cookie, service: &KeyHash, ip: IpAddr, now_ms: u64) -> bool {
        let epoch = now_ms / EPOCH_MS;
        [epoch, epoch.wrapping_sub(1)].into_iter().any(|epoch| self.of_epoch(service, ip, epoch) == *cookie)
    }

    fn of_epoch(&self, service: &KeyHash, ip: IpAddr, epoch: u64) -> Cookie {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let hash = Blake2b::<U32>::new().chain_update(self.0).chain_update(service.as_bytes());
        let hash = hash.chain_update(ip.octets()).chain_update(epoch.to_le_bytes()).finalize();
        let mut cookie = [0; Cookie::LEN];
        cookie.copy_from_slice(&hash[..Cookie::LEN]);
        Cookie(cookie)
    }
}

/// Answers one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The call.
    pub call: CallId,
    /// To be sent back.
    pub cookie: Cookie,
    /// What the router of the service does: the caller's part depends on it.
    pub mapping: Mapping,
}

impl Answer {
    /// Seals an answer of `service` for one day. `nonce` has to be random.
    #[must_use]
    pub fn seal(&self, service: &KeyHash, day: Day, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let plaintext = [&self.call.as_bytes()[..], &self.cookie.0, &[mapping_code(self.mapping)]].concat();
        CIPHER.encrypt(&plaintext, service, day, nonce)
    }

    /// Opens what [`seal`](Self::seal) made. Whoever knows the key hash can write one; a wrong
    /// cookie is refused by the service, and nothing else hangs on it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn open(bytes: &[u8], service: &KeyHash, day: Day) -> Result<Self, CallError> {
        if bytes.len() != ANSWER_LEN {
            return Err(CallError::Length { len: bytes.len() });
        }
        let plaintext = CIPHER.decrypt(bytes, service, day)?;
        let (call, cookie) = plaintext.split_first_chunk().ok_or(CallError::Malformed("identifier"))?;
        let (cookie, mapping) = cookie.split_first_chunk().ok_or(CallError::Malformed("cookie"))?;
        let mapping = read_mapping(*mapping.first().ok_or(CallError::Malformed("mapping"))?);
        Ok(Self { call: CallId(*call), cookie: Cookie(*cookie), mapping })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: KeyHash = KeyHash::from_bytes([1; 20]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_cookie_is_for_one_address_and_some_minutes() {
        let secret = CookieSecret::from_bytes([7; 32]);
        let cookie = secret.cookie(&SERVICE, ip("203.0.113.5"), 10 * EPOCH_MS);
        let knows = |at: &str, now_ms| secret.knows(&cookie, &SERVICE, ip(at), now_ms);
        assert!(knows("203.0.113.5", 10 * EPOCH_MS));
        assert!(knows("203.0.113.5", 12 * EPOCH_MS - 1));
        assert!(!knows("203.0.113.5", 12 * EPOCH_MS));
        assert!(!knows("203.0.113.5", 9 * EPOCH_MS));
        assert!(!knows("203.0.113.6", 10 * EPOCH_MS));
        assert!(!secret.knows(&cookie, &KeyHash::from_bytes([2; 20]), ip("203.0.113.5"), 10 * EPOCH_MS));
        assert!(!CookieSecret::from_bytes([8; 32]).knows(&cookie, &SERVICE, ip("203.0.113.5"), 10 * EPOCH_MS));
    }

    #[test]
    fn an_answer_is_read_as_it_was_written_and_by_nobody_else() {
        let answer = |mapping| Answer { call: CallId([3; 16]), cookie: Cookie([4; 16]), mapping };
        for mapping in [Mapping::Unknown, Mapping::OneForAll, Mapping::Symmetric] {
            let bytes = answer(mapping).seal(&SERVICE, Day(5), [6; NONCE_LEN]);
            assert_eq!(Answer::open(&bytes, &SERVICE, Day(5)), Ok(answer(mapping)));
        }
        let bytes = answer(Mapping::Unknown).seal(&SERVICE, Day(5), [6; NONCE_LEN]);
        assert_eq!(Answer::open(&bytes, &SERVICE, Day(6)), Err(CallError::NotDecryptable));
        assert_eq!(Answer::open(&bytes[1..], &SERVICE, Day(5)), Err(CallError::Length { len: ANSWER_LEN - 1 }));
    }
}
