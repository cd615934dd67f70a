//! Queries of `get` and `listen`, and the field lists that answer them.

use std::borrow::Cow;

use super::DecodeError;
use crate::hash::InfoHash;
use crate::limits::{MAX_QUERY_PARTS, MAX_VALUES_PER_MESSAGE};
use crate::msgpack::{MsgpackError, Reader, Token, Writer};
use crate::value::Value;

/// A field of a value that can be selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Number 1.
    Id,
    /// Number 2.
    Type,
    /// Number 3: the owner's public key.
    Owner,
    /// Number 4.
    Seq,
    /// Number 5.
    UserType,
}

impl Field {
    fn from_number(number: u64) -> Option<Self> {
        [Self::Id, Self::Type, Self::Owner, Self::Seq, Self::UserType]
            .into_iter()
            .find(|field| field.number() == number)
    }

    fn number(self) -> u64 {
        match self {
            Self::Id => 1,
            Self::Type => 2,
            Self::Owner => 3,
            Self::Seq => 4,
            Self::UserType => 5,
        }
    }
}

/// Something a value must fulfil. Sequence numbers cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Its id.
    Id(u64),
    /// Its type.
    Type(u64),
    /// SHA-1 of its owner's public key.
    Owner(InfoHash),
    /// Its user type.
    UserType(Vec<u8>),
}

/// Which values a requester wants, and what of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Fields to list; empty for whole values.
    pub select: Vec<Field>,
    /// Conditions, all of which must hold.
    pub conditions: Vec<Condition>,
}

/// One entry of a field list.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue<'a> {
    /// Id, type or sequence number.
    Uint(u64),
    /// Owner key, or 20 zero bytes.
    Bin(Cow<'a, [u8]>),
    /// User type.
    Str(Cow<'a, [u8]>),
}

/// Selected fields of values: for each value one entry per field, in ascending order of the fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields<'a> {
    /// The fields, ascending.
    pub fields: Vec<Field>,
    /// Their values, row after row.
    pub entries: Vec<FieldValue<'a>>,
}

impl Query {
    /// Asks for id and sequence number of one value.
    #[must_use]
    pub fn probe(id: u64) -> Self {
        Self { select: vec![Field::Id, Field::Seq], conditions: vec![Condition::Id(id)] }
    }

    /// Whether `value` fulfils every condition.
    #[must_use]
    pub fn matches(&self, value: &Value) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::Id(id) => value.id() == *id,
            Condition::Type(kind) => u64::from(value.kind().0) == *kind,
            Condition::Owner(owner) => value.owner_id().unwrap_or_default() == *owner,
            Condition::UserType(text) => value.user_type() == text,
        })
    }

    /// The selected fields of `values`.
    pub(crate) fn fields_of<'a>(&self, values: impl Iterator<Item = &'a Value>) -> Fields<'a> {
        let mut fields = self.select.clone();
        fields.sort_unstable();
        fields.dedup();
        let entries = values.flat_map(|value| fields.iter().map(|field| field_of(value, *field))).collect();
        Fields { fields, entries }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut query = Self::default();
        for _ in 0..reader.map()? {
            match reader.next()? {
                Token::Str(b"s") => query.select = decode_fields(reader)?,
                Token::Str(b"w") => {
                    for _ in 0..bounded(reader.array()?, MAX_QUERY_PARTS)? {
                        query.conditions.push(decode_condition(reader)?);
                    }
                }
                Token::Str(_) => {
                    reader.skip()?;
                }
                _ => return Err(MsgpackError::WrongType { expected: "str" }.into()),
            }
        }
        Ok(query)
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.map(2);
        out.str("s");
        encode_fields(&self.select, out);
        out.str("w");
        out.array(self.conditions.len());
        for condition in &self.conditions {
            out.map(2);
            out.str("f");
            match condition {
                Condition::Id(_) => out.uint(Field::Id.number()),
                Condition::Type(_) => out.uint(Field::Type.number()),
                Condition::Owner(_) => out.uint(Field::Owner.number()),
                Condition::UserType(_) => out.uint(Field::UserType.number()),
            }
            out.str("v");
            match condition {
                Condition::Id(number) | Condition::Type(number) => out.uint(*number),
                Condition::Owner(owner) => out.bin(&owner.0),
                Condition::UserType(text) => out.bin(text),
            }
        }
    }
}

impl<'a> Fields<'a> {
    /// The rows, one per value.
    pub fn rows(&self) -> impl Iterator<Item = &[FieldValue<'a>]> {
        self.entries.chunks_exact(self.fields.len().max(1))
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut fields = Self::default();
        for _ in 0..reader.map()? {
            match reader.next()? {
                Token::Str(b"f") => fields.fields = decode_fields(reader)?,
                Token::Str(b"v") => {
                    for _ in 0..bounded(reader.array()?, MAX_VALUES_PER_MESSAGE * 5)? {
                        fields.entries.push(match reader.next()? {
                            Token::Uint(number) => FieldValue::Uint(number),
                            Token::Bin(bytes) => FieldValue::Bin(bytes.into()),
                            Token::Str(text) => FieldValue::Str(text.into()),
                            _ => return Err(MsgpackError::WrongType { expected: "field value" }.into()),
                        });
                    }
                }
                Token::Str(_) => {
                    reader.skip()?;
                }
                _ => return Err(MsgpackError::WrongType { expected: "str" }.into()),
            }
        }
        Ok(fields)
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.map(2);
        out.str("f");
        encode_fields(&self.fields, out);
        out.str("v");
        out.array(self.entries.len());
        for entry in &self.entries {
            match entry {
                FieldValue::Uint(number) => out.uint(*number),
                FieldValue::Bin(bytes) => out.bin(bytes),
                FieldValue::Str(text) => out.str(text),
            }
        }
    }
}

/// `len`, unless it exceeds `limit`.
pub(super) fn bounded(len: u32, limit: usize) -> Result<u32, DecodeError> {
    if len as usize > limit { Err(DecodeError::TooMany) } else { Ok(len) }
}

fn field_of(value: &Value, field: Field) -> FieldValue<'_> {
    match field {
        Field::Id => FieldValue::Uint(value.id()),
        Field::Type => FieldValue::Uint(value.kind().0.into()),
        Field::Owner => FieldValue::Bin(value.owner().unwrap_or(&InfoHash::ZERO.0).into()),
        Field::Seq => FieldValue::Uint(value.seq().into()),
        Field::UserType => FieldValue::Str(value.user_type().into()),
    }
}

fn decode_fields(reader: &mut Reader<'_>) -> Result<Vec<Field>, DecodeError> {
    let len = bounded(reader.array()?, MAX_QUERY_PARTS)?;
    (0..len).map(|_| Field::from_number(reader.uint()?).ok_or(DecodeError::UnknownField)).collect()
}

fn encode_fields(fields: &[Field], out: &mut Writer<'_>) {
    out.array(fields.len());
    fields.iter().for_each(|field| out.uint(field.number()));
}

fn decode_condition(reader: &mut Reader<'_>) -> Result<Condition, DecodeError> {
    let (mut field, mut wanted) = (None, None);
    for _ in 0..reader.map()? {
        match reader.next()? {
            Token::Str(b"f") => field = Some(reader.uint()?),
            Token::Str(b"v") => wanted = Some(reader.next()?),
            _ => return Err(DecodeError::UnknownField),
        }
    }
    match (field.and_then(Field::from_number), wanted) {
        (Some(Field::Id), Some(Token::Uint(id))) => Ok(Condition::Id(id)),
        (Some(Field::Type), Some(Token::Uint(kind))) => Ok(Condition::Type(kind)),
        (Some(Field::Owner), Some(Token::Bin(owner))) => {
            InfoHash::from_slice(owner).map(Condition::Owner).ok_or(DecodeError::BadLength("owner"))
        }
        (Some(Field::UserType), Some(Token::Bin(text))) => Ok(Condition::UserType(text.to_vec())),
        _ => Err(DecodeError::UnknownField),
    }
}
