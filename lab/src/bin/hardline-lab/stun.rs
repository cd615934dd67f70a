//! A STUN server: what a real router asks to learn whether its address is a public one.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::thread::spawn;

use anyhow::{Context as _, Result};

/// Binding requests and their answers (RFC 8489, section 5).
const BINDING: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];

/// Header of a message: type, length, magic cookie, transaction id.
const HEADER: usize = 20;

/// Attributes (RFC 5780, section 7, and RFC 8489, section 14).
const CHANGE_REQUEST: u16 = 0x0003;
const MAPPED_ADDRESS: [u8; 2] = [0x00, 0x01];

/// Answers at two addresses and two ports each, from the one that the request asks for.
pub(crate) fn serve(first: &str, second: &str, port: &str) -> Result<()> {
    let port: u16 = port.parse()?;
    let mut sockets = Vec::new();
    for ip in [first, second] {
        for port in [port, port + 1] {
            sockets.push(UdpSocket::bind((ip.parse::<Ipv4Addr>()?, port)).with_context(|| format!("at {ip}:{port}"))?);
        }
    }
    let sockets = Arc::new(sockets);
    println!("ready");
    let readers: Vec<_> = (0..sockets.len()).map(|index| (index, Arc::clone(&sockets))).collect();
    let threads: Vec<_> =
        readers.into_iter().map(|(index, sockets)| spawn(move || answer_at(index, &sockets))).collect();
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn answer_at(index: usize, sockets: &[UdpSocket]) {
    let mut buffer = [0; 1500];
    loop {
        let Ok((len, SocketAddr::V4(asker))) = sockets[index].recv_from(&mut buffer) else { continue };
        let request = &buffer[..len];
        if len < HEADER || request[..2] != BINDING {
            continue;
        }
        // Another port flips the lower bit of a socket's number here, another address the upper
        // one.
        let changes = change_request(&request[HEADER..]);
        let _ = sockets[index ^ changes].send_to(&success(request, asker), asker);
    }
}

/// What CHANGE-REQUEST asks for: 1 another port, 2 another address.
fn change_request(mut attributes: &[u8]) -> usize {
    while let [kind_high, kind_low, length_high, length_low, rest @ ..] = attributes {
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        if let (CHANGE_REQUEST, [_, _, _, flags]) =
            (u16::from_be_bytes([*kind_high, *kind_low]), rest.get(..length).unwrap_or_default())
        {
            return usize::from(flags & 0x02 != 0) | usize::from(flags & 0x04 != 0) << 1;
        }
        attributes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    0
}

fn success(request: &[u8], asker: SocketAddrV4) -> Vec<u8> {
    let mut answer = Vec::from(BINDING_SUCCESS);
    answer.extend(12_u16.to_be_bytes());
    answer.extend(&request[4..HEADER]);
    answer.extend(MAPPED_ADDRESS);
    answer.extend([0, 8, 0, 1]); // eight bytes, IPv4
    answer.extend(asker.port().to_be_bytes());
    answer.extend(asker.ip().octets());
    answer
}
