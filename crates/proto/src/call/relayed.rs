//! What a service says to a call that a relay has carried: where it is itself. In the DHT its
//! record says that; here nothing but the relay may be known of it.

use std::net::SocketAddr;

use super::wire::{mapping_code, read_addresses, read_cookie, read_mapping, take};
use super::{CallError, CallId, Cookie, MAX_ADDRESSES, NONCE_LEN};
use crate::cipher::{Cipher, OVERHEAD};
use crate::key::KeyHash;
use crate::punch::Mapping;
use crate::relay::message::{CLIENT_ADDRESS, client_address};
use crate::rolling::Day;

const PLAINTEXT_LEN: usize = CallId::LEN + 1 + 1 + Cookie::LEN + 1 + MAX_ADDRESSES * CLIENT_ADDRESS;

/// Length of every sealed answer that goes through a relay, in bytes; less than a call's.
pub const RELAYED_ANSWER_LEN: usize = OVERHEAD + PLAINTEXT_LEN;

const CIPHER: Cipher = Cipher { version: 1, context: b"hardline/2 relayed answer" };

/// Answers one call, which is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayedAnswer {
    /// The call.
    pub call: CallId,
    /// What the router of the service does.
    pub mapping: Mapping,
    /// To be sent back where more than a few datagrams are needed.
    pub cookie: Option<Cookie>,
    /// Where the service is, at most [`MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
}

impl RelayedAnswer {
    /// Seals an answer of `service` for one day; addresses beyond [`MAX_ADDRESSES`] are left out.
    /// `nonce` has to be random.
    #[must_use]
    pub fn seal(&self, service: &KeyHash, day: Day, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let addresses: Vec<_> = self.addresses.iter().take(MAX_ADDRESSES).collect();
        let cookie = self.cookie.map_or([0; Cookie::LEN], |cookie| *cookie.as_bytes());
        let mut plaintext = Vec::with_capacity(PLAINTEXT_LEN);
        plaintext.extend(self.call.as_bytes());
        plaintext.extend([mapping_code(self.mapping), u8::from(self.cookie.is_some())]);
        plaintext.extend(cookie);
        plaintext.push(u8::try_from(addresses.len()).expect("there are few"));
        plaintext.extend(addresses.into_iter().flat_map(|addr| client_address(*addr)));
        plaintext.resize(PLAINTEXT_LEN, 0);
        CIPHER.encrypt(&plaintext, service, day, nonce)
    }

    /// Opens what [`seal`](Self::seal) made. Whoever knows the key hash can write one.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn open(bytes: &[u8], service: &KeyHash, day: Day) -> Result<Self, CallError> {
        if bytes.len() != RELAYED_ANSWER_LEN {
            return Err(CallError::Length { len: bytes.len() });
        }
        let plaintext = CIPHER.decrypt(bytes, service, day)?;
        Self::read(&plaintext)
    }

    /// Reads what is inside. Only for those who check [`open`](Self::open).
    ///
    /// # Errors
    /// [`CallError::Malformed`].
    pub fn read(plaintext: &[u8]) -> Result<Self, CallError> {
        let mut rest = plaintext;
        Ok(Self {
            call: CallId::from_bytes(*take(&mut rest).ok_or(CallError::Malformed("identifier"))?),
            mapping: read_mapping(take::<1>(&mut rest).ok_or(CallError::Malformed("mapping"))?[0]),
            cookie: read_cookie(&mut rest).ok_or(CallError::Malformed("cookie"))?,
            addresses: read_addresses(&mut rest).ok_or(CallError::Malformed("addresses"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: KeyHash = KeyHash::from_bytes([1; 20]);

    #[test]
    fn an_answer_is_read_as_it_was_written_and_by_nobody_else() {
        let addresses: Vec<SocketAddr> =
            ["203.0.113.5:7008", "[2001:db8::1]:7008"].map(|text| text.parse().unwrap()).to_vec();
        for cookie in [None, Some(Cookie::from_bytes([4; 16]))] {
            let answer = RelayedAnswer {
                call: CallId::from_bytes([3; 16]),
                mapping: Mapping::OneForAll,
                cookie,
                addresses: addresses.clone(),
            };
            let bytes = answer.seal(&SERVICE, Day(5), [6; NONCE_LEN]);
            assert_eq!(bytes.len(), RELAYED_ANSWER_LEN);
            assert_eq!(RelayedAnswer::open(&bytes, &SERVICE, Day(5)), Ok(answer));
            assert_eq!(RelayedAnswer::open(&bytes, &SERVICE, Day(6)), Err(CallError::NotDecryptable));
            let other = KeyHash::from_bytes([2; 20]);
            assert_eq!(RelayedAnswer::open(&bytes, &other, Day(5)), Err(CallError::NotDecryptable));
            let cut = RelayedAnswer::open(&bytes[1..], &SERVICE, Day(5));
            assert_eq!(cut, Err(CallError::Length { len: RELAYED_ANSWER_LEN - 1 }));
        }
    }
}
