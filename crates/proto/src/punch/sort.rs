//! Whose a datagram is, on a socket that QUIC, the DHT and probes share.
//!
//! The first byte tells. QUIC sets the second bit of every packet (RFC 9000, section 17.2); a
//! program may agree with its peers to clear it (RFC 9287), ours do not. Each message of OpenDHT is
//! a map of MessagePack with fewer than 16 keys, which begins with 0x80 to 0x8f; greater maps begin
//! with 0xde or 0xdf, where packets of QUIC may begin too, and are left to QUIC. Probes begin with
//! a byte that neither has, nor STUN, ZRTP, TURN or DTLS (RFC 7983).

use super::is_probe;

/// The bit that QUIC sets.
const FIXED_BIT: u8 = 0x40;

/// The bits that tell a small map, and what they are.
const MAP_BITS: u8 = 0xf0;
const MAP: u8 = 0x80;

/// Whose a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// QUIC.
    Quic,
    /// The DHT.
    Dht,
    /// An attempt to get through NATs.
    Probe,
    /// Nobody's.
    Nobody,
}

/// Whose `datagram` is, as far as its first byte tells. Whether it is well formed its owner sees.
#[must_use]
pub fn owner(datagram: &[u8]) -> Owner {
    match datagram.first() {
        Some(first) if first & FIXED_BIT != 0 => Owner::Quic,
        Some(first) if first & MAP_BITS == MAP => Owner::Dht,
        Some(_) if is_probe(datagram) => Owner::Probe,
        _ => Owner::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::CallId;
    use crate::punch::{Probe, Role};

    #[test]
    fn every_first_byte_has_one_owner() {
        for first in 0..=u8::MAX {
            let expected = match first {
                0x40..=0x7f | 0xc0..=0xff => Owner::Quic,
                0x80..=0x8f => Owner::Dht,
                0x0b => Owner::Probe,
                _ => Owner::Nobody,
            };
            for len in [1, 18, 1200] {
                assert_eq!(owner(&vec![first; len]), expected, "{first:#x}");
            }
        }
        assert_eq!(owner(&[]), Owner::Nobody);
        assert_eq!(owner(&Probe::of(&CallId::from_bytes([1; 16]), Role::Dialler).encode()), Owner::Probe);
    }
}
