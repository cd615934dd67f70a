//! NAT Port Mapping Protocol (RFC 6886).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Transport;

/// The protocol's version, first byte of every datagram.
const VERSION: u8 = 0;

/// Operations, and the bit that makes an answer of them.
const ADDRESS: u8 = 0;
const MAP_UDP: u8 = 1;
const MAP_TCP: u8 = 2;
const ANSWER: u8 = 128;

/// Result codes (section 3.5).
const SUCCESS: u16 = 0;
const NETWORK_FAILURE: u16 = 3;

/// Asks for the router's outside address.
pub const ADDRESS_REQUEST: [u8; 2] = [VERSION, ADDRESS];

/// Asks for a port; a lifetime of zero gives it back.
#[must_use]
pub fn map_request(transport: Transport, internal: u16, external: u16, lifetime: Duration) -> [u8; 12] {
    let [i0, i1] = internal.to_be_bytes();
    let [e0, e1] = external.to_be_bytes();
    let [l0, l1, l2, l3] = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
    [VERSION, operation(transport), 0, 0, i0, i1, e0, e1, l0, l1, l2, l3]
}

const fn operation(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => MAP_UDP,
        Transport::Tcp => MAP_TCP,
    }
}

/// What a router answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Its outside address, and its epoch in seconds.
    Address(Ipv4Addr, u32),
    /// A port is open.
    Mapped {
        /// Of which protocol.
        transport: Transport,
        /// Ours.
        internal: u16,
        /// The router's, which may be another than was asked for.
        external: u16,
        /// For how long.
        lifetime: Duration,
        /// Seconds since the router last forgot.
        epoch: u32,
    },
    /// It has no address outside itself, or does not know it; with its epoch if that was told.
    NetworkFailure(Option<u32>),
    /// It will not, or cannot; the code of the RFC.
    Refused(u16),
}

/// Reads a datagram from the router's port; `None` if it is no answer.
#[must_use]
pub fn read(datagram: &[u8]) -> Option<Answer> {
    let (&[VERSION, operation, r0, r1], rest) = datagram.split_first_chunk()? else { return None };
    if operation & ANSWER == 0 {
        return None;
    }
    let epoch = rest.first_chunk().map(|epoch| u32::from_be_bytes(*epoch));
    match u16::from_be_bytes([r0, r1]) {
        SUCCESS => {}
        NETWORK_FAILURE => return Some(Answer::NetworkFailure(epoch)),
        code => return Some(Answer::Refused(code)),
    }
    let (epoch, rest) = (epoch?, rest.get(4..)?);
    match operation & !ANSWER {
        ADDRESS => Some(Answer::Address(Ipv4Addr::from(*rest.first_chunk::<4>()?), epoch)),
        MAP_UDP | MAP_TCP => {
            let transport = if operation & !ANSWER == MAP_UDP { Transport::Udp } else { Transport::Tcp };
            let [i0, i1, e0, e1, lifetime @ ..] = *rest.first_chunk::<8>()?;
            let lifetime = Duration::from_secs(u32::from_be_bytes(lifetime).into());
            let (internal, external) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([e0, e1]));
            Some(Answer::Mapped { transport, internal, external, lifetime, epoch })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_the_rfc() {
        assert_eq!(ADDRESS_REQUEST, [0, 0]);
        for (transport, operation) in [(Transport::Udp, 1), (Transport::Tcp, 2)] {
            let request = map_request(transport, 7008, 7009, Duration::from_secs(3600));
            assert_eq!(request, [0, operation, 0, 0, 0x1b, 0x60, 0x1b, 0x61, 0, 0, 0x0e, 0x10]);
        }
    }

    #[test]
    fn answers_are_read() {
        let address = [0, 128, 0, 0, 0, 0, 1, 0, 203, 0, 113, 5];
        assert_eq!(read(&address), Some(Answer::Address(Ipv4Addr::new(203, 0, 113, 5), 256)));
        let lifetime = Duration::from_secs(60);
        for (operation, transport) in [(129, Transport::Udp), (130, Transport::Tcp)] {
            let mapped = [0, operation, 0, 0, 0, 0, 0, 9, 0x1b, 0x60, 0x1b, 0x61, 0, 0, 0, 60];
            let expected = Answer::Mapped { transport, internal: 7008, external: 7009, lifetime, epoch: 9 };
            assert_eq!(read(&mapped), Some(expected));
        }
        assert_eq!(read(&[0, 128, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0]), Some(Answer::NetworkFailure(Some(1))));
        assert_eq!(read(&[0, 130, 0, 2]), Some(Answer::Refused(2)));
    }

    #[test]
    fn what_is_no_answer_is_not_read() {
        let mapped = [0, 130, 0, 0, 0, 0, 0, 9, 0x1b, 0x60, 0x1b, 0x61, 0, 0, 0, 60];
        for len in 0..mapped.len() {
            assert_eq!(read(&mapped[..len]), None, "{len} bytes");
        }
        assert_eq!(read(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None, "a request");
        assert_eq!(read(&[2, 129, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None, "PCP");
    }
}
