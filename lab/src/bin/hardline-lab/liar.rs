//! A hostile neighbour of LAN discovery.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Result;
use socket2::{Domain, Socket, Type};

/// Everybody's group.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 192, 152, 143), 6771);

/// Time between two announcements nobody asked for.
const PAUSE: Duration = Duration::from_millis(50);

/// Claims to be the service `key` at `port`, unasked and in answer to every search, whatever it
/// asks for.
pub(crate) fn lie(key: &str, port: &str) -> Result<()> {
    let socket = join()?;
    println!("lying");
    let mut buffer = [0; 4096];
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            socket.send_to(claim(key, port).as_bytes(), GROUP)?;
            next = Instant::now() + PAUSE;
        }
        let Ok((len, asker)) = socket.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..len]);
        let Some(code) =
            text.strip_prefix("HARDLINE-SEARCH * HTTP/1.1\r\nInfohash: ").and_then(|rest| rest.lines().next())
        else {
            continue;
        };
        for infohash in [key, code] {
            socket.send_to(claim(infohash, port).as_bytes(), asker)?;
            socket.send_to(claim(infohash, port).as_bytes(), GROUP)?;
        }
    }
}

fn claim(infohash: &str, port: &str) -> String {
    format!(
        "HARDLINE-SERVICE * HTTP/1.1\r\nPort: {port}\r\nInfohash: {infohash}\r\ncookie: liar\r\ntitle: Liar\r\n\r\n\r\n"
    )
}

fn join() -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, GROUP.port()).into())?;
    socket.join_multicast_v4(GROUP.ip(), &Ipv4Addr::UNSPECIFIED)?;
    socket.set_read_timeout(Some(PAUSE))?;
    Ok(socket.into())
}
