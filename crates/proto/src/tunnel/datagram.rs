//! Datagrams in a tunnel: in its stream, an unsigned 16-bit big-endian length and as many bytes
//! each; beside it, the number of the stream and the bytes.

use std::collections::VecDeque;

/// Most bytes of a datagram: what UDP carries over IPv4 (RFC 768, RFC 791).
pub const MAX_DATAGRAM: usize = 65_507;

/// Bytes in front of a datagram in a stream.
pub const HEADER: usize = 2;

/// Most bytes in front of one beside it: a variable-length integer (RFC 9000, section 16).
pub const MAX_PREFIX: usize = 8;

/// What stands in front of a datagram of `length` bytes in a stream, if there is such a datagram: 0
/// to [`MAX_DATAGRAM`].
#[must_use]
pub fn header(length: usize) -> Option<[u8; HEADER]> {
    u16::try_from(length).ok().filter(|_| length <= MAX_DATAGRAM).map(u16::to_be_bytes)
}

/// A length that no datagram has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a datagram of {length} bytes, where {MAX_DATAGRAM} are the most")]
pub struct DatagramTooLong {
    /// The length announced.
    pub length: u16,
}

/// Takes the datagrams out of a stream, however it is cut into reads. Holds a part of one at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatagramReader {
    header: Vec<u8>,
    /// The beginning of a datagram whose end has not come; or all of it, until the next call.
    part: Vec<u8>,
    is_whole: bool,
}

impl DatagramReader {
    /// Whether nothing is held of a datagram that has begun.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.header.is_empty() && (self.part.is_empty() || self.is_whole)
    }

    /// Takes the next datagram off the front of `input`; `None` when more bytes are needed, and
    /// then all of `input` is taken.
    ///
    /// # Errors
    /// [`DatagramTooLong`], after which nothing that follows has a meaning.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<&'a [u8]>, DatagramTooLong> {
        if std::mem::take(&mut self.is_whole) {
            // What was lent is done with; memory for a long one is not kept.
            self.part = Vec::new();
        }
        let missing = HEADER - self.header.len();
        let taken = take(input, missing);
        self.header.extend_from_slice(taken);
        let [high, low] = self.header[..] else { return Ok(None) };
        let length = u16::from_be_bytes([high, low]);
        if usize::from(length) > MAX_DATAGRAM {
            return Err(DatagramTooLong { length });
        }
        let taken = take(input, usize::from(length) - self.part.len());
        if self.part.len() + taken.len() < usize::from(length) {
            self.part.extend_from_slice(taken);
            return Ok(None);
        }
        self.header.clear();
        if self.part.is_empty() {
            return Ok(Some(taken));
        }
        self.part.extend_from_slice(taken);
        self.is_whole = true;
        Ok(Some(&self.part))
    }
}

/// Takes as much as there is of `most` bytes off the front.
fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

/// Finds what of a stream's datagrams, as they are written, may go beside it: those whose frames
/// lie in one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatagramSorter {
    /// The first byte of a header whose second is to come.
    half: Option<u8>,
    /// Bytes to come of the datagram that was cut.
    left: usize,
}

/// A piece of what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sorted<'a> {
    /// A datagram with its header, whole.
    Whole {
        /// Both.
        frame: &'a [u8],
        /// The datagram.
        datagram: &'a [u8],
    },
    /// A part of one, which goes where its other parts go.
    Part(&'a [u8]),
}

impl DatagramSorter {
    /// Takes the next piece off the front of `input`; `None` at its end.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Sorted<'a>> {
        let all = *input;
        if self.left > 0 {
            let part = take(input, self.left);
            self.left -= part.len();
            return (!part.is_empty()).then_some(Sorted::Part(part));
        }
        if let Some(high) = self.half {
            let low = take(input, 1).first()?;
            (self.half, self.left) = (None, usize::from(u16::from_be_bytes([high, *low])));
            return Some(Sorted::Part(&all[..1]));
        }
        match take(input, HEADER) {
            [] => None,
            [high, low] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let datagram = take(input, length);
                let frame = &all[..HEADER + datagram.len()];
                if datagram.len() == length {
                    return Some(Sorted::Whole { frame, datagram });
                }
                self.left = length - datagram.len();
                Some(Sorted::Part(frame))
            }
            half => {
                self.half = half.first().copied();
                Some(Sorted::Part(half))
            }
        }
    }
}

/// What stands in front of a datagram beside the stream: its number, as QUIC writes numbers (RFC
/// 9000, section 16), in the fewest bytes. `None` for one from 2^62 on.
#[must_use]
pub fn prefix(number: u64) -> Option<Prefix> {
    let (length, mark) = match number {
        0..=0x3f => (1, 0),
        0x40..=0x3fff => (2, 0x40),
        0x4000..=0x3fff_ffff => (4, 0x80),
        0x4000_0000..=0x3fff_ffff_ffff_ffff => (8, 0xc0),
        _ => return None,
    };
    let mut bytes = number.to_be_bytes();
    bytes.rotate_left(MAX_PREFIX - length);
    bytes[0] |= mark;
    Some(Prefix { bytes, length })
}

/// A number in front of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    bytes: [u8; MAX_PREFIX],
    length: usize,
}

impl std::ops::Deref for Prefix {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The number of the stream and the datagram, of what came beside the streams. `None` if it is cut
/// off within the number, or the datagram is too long.
#[must_use]
pub fn split_prefix(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let (number, datagram) = bytes.split_at_checked(length)?;
    let rest = number[1..].iter();
    let number = rest.fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte));
    (datagram.len() <= MAX_DATAGRAM).then_some((number, datagram))
}

/// Datagrams that wait, few enough that they are not stale when their turn comes. Where there is no
/// room the oldest makes it: what is newer tells more in a game or a call, and everything else asks
/// again.
#[derive(Debug, Clone)]
pub struct DatagramQueue {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl DatagramQueue {
    /// An empty queue for so many datagrams, and so many bytes of them; but for one in any case.
    #[must_use]
    pub fn new(most: usize, most_bytes: usize) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, most, most_bytes }
    }

    /// Takes a datagram. Returns how many were dropped for it; it is itself dropped only if it is
    /// longer than [`MAX_DATAGRAM`].
    pub fn push(&mut self, datagram: &[u8]) -> u64 {
        if datagram.len() > MAX_DATAGRAM {
            return 1;
        }
        let mut dropped = 0;
        let is_full = |it: &Self| it.waiting.len() >= it.most || it.bytes + datagram.len() > it.most_bytes;
        while !self.waiting.is_empty() && is_full(self) {
            self.pop();
            dropped += 1;
        }
        self.bytes += datagram.len();
        self.waiting.push_back(datagram.to_vec());
        dropped
    }

    /// The oldest.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let datagram = self.waiting.pop_front()?;
        self.bytes -= datagram.len();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(datagram)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes of those that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(datagrams: &[&[u8]]) -> Vec<u8> {
        datagrams.iter().flat_map(|it| [&header(it.len()).unwrap()[..], it].concat()).collect()
    }

    #[test]
    fn datagrams_are_read_however_the_stream_is_cut() {
        let sent: [&[u8]; 5] = [b"one", b"", b"three", b"", &[7; 300]];
        let bytes = framed(&sent);
        for cut in 1..=bytes.len() {
            let (mut reader, mut read) = (DatagramReader::default(), Vec::new());
            for chunk in bytes.chunks(cut) {
                let mut input = chunk;
                while let Some(datagram) = reader.next(&mut input).unwrap() {
                    read.push(datagram.to_vec());
                }
            }
            assert_eq!(read, sent, "{cut}");
            assert!(reader.is_between());
        }
    }

    #[test]
    fn a_longer_datagram_is_refused_before_its_bytes() {
        assert_eq!((header(MAX_DATAGRAM), header(MAX_DATAGRAM + 1)), (Some([0xff, 0xe3]), None));
        for length in [MAX_DATAGRAM as u16 + 1, 0xffff] {
            let error = DatagramReader::default().next(&mut &length.to_be_bytes()[..]).unwrap_err();
            assert_eq!(error, DatagramTooLong { length });
        }
    }

    #[test]
    fn only_what_lies_in_one_piece_may_go_beside_the_stream() {
        let bytes = framed(&[b"one", b"", b"three"]);
        for cut in 0..=bytes.len() {
            let (mut sorter, mut put_together, mut wholes) = (DatagramSorter::default(), Vec::new(), Vec::new());
            for mut input in [&bytes[..cut], &bytes[cut..]] {
                while let Some(sorted) = sorter.next(&mut input) {
                    match sorted {
                        Sorted::Whole { frame, datagram } => {
                            put_together.extend_from_slice(frame);
                            wholes.push(datagram.to_vec());
                        }
                        Sorted::Part(part) => put_together.extend_from_slice(part),
                    }
                }
            }
            assert_eq!(put_together, bytes, "{cut}");
            let is_cut = ![0, 5, 7, bytes.len()].contains(&cut);
            assert_eq!(wholes.len(), 3 - usize::from(is_cut), "{cut}");
        }
    }

    #[test]
    fn numbers_are_written_as_quic_writes_them() {
        // RFC 9000, appendix A.1.
        let examples: [(u64, &[u8]); 4] = [
            (37, &[0x25]),
            (15_293, &[0x7b, 0xbd]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
        ];
        for (number, bytes) in examples {
            assert_eq!(&*prefix(number).unwrap(), bytes);
            assert_eq!(split_prefix(&[bytes, b"x"].concat()), Some((number, &b"x"[..])));
            assert_eq!(split_prefix(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(split_prefix(&[0x40, 0x25]), Some((37, &[][..])), "more bytes than it takes");
        assert_eq!(prefix(1 << 62), None);
    }

    #[test]
    fn at_a_limit_the_oldest_makes_room() {
        let mut queue = DatagramQueue::new(3, 10);
        assert_eq!([b"a", b"b", b"c"].map(|it| queue.push(it)), [0, 0, 0]);
        assert_eq!(queue.push(b"d"), 1, "three at most");
        assert_eq!(queue.push(&[0; 9]), 2, "ten bytes at most");
        assert_eq!((queue.len(), queue.bytes()), (2, 10));
        assert_eq!(queue.push(&[1; 50]), 2, "one in any case");
        assert_eq!((queue.pop(), queue.pop(), queue.bytes()), (Some(vec![1; 50]), None, 0));
        assert_eq!(queue.push(&vec![0; MAX_DATAGRAM + 1]), 1);
        assert!(queue.is_empty());
    }
}
