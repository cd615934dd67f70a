//! Call ⇄ bytes of a fixed length.
//!
//! ```text
//! uint64 issued; byte id[16]; byte mapping; byte has_cookie; byte cookie[16]; byte count;
//! {byte ip[16]; uint16 port;} addresses[count]; byte padding[to the end];
//! ```
//!
//! Numbers are big-endian, IPv4 addresses are mapped into IPv6.

use std::net::SocketAddr;

use super::{Call, CallError, CallId, Cookie, MAX_ADDRESSES, PLAINTEXT_LEN};
use crate::punch::Mapping;
use crate::relay::message::{CLIENT_ADDRESS, client_address, read_client_address};

const FIXED: usize = 8 + CallId::LEN + 1 + 1 + Cookie::LEN + 1;
const _: () = assert!(FIXED + MAX_ADDRESSES * CLIENT_ADDRESS <= PLAINTEXT_LEN);

pub(super) fn write(call: &Call) -> [u8; PLAINTEXT_LEN] {
    let addresses: Vec<_> = call.addresses.iter().take(MAX_ADDRESSES).collect();
    let cookie = call.cookie.map_or([0; Cookie::LEN], |cookie| *cookie.as_bytes());
    let mut bytes = Vec::with_capacity(PLAINTEXT_LEN);
    bytes.extend(call.issued_ms.to_be_bytes());
    bytes.extend(call.id.as_bytes());
    bytes.extend([mapping_code(call.mapping), u8::from(call.cookie.is_some())]);
    bytes.extend(cookie);
    bytes.push(u8::try_from(addresses.len()).expect("there are few"));
    bytes.extend(addresses.into_iter().flat_map(|addr| client_address(*addr)));
    bytes.resize(PLAINTEXT_LEN, 0);
    bytes.try_into().expect("resized to it")
}

pub(super) fn read(bytes: &[u8]) -> Result<Call, CallError> {
    let mut rest = bytes;
    let call = Call {
        issued_ms: u64::from_be_bytes(*take(&mut rest).ok_or(CallError::Malformed("time"))?),
        id: CallId::from_bytes(*take(&mut rest).ok_or(CallError::Malformed("identifier"))?),
        mapping: read_mapping(take::<1>(&mut rest).ok_or(CallError::Malformed("mapping"))?[0]),
        cookie: read_cookie(&mut rest).ok_or(CallError::Malformed("cookie"))?,
        addresses: read_addresses(&mut rest).ok_or(CallError::Malformed("addresses"))?,
    };
    Ok(call)
}

/// The outer `None` is a malformed one.
pub(super) fn read_cookie(rest: &mut &[u8]) -> Option<Option<Cookie>> {
    let [has_cookie] = *take::<1>(rest)?;
    let cookie = Cookie::from_bytes(*take(rest)?);
    match has_cookie {
        0 => Some(None),
        1 => Some(Some(cookie)),
        _ => None,
    }
}

pub(super) fn read_addresses(rest: &mut &[u8]) -> Option<Vec<SocketAddr>> {
    let [count] = *take::<1>(rest)?;
    if usize::from(count) > MAX_ADDRESSES {
        return None;
    }
    (0..count).map(|_| take(rest).map(read_client_address)).collect()
}

pub(super) const fn mapping_code(mapping: Mapping) -> u8 {
    match mapping {
        Mapping::Unknown => 0,
        Mapping::OneForAll => 1,
        Mapping::Symmetric => 2,
    }
}

/// What a later version may say more is not known here.
pub(super) const fn read_mapping(code: u8) -> Mapping {
    match code {
        1 => Mapping::OneForAll,
        2 => Mapping::Symmetric,
        _ => Mapping::Unknown,
    }
}

pub(super) fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (part, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(part)
}
