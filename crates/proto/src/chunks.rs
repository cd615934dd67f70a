//! Where a chunked body ends (RFC 9112, section 7.1).
//!
//! Strict, for requests and answers alike: who wants to do harm writes what two programs read in
//! two ways. So a line ends with CR LF, and a trailer is a name and a value.

/// Not chunks that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChunks;

/// Where in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunks {
    Size { size: u64, digits: u8 },
    Padding { size: u64 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    LineBegin,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    End,
}

impl Chunks {
    pub(crate) const FIRST: Self = Self::Size { size: 0, digits: 0 };

    /// Bytes of data that follow, before anything else.
    pub(crate) const fn data_left(self) -> u64 {
        if let Self::Data { left } = self { left } else { 0 }
    }

    /// Counts bytes of data that went by unseen, at most [`data_left`](Self::data_left).
    pub(crate) const fn passed(self, count: u64) -> Self {
        match self {
            Self::Data { left } if left > count => Self::Data { left: left - count },
            Self::Data { .. } => Self::DataCr,
            _ => self,
        }
    }

    /// Follows `bytes` until they or the body end. Returns how many belong to it, and where that
    /// leads: `None` to its end.
    pub(crate) fn follow(mut self, bytes: &[u8]) -> Result<(usize, Option<Self>), BadChunks> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Self::Data { left } = self {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += count;
                self = self.passed(count as u64);
                continue;
            }
            match self.after(byte) {
                Some(Self::End) if byte == b'\n' => return Ok((at + 1, None)),
                Some(next) => self = next,
                // What is right passes first, however the bytes were cut into reads.
                None if at > 0 => break,
                None => return Err(BadChunks),
            }
            at += 1;
        }
        Ok((at, Some(self)))
    }

    /// Where `byte`, which is not data, leads. [`End`](Self::End) is entered by its CR, and left by
    /// its LF.
    fn after(self, byte: u8) -> Option<Self> {
        let is_text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        Some(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return None,
            (Self::Size { size, .. } | Self::Padding { size } | Self::Extension { size }, b'\r') => {
                Self::SizeEnd { size }
            }
            (Self::Size { size, .. } | Self::Padding { size }, b' ' | b'\t') => Self::Padding { size },
            (Self::Size { size, .. } | Self::Padding { size }, b';') => Self::Extension { size },
            (Self::Extension { .. }, _) if is_text => self,
            (Self::SizeEnd { size: 0 }, b'\n') | (Self::TrailerEnd, b'\n') => Self::LineBegin,
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::FIRST,
            (Self::LineBegin, b'\r') | (Self::End, b'\n') => Self::End,
            (Self::LineBegin | Self::TrailerName, _) if is_token(byte) => Self::TrailerName,
            (Self::TrailerName, b':') => Self::TrailerValue,
            (Self::TrailerValue, b'\r') => Self::TrailerEnd,
            (Self::TrailerValue, _) if is_text => self,
            _ => return None,
        })
    }
}

/// Whether `byte` may stand in a header's name (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
