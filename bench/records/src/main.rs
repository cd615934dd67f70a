//! `hardline-record` beside the split interface of rustls 0.24, on one loopback connection.
//!
//! `cargo run --release --manifest-path bench/records/Cargo.toml [GIB [ROUNDS]]` prints the CPU
//! time of both ends per GiB, turn and turn about, and what an idle end keeps. Both read payload
//! from `/dev/zero` and write it to `/dev/null`, so that the kernel copies it as it would for a
//! program.

#[path = "../../../crates/record/tests/checks/mod.rs"]
#[allow(dead_code, reason = "the handshake is all that is wanted")]
mod checks;
mod heap; // bytes in use
mod next; // rustls 0.24
mod ours; // hardline-record behind rustls 0.23

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream};

/// Payload of one record, in bytes.
const PAYLOAD: usize = 1 << 14;

/// Records sealed and written at once.
const RECORDS: usize = 16;

/// Bytes of a record of TLS 1.3: header, payload, type and tag.
const RECORD: usize = 5 + PAYLOAD + 17;

/// Bytes of a receiver's buffer.
const BUFFER: usize = RECORDS * RECORD + 256;

const GIB: usize = 1 << 30;

/// Idle connections whose memory is counted.
const IDLE: usize = 200;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().unwrap_or(1));
    let (gib, rounds) = (arguments.next().unwrap_or(2).max(1), arguments.next().unwrap_or(5).max(1));
    let (mut ours, mut next) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(cpu_of(|| ours::carry(gib * GIB))? / gib as f64);
        next.push(cpu_of(|| next::carry(gib * GIB))? / gib as f64);
    }
    let (ours, next) = (median(ours), median(next));
    println!("CPU seconds per GiB, both ends, median of {rounds}:");
    println!("  hardline-record           {ours:.3}");
    println!("  rustls 0.24, split        {next:.3}  ({:.3} of ours)", next / ours);
    println!("Bytes of an idle end, of {IDLE} connections with the same settings:");
    println!("  hardline-record           {}", heap::of_each(2 * IDLE, || ours::idle(IDLE)));
    println!("  rustls 0.24, split        {}", heap::of_each(2 * IDLE, || next::idle(IDLE)));
    Ok(())
}

/// CPU seconds of this process while `work` runs.
fn cpu_of(work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let before = cpu()?;
    work()?;
    Ok(cpu()? - before)
}

/// CPU seconds of this process so far, user and system (proc(5), fields 14 and 15).
fn cpu() -> io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    // A hundred ticks a second, on every Linux that Rust runs on.
    Ok(fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Two ends of a connection.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok((TcpStream::connect(listener.local_addr()?)?, listener.accept()?.0))
}

fn source() -> io::Result<File> {
    File::open("/dev/zero")
}

fn sink() -> io::Result<File> {
    OpenOptions::new().write(true).open("/dev/null")
}
