//! Values: what is stored under a key.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::hash::InfoHash;
use crate::limits::{MAX_PACKED_VALUE, MAX_VALUE};
use crate::msgpack::{MsgpackError, Reader, Token, Writer};

/// The type of a value: decides how long it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueType(pub u16);

impl ValueType {
    /// Anything an application likes; lives 10 minutes.
    pub const USER_DATA: Self = Self(0);
    /// An IP service announcement. Released nodes rewrite the address in it; this one does not
    /// store them.
    pub const IP_SERVICE: Self = Self(2);
    /// ICE candidates; lives one minute.
    pub const ICE_CANDIDATES: Self = Self(5);
    /// A certificate, to be stored under the hash of its key only. This node does not store them.
    pub const CERTIFICATE: Self = Self(8);

    /// How long a storing node keeps a value of this type.
    #[must_use]
    pub const fn lifetime(self) -> Duration {
        const MINUTE: u64 = 60;
        Duration::from_secs(match self.0 {
            1 | 3 => 5 * MINUTE,
            2 => 15 * MINUTE,
            4 | 8 => 7 * 24 * 60 * MINUTE,
            5 => MINUTE,
            _ => 10 * MINUTE,
        })
    }
}

/// A value, kept as the very bytes it came in, because signatures cover them.
#[derive(Clone)]
pub struct Value {
    raw: Arc<[u8]>,
    id: u64,
    priority: u32,
    parts: Parts,
    dat: Range<u32>,
}

/// Where the parts lie in the packed bytes.
#[derive(Debug, Clone, Default)]
struct Parts {
    kind: u16,
    seq: u16,
    recipient: Option<InfoHash>,
    body: Option<Range<u32>>,
    data: Range<u32>,
    user_type: Range<u32>,
    owner: Option<Range<u32>>,
    signature: Option<Range<u32>>,
    cypher: Option<Range<u32>>,
}

/// Why bytes are not a value, or cannot become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not the msgpack it should be.
    #[error("malformed value")]
    Malformed(#[from] MsgpackError),
    /// A key that must be there is missing.
    #[error("value without {0}")]
    Missing(&'static str),
    /// Id 0 means "none".
    #[error("value id is zero")]
    ZeroId,
    /// Larger than the network takes.
    #[error("value of {size} bytes, at most {MAX_VALUE} are allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// A number that does not fit its field.
    #[error("number out of range")]
    OutOfRange,
}

/// The parts of a signed value that its signature is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The owner's public key, DER SubjectPublicKeyInfo.
    pub owner: &'a [u8],
    /// What was signed: the body as it stands in the packed value.
    pub message: &'a [u8],
    /// RSA PKCS#1 v1.5 with SHA-512.
    pub signature: &'a [u8],
}

impl Value {
    /// Makes a plain value.
    ///
    /// Content under one (key, id) cannot be changed once stored: new content needs a new id.
    ///
    /// # Errors
    /// [`ValueError::ZeroId`]; [`ValueError::TooLarge`] when `data` and `user_type` exceed 65,536
    /// bytes together or the packed form exceeds 65,568.
    pub fn new(id: u64, kind: ValueType, data: &[u8], user_type: &str) -> Result<Self, ValueError> {
        Self::with_priority(id, kind, data, user_type, 0)
    }

    /// Makes a plain value with a priority, which the network carries along and applications may
    /// look at.
    ///
    /// # Errors
    /// As [`Value::new`].
    pub fn with_priority(
        id: u64,
        kind: ValueType,
        data: &[u8],
        user_type: &str,
        priority: u32,
    ) -> Result<Self, ValueError> {
        let size = data.len() + user_type.len();
        if size > MAX_VALUE {
            return Err(ValueError::TooLarge { size });
        }
        let mut raw = Vec::with_capacity(size + 48);
        let mut writer = Writer::new(&mut raw);
        writer.map(if priority == 0 { 2 } else { 3 });
        writer.str("id");
        writer.uint(id);
        writer.str("dat");
        writer.map(1);
        writer.str("body");
        writer.map(if user_type.is_empty() { 2 } else { 3 });
        writer.str("type");
        writer.uint(kind.0.into());
        writer.str("data");
        writer.bin(data);
        if !user_type.is_empty() {
            writer.str("utype");
            writer.str(user_type);
        }
        if priority != 0 {
            writer.str("p");
            writer.uint(priority.into());
        }
        Self::parse(&raw)
    }

    /// Reads a packed value. Unknown keys are tolerated and kept.
    ///
    /// # Errors
    /// [`ValueError`] names what is missing or wrong.
    pub fn parse(raw: &[u8]) -> Result<Self, ValueError> {
        if raw.len() > MAX_PACKED_VALUE {
            return Err(ValueError::TooLarge { size: raw.len() });
        }
        let at = Positions { whole: raw };
        let mut reader = Reader::new(raw);
        let (mut id, mut dat, mut priority) = (None, None, 0);
        for _ in 0..reader.map()? {
            match key(&mut reader)? {
                Some(b"id") => id = Some(reader.uint()?),
                Some(b"dat") => dat = Some(reader.skip()?),
                Some(b"p") => priority = priority_in(reader.skip()?),
                _ => {
                    reader.skip()?;
                }
            }
        }
        let id = id.ok_or(ValueError::Missing("id"))?;
        if id == 0 {
            return Err(ValueError::ZeroId);
        }
        let dat = dat.ok_or(ValueError::Missing("dat"))?;
        let parts = parse_dat(dat, &at)?;
        Ok(Self { id, priority, parts, dat: at.of(dat), raw: raw.into() })
    }

    /// The value's number under its key; never 0.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its priority; 0 unless the publisher gave it one.
    #[must_use]
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// Whom a signed value is for, the id of a public key.
    #[must_use]
    pub fn recipient(&self) -> Option<InfoHash> {
        self.parts.recipient
    }

    /// Its type. Encrypted values do not show theirs and count as user data.
    #[must_use]
    pub fn kind(&self) -> ValueType {
        ValueType(self.parts.kind)
    }

    /// Its sequence number; 0 unless signed.
    #[must_use]
    pub fn seq(&self) -> u16 {
        self.parts.seq
    }

    /// Its data; empty when encrypted.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.slice(&self.parts.data)
    }

    /// Its user type as sent, UTF-8 in all likelihood; empty when it has none.
    #[must_use]
    pub fn user_type(&self) -> &[u8] {
        self.slice(&self.parts.user_type)
    }

    /// The ciphertext of an encrypted value.
    #[must_use]
    pub fn cypher(&self) -> Option<&[u8]> {
        self.parts.cypher.as_ref().map(|range| self.slice(range))
    }

    /// The owner's public key, DER.
    #[must_use]
    pub fn owner(&self) -> Option<&[u8]> {
        self.parts.owner.as_ref().map(|range| self.slice(range))
    }

    /// What a signature check needs; `None` for values that are not signed.
    #[must_use]
    pub fn signed(&self) -> Option<Signed<'_>> {
        Some(Signed {
            owner: self.owner()?,
            message: self.slice(self.parts.body.as_ref()?),
            signature: self.slice(self.parts.signature.as_ref()?),
        })
    }

    /// The packed form.
    #[must_use]
    pub fn packed(&self) -> &[u8] {
        &self.raw
    }

    /// Whether both say the same; ids and priorities aside.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.slice(&self.dat) == other.slice(&other.dat)
    }

    /// SHA-1 of the owner's public key.
    pub(crate) fn owner_id(&self) -> Option<InfoHash> {
        self.owner().map(InfoHash::of)
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        self.raw.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("id", &self.id)
            .field("kind", &self.parts.kind)
            .field("len", &self.raw.len())
            .finish()
    }
}

/// Turns a slice of the packed value back into its position.
struct Positions<'a> {
    whole: &'a [u8],
}

impl Positions<'_> {
    fn of(&self, part: &[u8]) -> Range<u32> {
        let start = (part.as_ptr() as usize - self.whole.as_ptr() as usize) as u32;
        start..start + part.len() as u32
    }
}

/// Reads a map key; `None` for one that is not text.
fn key<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, MsgpackError> {
    let before = reader.clone();
    match reader.next()? {
        Token::Str(text) => Ok(Some(text)),
        _ => {
            *reader = before;
            reader.skip()?;
            Ok(None)
        }
    }
}

fn parse_dat(dat: &[u8], at: &Positions<'_>) -> Result<Parts, ValueError> {
    let mut reader = Reader::new(dat);
    let entries = match reader.next()? {
        Token::Bin(cypher) => return Ok(Parts { cypher: Some(at.of(cypher)), ..Parts::default() }),
        Token::Map(entries) => entries,
        _ => return Err(MsgpackError::WrongType { expected: "map or bin" }.into()),
    };
    let (mut body, mut signature) = (None, None);
    for _ in 0..entries {
        match key(&mut reader)? {
            Some(b"body") => body = Some(reader.skip()?),
            Some(b"sig") => signature = Some(reader.bin()?),
            _ => {
                reader.skip()?;
            }
        }
    }
    let body = body.ok_or(ValueError::Missing("body"))?;
    let mut parts = parse_body(body, at)?;
    parts.body = Some(at.of(body));
    if parts.owner.is_some() {
        parts.signature = Some(at.of(signature.ok_or(ValueError::Missing("sig"))?));
    }
    let sized = [Some(&parts.data), Some(&parts.user_type), parts.signature.as_ref()];
    let size = sized.into_iter().flatten().map(|range| range.len()).sum();
    if size > MAX_VALUE {
        return Err(ValueError::TooLarge { size });
    }
    Ok(parts)
}

fn parse_body(body: &[u8], at: &Positions<'_>) -> Result<Parts, ValueError> {
    let mut reader = Reader::new(body);
    let (mut kind, mut data, mut seq) = (None, None, None);
    let mut parts = Parts::default();
    for _ in 0..reader.map()? {
        match key(&mut reader)? {
            Some(b"type") => kind = Some(reader.uint()?),
            Some(b"data") => data = Some(reader.bin()?),
            Some(b"utype") => parts.user_type = at.of(reader.str()?),
            Some(b"seq") => seq = Some(reader.uint()?),
            Some(b"to") => parts.recipient = recipient_in(reader.skip()?),
            Some(b"owner") => parts.owner = Some(at.of(reader.bin()?)),
            _ => {
                reader.skip()?;
            }
        }
    }
    parts.kind = narrow(kind.ok_or(ValueError::Missing("type"))?)?;
    parts.data = at.of(data.ok_or(ValueError::Missing("data"))?);
    if parts.owner.is_some() {
        parts.seq = narrow(seq.ok_or(ValueError::Missing("seq"))?)?;
    }
    Ok(parts)
}

/// A priority that is none counts as 0: it decides nothing here, and the value is passed on as it
/// came.
fn priority_in(packed: &[u8]) -> u32 {
    Reader::new(packed).uint().ok().and_then(|priority| u32::try_from(priority).ok()).unwrap_or(0)
}

fn recipient_in(packed: &[u8]) -> Option<InfoHash> {
    Reader::new(packed).bin().ok()?.try_into().ok().map(InfoHash)
}

fn narrow(number: u64) -> Result<u16, ValueError> {
    u16::try_from(number).map_err(|_| ValueError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_at_the_limit_is_taken_and_one_byte_more_is_not() {
        let largest = Value::new(1, ValueType::USER_DATA, &vec![0; MAX_VALUE], "").unwrap();
        assert_eq!(largest.packed().len(), MAX_PACKED_VALUE);
        let more = Value::new(1, ValueType::USER_DATA, &vec![0; MAX_VALUE + 1], "");
        assert_eq!(more, Err(ValueError::TooLarge { size: MAX_VALUE + 1 }));
    }

    #[test]
    fn id_zero_is_refused() {
        assert_eq!(Value::new(0, ValueType::USER_DATA, b"x", ""), Err(ValueError::ZeroId));
    }

    #[test]
    fn types_that_die_soon_and_late() {
        assert_eq!(ValueType::USER_DATA.lifetime(), Duration::from_secs(600));
        assert_eq!(ValueType::ICE_CANDIDATES.lifetime(), Duration::from_secs(60));
        assert_eq!(ValueType(4711).lifetime(), Duration::from_secs(600));
    }

    #[test]
    fn a_priority_that_is_none_is_passed_on_and_counts_as_zero() {
        let raw = b"\x83\xa2id\x01\xa3dat\x81\xa4body\x82\xa4type\x00\xa4data\xc4\x00\xa1p\xa1x";
        let value = Value::parse(raw).unwrap();
        assert_eq!((value.priority(), value.packed()), (0, &raw[..]));
    }

    #[test]
    fn an_owner_demands_a_signature() {
        let mut raw = Vec::new();
        let mut writer = Writer::new(&mut raw);
        writer.map(2);
        writer.str("id");
        writer.uint(1);
        writer.str("dat");
        writer.map(1);
        writer.str("body");
        writer.map(4);
        writer.str("seq");
        writer.uint(0);
        writer.str("owner");
        writer.bin(b"key");
        writer.str("type");
        writer.uint(0);
        writer.str("data");
        writer.bin(b"");
        assert_eq!(Value::parse(&raw), Err(ValueError::Missing("sig")));
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(id in 1u64.., kind: u16, data: Vec<u8>, user_type in ".{0,20}", priority: u32) {
            let value = Value::with_priority(id, ValueType(kind), &data, &user_type, priority).unwrap();
            prop_assert_eq!(value.priority(), priority);
            prop_assert_eq!(value.id(), id);
            prop_assert_eq!(value.kind(), ValueType(kind));
            prop_assert_eq!(value.data(), &data[..]);
            prop_assert_eq!(value.user_type(), user_type.as_bytes());
            prop_assert_eq!(Value::parse(value.packed()).unwrap(), value);
        }

        #[test]
        fn damaged_values_never_panic(cut in 0usize..80, at in 0usize..80, byte: u8) {
            let mut raw = Value::new(77, ValueType(5), b"some data", "text/plain").unwrap().packed().to_vec();
            if let Some(slot) = raw.get_mut(at) {
                *slot = byte;
            }
            raw.truncate(cut);
            let _ = Value::parse(&raw);
        }
    }
}
