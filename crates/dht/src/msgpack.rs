//! The part of msgpack that the protocol needs: a borrowing reader that never recurses and never
//! allocates, and a writer of minimal widths. Every byte comes from strangers, hence a reader of
//! our own; runner-up `rmp`.

/// What is wrong with a msgpack item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MsgpackError {
    /// The bytes end inside an item.
    #[error("truncated")]
    Truncated,
    /// Byte 0xc1, which msgpack never uses.
    #[error("reserved type byte")]
    Reserved,
    /// Another type than the protocol asks for.
    #[error("wrong type, expected {expected}")]
    WrongType {
        /// What should have stood there.
        expected: &'static str,
    },
}

/// One item; the children of arrays and maps follow as items of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    /// Negative integers only.
    Int(i64),
    Float,
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext,
    Array(u32),
    Map(u32),
}

/// Reads items one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn next(&mut self) -> Result<Token<'a>, MsgpackError> {
        let tag = self.take_array::<1>()?[0];
        Ok(match tag {
            0x00..=0x7f => Token::Uint(tag.into()),
            0x80..=0x8f => Token::Map((tag & 0x0f).into()),
            0x90..=0x9f => Token::Array((tag & 0x0f).into()),
            0xa0..=0xbf => Token::Str(self.take((tag & 0x1f).into())?),
            0xc0 => Token::Nil,
            0xc1 => return Err(MsgpackError::Reserved),
            0xc2 | 0xc3 => Token::Bool(tag == 0xc3),
            0xc4..=0xc6 => Token::Bin(self.take_sized(tag - 0xc4)?),
            0xc7..=0xc9 => self.take_ext(tag - 0xc7)?,
            0xca => self.take(4).map(|_| Token::Float)?,
            0xcb => self.take(8).map(|_| Token::Float)?,
            0xcc..=0xcf => Token::Uint(self.take_uint(tag - 0xcc)?),
            0xd0 => signed(i8::from_be_bytes(self.take_array()?).into()),
            0xd1 => signed(i16::from_be_bytes(self.take_array()?).into()),
            0xd2 => signed(i32::from_be_bytes(self.take_array()?).into()),
            0xd3 => signed(i64::from_be_bytes(self.take_array()?)),
            0xd4..=0xd8 => self.take(1 + (1 << (tag - 0xd4))).map(|_| Token::Ext)?,
            0xd9..=0xdb => Token::Str(self.take_sized(tag - 0xd9)?),
            0xdc => Token::Array(u16::from_be_bytes(self.take_array()?).into()),
            0xdd => Token::Array(u32::from_be_bytes(self.take_array()?)),
            0xde => Token::Map(u16::from_be_bytes(self.take_array()?).into()),
            0xdf => Token::Map(u32::from_be_bytes(self.take_array()?)),
            0xe0..=0xff => Token::Int(i8::from_be_bytes([tag]).into()),
        })
    }

    /// Passes over one item with everything in it and returns its bytes. Each step of the loop
    /// takes at least one byte, so neither depth nor announced lengths can make it cost more than
    /// the input is long.
    pub(crate) fn skip(&mut self) -> Result<&'a [u8], MsgpackError> {
        let start = self.rest;
        let mut items: u64 = 1;
        while items > 0 {
            items += match self.next()? {
                Token::Array(len) => u64::from(len),
                Token::Map(len) => 2 * u64::from(len),
                _ => 0,
            };
            items -= 1;
        }
        Ok(&start[..start.len() - self.rest.len()])
    }

    pub(crate) fn map(&mut self) -> Result<u32, MsgpackError> {
        match self.next()? {
            Token::Map(len) => Ok(len),
            _ => Err(MsgpackError::WrongType { expected: "map" }),
        }
    }

    pub(crate) fn array(&mut self) -> Result<u32, MsgpackError> {
        match self.next()? {
            Token::Array(len) => Ok(len),
            _ => Err(MsgpackError::WrongType { expected: "array" }),
        }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, MsgpackError> {
        match self.next()? {
            Token::Uint(value) => Ok(value),
            _ => Err(MsgpackError::WrongType { expected: "unsigned integer" }),
        }
    }

    pub(crate) fn str(&mut self) -> Result<&'a [u8], MsgpackError> {
        match self.next()? {
            Token::Str(text) => Ok(text),
            _ => Err(MsgpackError::WrongType { expected: "str" }),
        }
    }

    pub(crate) fn bin(&mut self) -> Result<&'a [u8], MsgpackError> {
        match self.next()? {
            Token::Bin(bytes) => Ok(bytes),
            _ => Err(MsgpackError::WrongType { expected: "bin" }),
        }
    }

    pub(crate) fn bool(&mut self) -> Result<bool, MsgpackError> {
        match self.next()? {
            Token::Bool(value) => Ok(value),
            _ => Err(MsgpackError::WrongType { expected: "bool" }),
        }
    }

    /// Bytes not read yet.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], MsgpackError> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(MsgpackError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], MsgpackError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(MsgpackError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    /// An unsigned integer of 1, 2, 4 or 8 bytes, for `width` 0 to 3.
    fn take_uint(&mut self, width: u8) -> Result<u64, MsgpackError> {
        Ok(match width {
            0 => u8::from_be_bytes(self.take_array()?).into(),
            1 => u16::from_be_bytes(self.take_array()?).into(),
            2 => u32::from_be_bytes(self.take_array()?).into(),
            _ => u64::from_be_bytes(self.take_array()?),
        })
    }

    fn take_sized(&mut self, width: u8) -> Result<&'a [u8], MsgpackError> {
        let len = self.take_uint(width)?;
        self.take(usize::try_from(len).map_err(|_| MsgpackError::Truncated)?)
    }

    fn take_ext(&mut self, width: u8) -> Result<Token<'a>, MsgpackError> {
        let len = self.take_uint(width)?;
        self.take(1)?;
        self.take(usize::try_from(len).map_err(|_| MsgpackError::Truncated)?)?;
        Ok(Token::Ext)
    }
}

fn signed(value: i64) -> Token<'static> {
    u64::try_from(value).map_or(Token::Int(value), Token::Uint)
}

/// Appends items to a buffer, each in its minimal width.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub(crate) fn uint(&mut self, value: u64) {
        match value {
            0..=0x7f => self.out.push(value as u8),
            0x80..=0xff => self.out.extend([0xcc, value as u8]),
            0x100..=0xffff => self.tagged(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.tagged(0xce, &(value as u32).to_be_bytes()),
            _ => self.tagged(0xcf, &value.to_be_bytes()),
        }
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.out.push(if value { 0xc3 } else { 0xc2 });
    }

    pub(crate) fn str(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match text.len() {
            len @ 0..=31 => self.out.push(0xa0 | len as u8),
            len => self.sized(0xd9, len),
        }
        self.out.extend_from_slice(text);
    }

    pub(crate) fn bin(&mut self, bytes: &[u8]) {
        self.sized(0xc4, bytes.len());
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn array(&mut self, len: usize) {
        match len {
            0..=15 => self.out.push(0x90 | len as u8),
            16..=0xffff => self.tagged(0xdc, &(len as u16).to_be_bytes()),
            _ => self.tagged(0xdd, &(len as u32).to_be_bytes()),
        }
    }

    pub(crate) fn map(&mut self, len: usize) {
        match len {
            0..=15 => self.out.push(0x80 | len as u8),
            16..=0xffff => self.tagged(0xde, &(len as u16).to_be_bytes()),
            _ => self.tagged(0xdf, &(len as u32).to_be_bytes()),
        }
    }

    /// Appends an item that is encoded already.
    pub(crate) fn raw(&mut self, item: &[u8]) {
        self.out.extend_from_slice(item);
    }

    fn sized(&mut self, tag8: u8, len: usize) {
        match len {
            0..=0xff => self.out.extend([tag8, len as u8]),
            0x100..=0xffff => self.tagged(tag8 + 1, &(len as u16).to_be_bytes()),
            _ => self.tagged(tag8 + 2, &(len as u32).to_be_bytes()),
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn deep_nesting_is_passed_over_without_recursion() {
        let mut bytes = vec![0x91; 100_000];
        bytes.push(0xc0);
        assert_eq!(Reader::new(&bytes).skip().unwrap().len(), 100_001);
        assert_eq!(Reader::new(&bytes[..100_000]).skip(), Err(MsgpackError::Truncated));
    }

    #[test]
    fn announced_lengths_are_not_believed() {
        for bytes in [
            &[0xdf, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0],
            &[0xc6, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(Reader::new(bytes).skip(), Err(MsgpackError::Truncated));
        }
    }

    #[test]
    fn positive_signed_integers_count_as_unsigned() {
        assert_eq!(Reader::new(&[0xd0, 0x05]).uint(), Ok(5));
        assert_eq!(Reader::new(&[0xd3, 0, 0, 0, 0, 0, 0, 1, 0]).uint(), Ok(256));
        assert!(Reader::new(&[0xff]).uint().is_err());
    }

    proptest! {
        #[test]
        fn integers_survive(value: u64) {
            let mut out = Vec::new();
            Writer::new(&mut out).uint(value);
            prop_assert_eq!(Reader::new(&out).uint(), Ok(value));
        }

        #[test]
        fn widths_are_minimal_and_lengths_survive(len in 0usize..70_000) {
            let blob = vec![7; len];
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out);
            writer.bin(&blob);
            writer.str(&blob);
            writer.array(len);
            writer.map(len);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.bin(), Ok(&blob[..]));
            prop_assert_eq!(reader.str(), Ok(&blob[..]));
            prop_assert_eq!(reader.array(), Ok(len as u32));
            prop_assert_eq!(reader.map(), Ok(len as u32));
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn reading_noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while reader.skip().is_ok() && reader.remaining() > 0 {}
        }
    }
}
