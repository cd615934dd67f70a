//! One datagram: a byte that tells it from everything else on its socket, a version, and 16 bytes
//! that only the two sides of an attempt can make.
//!
//! QUIC sets the second bit of each packet (RFC 9000, section 17.2), messages of the DHT begin with
//! a map (0x80 to 0x8f), and what STUN, ZRTP, TURN and DTLS begin with is left free (RFC 7983).

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};

use super::Role;
use crate::call::CallId;

/// Length in bytes.
pub const PROBE_LEN: usize = HEADER.len() + Probe::LEN;

/// The byte that tells it, and the version.
const HEADER: [u8; 2] = [0x0b, 1];

const _: () = assert!(HEADER[0] & 0xc0 == 0, "neither QUIC nor the DHT");

/// What one side of an attempt says: BLAKE2b-256 over a text, the call's identifier and the side,
/// cut to 16 bytes. It is the same each time; whoever sees it can repeat it, and gains that the
/// dialler tries one more address, where nobody proves the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Probe([u8; Self::LEN]);

impl Probe {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// What `role` says in the attempt that follows the call `id`.
    #[must_use]
    pub fn of(id: &CallId, role: Role) -> Self {
        let side = match role {
            Role::Dialler => b"d",
            Role::Publisher => b"p",
        };
        let hash = Blake2b::<U32>::new().chain_update(b"hardline/2 probe").chain_update(id.as_bytes());
        let hash = hash.chain_update(side).finalize();
        let mut bytes = [0; Self::LEN];
        bytes.copy_from_slice(&hash[..Self::LEN]);
        Self(bytes)
    }

    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> [u8; PROBE_LEN] {
        let mut datagram = [0; PROBE_LEN];
        datagram[..HEADER.len()].copy_from_slice(&HEADER);
        datagram[HEADER.len()..].copy_from_slice(&self.0);
        datagram
    }

    /// Reads a datagram; `None` if it is something else.
    #[must_use]
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        datagram.strip_prefix(&HEADER)?.try_into().ok().map(Self)
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

/// Whether a datagram is for this protocol, of whatever version, and nobody else on the socket is
/// to be shown it.
#[must_use]
pub fn is_probe(datagram: &[u8]) -> bool {
    datagram.first() == Some(&HEADER[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_of_each_attempt_says_something_else() {
        let says = |id, role| Probe::of(&CallId::from_bytes([id; 16]), role);
        let all = [says(1, Role::Dialler), says(1, Role::Publisher), says(2, Role::Dialler)];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        for probe in all {
            assert_eq!(Probe::decode(&probe.encode()), Some(probe));
            assert!(is_probe(&probe.encode()));
        }
    }

    /// Computed with Python: `hashlib.blake2b(b"hardline/2 probe" + bytes([7]) * 16 + b"d",
    /// digest_size=32).hexdigest()[:32]`.
    #[test]
    fn a_probe_hashes_the_call_s_identifier_and_the_side() {
        let datagram = Probe::of(&CallId::from_bytes([7; 16]), Role::Dialler).encode();
        assert_eq!(crate::key::hex(&datagram), "0b017d3070b51d0bb59c43659d1ca47d7c1c");
    }

    #[test]
    fn nothing_else_on_the_socket_is_taken_for_one() {
        for first in [0x40, 0x7f, 0x80, 0x8f, 0xc0, 0xff, 0, 3, 16, 20, 63] {
            assert!(!is_probe(&[first; 18]), "{first:#x}");
        }
        for datagram in
            [&[][..], &[0x0b], &[0x0b, 1], &[0x0b, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0x0b; 19]]
        {
            assert_eq!(Probe::decode(datagram), None, "{datagram:?}");
        }
    }
}
