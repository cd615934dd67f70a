//! Port Control Protocol (RFC 6887): the operations ANNOUNCE and MAP, for TCP and UDP. Where
//! nothing is translated, as with IPv6, a mapping only lets others in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::Transport;

/// The protocol's version, first byte of every datagram.
const VERSION: u8 = 2;

/// Operations, and the bit that makes an answer of them.
const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;
const ANSWER: u8 = 128;

/// Numbers of the protocols of IP.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Result codes (section 7.4).
const SUCCESS: u8 = 0;
const NETWORK_FAILURE: u8 = 7;
const CANNOT_PROVIDE_EXTERNAL: u8 = 11;

/// Length of every header, in bytes, and of MAP's own part behind it.
const HEADER: usize = 24;
const MAP_PART: usize = 36;

/// Tells one mapping's owner from others; the same for its renewals and its end.
pub type Nonce = [u8; 12];

/// Asks whether a PCP server is there, and for its epoch.
#[must_use]
pub fn announce_request(client: IpAddr) -> [u8; HEADER] {
    header(ANNOUNCE, Duration::ZERO, client)
}

/// Asks for a port; a lifetime of zero gives it back.
#[must_use]
pub fn map_request(
    transport: Transport,
    client: IpAddr,
    nonce: Nonce,
    (internal, external): (u16, u16),
    lifetime: Duration,
) -> Vec<u8> {
    let mut request = Vec::from(header(MAP, lifetime, client));
    request.extend(nonce);
    let protocol = match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    };
    request.extend([protocol, 0, 0, 0]);
    request.extend(internal.to_be_bytes());
    request.extend(external.to_be_bytes());
    // Any address of the client's family.
    let any = if client.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    request.extend(octets(any));
    request
}

fn octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    }
}

fn header(operation: u8, lifetime: Duration, client: IpAddr) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = VERSION;
    header[1] = operation;
    header[4..8].copy_from_slice(&u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
    header[8..].copy_from_slice(&octets(client));
    header
}

/// What a router answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is there, and last forgot its mappings so many seconds ago.
    Announce(u32),
    /// A port is open. Of which protocol, its nonce tells.
    Mapped {
        /// As asked with.
        nonce: Nonce,
        /// Ours.
        internal: u16,
        /// The router's, which may be another than was asked for.
        external: u16,
        /// The router's address outside.
        address: IpAddr,
        /// For how long.
        lifetime: Duration,
        /// Seconds since the router last forgot.
        epoch: u32,
    },
    /// It has no address outside itself.
    NetworkFailure,
    /// That very port is not to be had.
    PortTaken,
    /// It will not, or cannot; the code of the RFC.
    Refused(u8),
}

/// Reads a datagram from the router's port; `None` if it is no answer.
#[must_use]
pub fn read(datagram: &[u8]) -> Option<Answer> {
    let (header, rest) = datagram.split_first_chunk::<HEADER>()?;
    let &[VERSION, operation, _, result, l0, l1, l2, l3, e0, e1, e2, e3, ..] = header else { return None };
    match (operation, result) {
        (operation, _) if operation & ANSWER == 0 => return None,
        (_, SUCCESS) => {}
        (_, NETWORK_FAILURE) => return Some(Answer::NetworkFailure),
        (_, CANNOT_PROVIDE_EXTERNAL) => return Some(Answer::PortTaken),
        (_, code) => return Some(Answer::Refused(code)),
    }
    let epoch = u32::from_be_bytes([e0, e1, e2, e3]);
    match operation & !ANSWER {
        ANNOUNCE => Some(Answer::Announce(epoch)),
        MAP => {
            let part = rest.first_chunk::<MAP_PART>()?;
            let (nonce, part) = part.split_first_chunk::<12>()?;
            let ([TCP | UDP, _, _, _, i0, i1, x0, x1], addr) = part.split_first_chunk::<8>()? else { return None };
            Some(Answer::Mapped {
                nonce: *nonce,
                internal: u16::from_be_bytes([*i0, *i1]),
                external: u16::from_be_bytes([*x0, *x1]),
                address: Ipv6Addr::from(*addr.first_chunk::<16>()?).to_canonical(),
                lifetime: Duration::from_secs(u32::from_be_bytes([l0, l1, l2, l3]).into()),
                epoch,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2));
    const NONCE: Nonce = *b"twelve bytes";

    /// The answer that grants what `request` asks.
    fn granted(request: &[u8]) -> Vec<u8> {
        let mut answer = request.to_vec();
        answer[1] |= ANSWER;
        answer[8..24].copy_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        if answer.len() > HEADER {
            answer[44..].copy_from_slice(&Ipv4Addr::new(203, 0, 113, 5).to_ipv6_mapped().octets());
        }
        answer
    }

    #[test]
    fn requests_are_those_of_the_rfc() {
        let announce = announce_request(CLIENT);
        assert_eq!(announce[..8], [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(announce[8..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 2]);
        let map = map_request(Transport::Tcp, CLIENT, NONCE, (7008, 7009), Duration::from_secs(60));
        assert_eq!(map[..8], [2, 1, 0, 0, 0, 0, 0, 60]);
        assert_eq!(map[24..36], NONCE);
        assert_eq!(map[36..44], [6, 0, 0, 0, 0x1b, 0x60, 0x1b, 0x61]);
        assert_eq!(map.len(), 60);
        let map = map_request(Transport::Udp, CLIENT, NONCE, (7008, 7009), Duration::from_secs(60));
        assert_eq!(map[36], 17);
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(read(&granted(&announce_request(CLIENT))), Some(Answer::Announce(9)));
        let lifetime = Duration::from_secs(60);
        let mut answer = granted(&map_request(Transport::Udp, CLIENT, NONCE, (7008, 7009), lifetime));
        let address = Ipv4Addr::new(203, 0, 113, 5).into();
        let mapped = Answer::Mapped { nonce: NONCE, internal: 7008, external: 7009, address, lifetime, epoch: 9 };
        assert_eq!(read(&answer), Some(mapped));
        for (code, expected) in [(7, Answer::NetworkFailure), (11, Answer::PortTaken), (2, Answer::Refused(2))] {
            answer[3] = code;
            assert_eq!(read(&answer), Some(expected));
        }
    }

    #[test]
    fn what_is_no_answer_is_not_read() {
        let request = map_request(Transport::Tcp, CLIENT, NONCE, (7008, 7009), Duration::from_secs(60));
        assert_eq!(read(&request), None);
        let answer = granted(&request);
        for len in 0..answer.len() {
            assert_eq!(read(&answer[..len]), None, "{len} bytes");
        }
        assert_eq!(read(&[0; 60]), None, "NAT-PMP");
    }

    #[test]
    fn an_ipv6_address_is_asked_for_and_told_as_it_is() {
        let client: IpAddr = "2001:db8::2".parse().unwrap();
        let lifetime = Duration::from_secs(60);
        let mut answer = map_request(Transport::Tcp, client, NONCE, (7008, 7008), lifetime);
        assert_eq!(answer[8..24], octets(client));
        assert_eq!(answer[44..60], [0; 16], "any IPv6 address");
        answer[1] |= ANSWER;
        answer[44..60].copy_from_slice(&octets(client));
        assert!(matches!(read(&answer), Some(Answer::Mapped { address, .. }) if address == client));
    }
}
