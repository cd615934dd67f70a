//! Datagrams in the stream of a tunnel and beside it.

use hardline_proto::tunnel::datagram::{
    DatagramQueue, DatagramReader, DatagramSorter, MAX_DATAGRAM, Sorted, header, prefix, split_prefix,
};

/// Any bytes as a stream of datagrams: how they are cut makes no difference, what was read is
/// written as it came, and what is held is bounded. As a datagram beside the stream: its number is
/// the same again. As a row of lengths: the queue keeps the newest, in order, within its bounds.
pub fn datagrams(bytes: &[u8]) {
    let whole = read(bytes, bytes.len().max(1));
    for cut in [1, 2, 3, 1000] {
        assert_eq!(read(bytes, cut), whole, "in reads of {cut}");
        assert_eq!(sort(bytes, cut), bytes, "in pieces of {cut}");
    }
    let (datagrams, is_error) = whole;
    let frame = |it: &Vec<u8>| [&header(it.len()).expect("it was one")[..], it].concat();
    let written: Vec<u8> = datagrams.iter().flat_map(frame).collect();
    assert!(bytes.starts_with(&written));
    assert!(is_error || bytes.len() - written.len() < 2 + MAX_DATAGRAM);
    if let Some((number, datagram)) = split_prefix(bytes) {
        let again = [&prefix(number).expect("it was a number"), datagram].concat();
        assert!(again.len() <= bytes.len());
        assert_eq!(split_prefix(&again), Some((number, datagram)));
    }
    queue(bytes);
}

fn read(bytes: &[u8], cut: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut reader, mut datagrams) = (DatagramReader::default(), Vec::new());
    for mut input in bytes.chunks(cut) {
        loop {
            match reader.next(&mut input) {
                Ok(Some(datagram)) => datagrams.push(datagram.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    assert!(usize::from(error.length) > MAX_DATAGRAM);
                    return (datagrams, true);
                }
            }
        }
        assert!(input.is_empty());
    }
    (datagrams, false)
}

/// All pieces put together.
fn sort(bytes: &[u8], cut: usize) -> Vec<u8> {
    let (mut sorter, mut all) = (DatagramSorter::default(), Vec::new());
    for mut input in bytes.chunks(cut) {
        while let Some(sorted) = sorter.next(&mut input) {
            match sorted {
                Sorted::Whole { frame, datagram } => {
                    assert_eq!(frame[2..], *datagram);
                    assert_eq!(usize::from(u16::from_be_bytes([frame[0], frame[1]])), datagram.len());
                    all.extend_from_slice(frame);
                }
                Sorted::Part(part) => all.extend_from_slice(part),
            }
        }
    }
    all
}

fn queue(bytes: &[u8]) {
    const MOST: (usize, usize) = (8, 1000);
    let (mut queue, mut pushed, mut dropped, mut popped) = (DatagramQueue::new(MOST.0, MOST.1), 0, 0, 0);
    for byte in bytes.iter().take(1000) {
        if byte % 5 == 0 {
            if let Some(datagram) = queue.pop() {
                assert_eq!(datagram[..8], u64::to_be_bytes(dropped + popped), "the oldest, in order");
                popped += 1;
            }
            continue;
        }
        let datagram = [&u64::to_be_bytes(pushed)[..], &vec![0; usize::from(*byte) * 5]].concat();
        dropped += queue.push(&datagram);
        pushed += 1;
        assert!(queue.len() == 1 || (queue.len() <= MOST.0 && queue.bytes() <= MOST.1));
        assert_eq!(pushed, dropped + popped + queue.len() as u64, "each once");
    }
}
