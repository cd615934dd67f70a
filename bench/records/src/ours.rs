//! `hardline-record` behind a handshake by rustls 0.23.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use hardline_record::{Content, HEADER, RecordLayer};
use rustls::CipherSuite;

use crate::{BUFFER, PAYLOAD, RECORD, RECORDS, checks, connection, sink, source};

/// The ends of idle connections.
pub(crate) fn idle(connections: usize) -> Vec<RecordLayer> {
    let (client, server) = checks::configurations(CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut ends = Vec::with_capacity(2 * connections);
    for _ in 0..connections {
        let (near, far) = checks::pair_with(client.clone(), server.clone());
        ends.extend([near.layer, far.layer]);
    }
    ends
}

/// Carries `total` bytes from one end to the other.
pub(crate) fn carry(total: usize) -> io::Result<()> {
    let (client, server) = checks::pair(CipherSuite::TLS13_AES_128_GCM_SHA256);
    let (near, far) = connection()?;
    let sender = std::thread::spawn(move || send(client.layer, near, total));
    let received = receive(server.layer, far)?;
    sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))?;
    assert!(received >= total, "{received} of {total} bytes");
    Ok(())
}

fn send(mut layer: RecordLayer, mut to: TcpStream, total: usize) -> io::Result<()> {
    let mut source = source()?;
    let mut records = vec![0; RECORDS * RECORD];
    for _ in 0..total.div_ceil(RECORDS * PAYLOAD) {
        layer.update().map_err(io::Error::other)?;
        for record in records.chunks_exact_mut(RECORD) {
            source.read_exact(&mut record[HEADER..][..PAYLOAD])?;
            layer.seal(record, PAYLOAD).map_err(io::Error::other)?;
        }
        to.write_all(&records)?;
    }
    to.shutdown(Shutdown::Write)
}

fn receive(mut layer: RecordLayer, mut from: TcpStream) -> io::Result<usize> {
    let mut sink = sink()?;
    let mut buffer = vec![0; BUFFER];
    let (mut filled, mut received) = (0, 0);
    loop {
        let mut front = 0;
        while let Some(opened) = layer.open(&mut buffer[front..filled]).map_err(io::Error::other)? {
            if let Content::Payload(at) = opened.content {
                sink.write_all(&buffer[front + at.start..front + at.end])?;
                received += at.len();
            }
            front += opened.length;
        }
        buffer.copy_within(front..filled, 0);
        filled -= front;
        match from.read(&mut buffer[filled..])? {
            0 => return Ok(received),
            read => filled += read,
        }
    }
}
