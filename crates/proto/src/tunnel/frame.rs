//! Payload ⇄ frames: an unsigned 16-bit big-endian length and as many bytes.

use std::fmt;

/// Most bytes of payload in one frame: with its header it fills a TLS record of 16,384 bytes (RFC
/// 8446, section 5.1).
pub const MAX_PAYLOAD: usize = 16_382;

/// Bytes of a frame's header.
pub const HEADER: usize = 2;

/// The frame that ends a direction: a half-close.
pub const END: [u8; HEADER] = [0, 0];

/// The length that stands for a reset; a 16-bit reason follows.
const RESET: u16 = 0xffff;

const _: () = assert!(MAX_PAYLOAD + HEADER == 1 << 14);
const _: () = assert!(MAX_PAYLOAD < RESET as usize);

/// Why a tunnel was broken off, for logs. Peers may send numbers of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResetReason(pub u16);

impl ResetReason {
    /// No particular one.
    pub const UNSPECIFIED: Self = Self(0);
    /// The application's connection broke.
    pub const APPLICATION: Self = Self(1);
    /// Nothing moved for too long.
    pub const IDLE: Self = Self(2);
    /// The node stops.
    pub const STOPPING: Self = Self(3);
}

impl fmt::Display for ResetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UNSPECIFIED => f.write_str("no reason given"),
            Self::APPLICATION => f.write_str("the application's connection broke"),
            Self::IDLE => f.write_str("idle for too long"),
            Self::STOPPING => f.write_str("the other side stops"),
            Self(other) => write!(f, "reason {other}"),
        }
    }
}

/// The header of a frame of `length` bytes of payload, if there is such a frame: 1 to
/// [`MAX_PAYLOAD`].
#[must_use]
pub fn header(length: usize) -> Option<[u8; HEADER]> {
    let fits = (1..=MAX_PAYLOAD).contains(&length);
    u16::try_from(length).ok().filter(|_| fits).map(u16::to_be_bytes)
}

/// The frame that breaks the tunnel off.
#[must_use]
pub fn reset(reason: ResetReason) -> [u8; 4] {
    let [a, b] = RESET.to_be_bytes();
    let [c, d] = reason.0.to_be_bytes();
    [a, b, c, d]
}

/// What a direction carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Payload: all or a part of a frame's.
    Payload(&'a [u8]),
    /// The sender has said its all.
    End,
    /// The sender broke off.
    Reset(ResetReason),
}

/// A length that no frame has: [`MAX_PAYLOAD`] < length < 65,535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes, where {MAX_PAYLOAD} are the most")]
pub struct FrameTooLong {
    /// The length announced.
    pub length: u16,
}

/// Takes one direction's frames apart, however they are cut into reads. Holds at most three bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrameReader {
    state: State,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    /// The first byte of a header has come.
    HalfHeader(u8),
    /// So many bytes of payload are to come; never 0.
    Payload(usize),
    Reason,
    /// The first byte of a reason has come.
    HalfReason(u8),
    Ended,
}

impl FrameReader {
    /// Whether an end or a reset has been read.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Lets nothing more come: the answer was a refusal.
    pub(super) fn end(&mut self) {
        self.state = State::Ended;
    }

    /// Takes the next piece off the front of `input`; `None` when more bytes are needed, or when
    /// the direction has ended. What stands behind its end is left in `input`.
    ///
    /// # Errors
    /// [`FrameTooLong`], after which nothing that follows has a meaning.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, FrameTooLong> {
        loop {
            if let State::Payload(left) = self.state {
                let (payload, rest) = input.split_at(left.min(input.len()));
                if payload.is_empty() {
                    return Ok(None);
                }
                *input = rest;
                self.state = if payload.len() == left { State::Header } else { State::Payload(left - payload.len()) };
                return Ok(Some(Piece::Payload(payload)));
            }
            if self.state == State::Ended {
                return Ok(None);
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            if let Some(end) = self.control(byte)? {
                return Ok(Some(end));
            }
        }
    }

    /// Takes one byte of a header or a reason.
    fn control<'a>(&mut self, byte: u8) -> Result<Option<Piece<'a>>, FrameTooLong> {
        self.state = match self.state {
            State::Header => State::HalfHeader(byte),
            State::HalfHeader(high) => match u16::from_be_bytes([high, byte]) {
                0 => {
                    self.state = State::Ended;
                    return Ok(Some(Piece::End));
                }
                RESET => State::Reason,
                length if usize::from(length) <= MAX_PAYLOAD => State::Payload(length.into()),
                length => return Err(FrameTooLong { length }),
            },
            State::Reason => State::HalfReason(byte),
            State::HalfReason(high) => {
                self.state = State::Ended;
                return Ok(Some(Piece::Reset(ResetReason(u16::from_be_bytes([high, byte])))));
            }
            State::Payload(_) | State::Ended => return Ok(None), // `next` has dealt with these
        };
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every piece of `bytes`, read `cut` bytes at a time, payload put together; and what is left
    /// over.
    fn read(bytes: &[u8], cut: usize) -> (Vec<u8>, Option<Piece<'static>>, usize) {
        let (mut reader, mut payload, mut end) = (FrameReader::default(), Vec::new(), None);
        let mut left = 0;
        for chunk in bytes.chunks(cut) {
            let mut input = chunk;
            while let Some(piece) = reader.next(&mut input).unwrap() {
                match piece {
                    Piece::Payload(bytes) => payload.extend_from_slice(bytes),
                    Piece::End => end = Some(Piece::End),
                    Piece::Reset(reason) => end = Some(Piece::Reset(reason)),
                }
            }
            left += input.len();
        }
        (payload, end, left)
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let bytes = [&[0, 3][..], b"abc", &[0, 1], b"d", &END, b"next"].concat();
        for cut in 1..=bytes.len() {
            assert_eq!(read(&bytes, cut), (b"abcd".to_vec(), Some(Piece::End), 4), "{cut}");
        }
    }

    #[test]
    fn a_reset_carries_its_reason_in_the_middle_of_anything() {
        let bytes = [&[0, 1][..], b"x", &reset(ResetReason::IDLE)].concat();
        for cut in 1..=bytes.len() {
            assert_eq!(read(&bytes, cut), (b"x".to_vec(), Some(Piece::Reset(ResetReason(2))), 0));
        }
    }

    #[test]
    fn a_full_frame_fills_a_tls_record() {
        assert_eq!(header(MAX_PAYLOAD), Some([0x3f, 0xfe]));
        assert_eq!((header(0), header(MAX_PAYLOAD + 1), header(1 << 20)), (None, None, None));
        let bytes = [&header(MAX_PAYLOAD).unwrap()[..], &[7; MAX_PAYLOAD]].concat();
        assert_eq!(read(&bytes, 4096).0, vec![7; MAX_PAYLOAD]);
    }

    #[test]
    fn a_longer_frame_is_refused_before_its_payload() {
        for length in [MAX_PAYLOAD as u16 + 1, 0xfffe] {
            let error = FrameReader::default().next(&mut &length.to_be_bytes()[..]).unwrap_err();
            assert_eq!(error, FrameTooLong { length });
        }
    }
}
