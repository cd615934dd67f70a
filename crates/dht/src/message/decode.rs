//! Datagram → [`Message`].

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::query::bounded;
use super::{
    Body, Fields, Fragment, Message, NODE4_LEN, NODE6_LEN, Query, Reply, Request, Update, ValueEntry, Values, Want,
};
use crate::hash::InfoHash;
use crate::limits::{MAX_IDS_PER_UPDATE, MAX_REPLY_VALUES, MAX_TOKEN, MAX_VALUES_PER_MESSAGE};
use crate::msgpack::{MsgpackError, Reader, Token};

/// Why a datagram is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not the msgpack it should be.
    #[error("malformed message")]
    Malformed(#[from] MsgpackError),
    /// A key that must be there is missing.
    #[error("message without {0}")]
    Missing(&'static str),
    /// A byte string of a length it cannot have.
    #[error("bad length of {0}")]
    BadLength(&'static str),
    /// More entries than any honest sender has.
    #[error("too many entries")]
    TooMany,
    /// A query this protocol does not have.
    #[error("unknown query field")]
    UnknownField,
    /// Neither request, reply, error nor fragment.
    #[error("unknown kind of message")]
    UnknownKind,
}

impl<'a> Message<'a> {
    /// Reads a datagram as released nodes do: keys in any order, unknown keys passed over, integers
    /// of any width.
    ///
    /// # Errors
    /// [`DecodeError`]; such a datagram is to be dropped without an answer.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram);
        let mut envelope = Envelope::default();
        for _ in 0..reader.map()? {
            match reader.next()? {
                Token::Str(name) => envelope.read(name, &mut reader)?,
                key => skip_key_and_value(key, &mut reader)?,
            }
        }
        let tid = envelope.tid.ok_or(DecodeError::Missing("transaction id"))?;
        let (network, client, agent) = (envelope.network, envelope.client, envelope.agent);
        Ok(Self { tid, network, client, agent, body: envelope.into_body()? })
    }
}

/// The top-level map.
#[derive(Default)]
struct Envelope<'a> {
    tid: Option<u32>,
    network: u32,
    client: bool,
    agent: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    request: Option<&'a [u8]>,
    arguments: Option<Arguments<'a>>,
    reply: Option<Arguments<'a>>,
    legacy: Option<Arguments<'a>>,
    error: Option<(u64, &'a [u8])>,
    fragments: Option<Vec<Fragment<'a>>>,
}

impl<'a> Envelope<'a> {
    fn read(&mut self, name: &[u8], reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        match name {
            b"y" => self.kind = Some(reader.str()?),
            b"t" => self.tid = Some(short_id(reader)?),
            b"q" => self.request = Some(reader.str()?),
            b"a" => self.arguments = Some(Arguments::decode(reader)?),
            b"r" => self.reply = Some(Arguments::decode(reader)?),
            b"u" => self.legacy = Some(Arguments::decode(reader)?),
            b"e" => self.error = Some(decode_error(reader)?),
            b"p" => self.fragments = Some(decode_fragments(reader)?),
            b"v" => self.agent = Some(reader.str()?),
            b"n" => self.network = uint32(reader.uint()?)?,
            b"s" => self.client = reader.bool()?,
            _ => {
                reader.skip()?;
            }
        }
        Ok(())
    }

    /// Classifies in the order of released nodes.
    fn into_body(self) -> Result<Body<'a>, DecodeError> {
        if let Some((code, text)) = self.error {
            // An error must have an id when it is sent; the zero id stands for none.
            let id = self.reply.and_then(|reply| reply.id).filter(|id| !id.is_zero());
            return Ok(Body::Error { id, code, text: text.into() });
        }
        if let Some(reply) = self.reply {
            return reply.into_reply().map(Body::Reply);
        }
        if let Some(fragments) = self.fragments {
            return Ok(Body::Fragments(fragments));
        }
        if let Some(legacy) = self.legacy {
            return Ok(Body::LegacyPush { id: legacy.id.ok_or(DecodeError::Missing("node id"))? });
        }
        if self.kind.is_some_and(|kind| kind != b"q") {
            return Err(DecodeError::UnknownKind);
        }
        let arguments = self.arguments.ok_or(DecodeError::Missing("arguments"))?;
        let id = arguments.id.ok_or(DecodeError::Missing("node id"))?;
        let request = arguments.into_request(self.request.ok_or(DecodeError::UnknownKind)?)?;
        Ok(Body::Request { id, request })
    }
}

/// The maps under `a`, `r` and `u`: any key may stand in any of them.
#[derive(Default)]
struct Arguments<'a> {
    id: Option<InfoHash>,
    address: Option<IpAddr>,
    hash: Option<InfoHash>,
    target: Option<InfoHash>,
    want: Option<Want>,
    query: Option<Query>,
    token: Cow<'a, [u8]>,
    values: Values<'a>,
    value_id: Option<u64>,
    created: Option<u64>,
    nodes4: Cow<'a, [u8]>,
    nodes6: Cow<'a, [u8]>,
    fields: Option<Fields<'a>>,
    socket: Option<u32>,
    refreshed: Vec<u64>,
    expired: Vec<u64>,
    version: Option<u64>,
}

impl<'a> Arguments<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut arguments = Self::default();
        for _ in 0..reader.map()? {
            match reader.next()? {
                Token::Str(name) => arguments.read(name, reader)?,
                key => skip_key_and_value(key, reader)?,
            }
        }
        Ok(arguments)
    }

    fn read(&mut self, name: &[u8], reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        match name {
            b"id" => self.id = Some(hash(reader, "node id")?),
            b"sa" => self.address = Some(address(reader.bin()?)?),
            b"h" => self.hash = Some(hash(reader, "hash")?),
            b"target" => self.target = Some(hash(reader, "target")?),
            b"w" => self.want = Some(decode_want(reader)?),
            b"q" => self.query = Some(Query::decode(reader)?),
            b"token" => self.token = blob(reader)?,
            b"values" => self.values = decode_values(reader)?,
            b"vid" => self.value_id = Some(reader.uint()?),
            b"c" => self.created = Some(reader.uint()?),
            b"n4" => self.nodes4 = records(blob(reader)?, NODE4_LEN)?,
            b"n6" => self.nodes6 = records(blob(reader)?, NODE6_LEN)?,
            b"fileds" => self.fields = Some(Fields::decode(reader)?),
            b"sid" => self.socket = Some(short_id(reader)?),
            b"re" => self.refreshed = decode_ids(reader)?,
            b"exp" => self.expired = decode_ids(reader)?,
            b"ve" => self.version = Some(reader.uint()?),
            _ => {
                reader.skip()?;
            }
        }
        Ok(())
    }

    fn into_reply(self) -> Result<Reply<'a>, DecodeError> {
        if self.token.len() > MAX_TOKEN {
            return Err(DecodeError::BadLength("token"));
        }
        Ok(Reply {
            id: self.id.ok_or(DecodeError::Missing("node id"))?,
            value_id: self.value_id,
            address: self.address,
            nodes4: self.nodes4,
            nodes6: self.nodes6,
            token: self.token,
            values: self.values,
            fields: self.fields,
        })
    }

    fn into_request(self, name: &[u8]) -> Result<Request<'a>, DecodeError> {
        let hash = self.hash.filter(|hash| !hash.is_zero());
        let token = self.token;
        Ok(match name {
            b"ping" => Request::Ping,
            b"find" => Request::Find { target: self.target.ok_or(DecodeError::Missing("target"))?, want: self.want },
            b"get" => Request::Get { hash, query: self.query, want: self.want },
            b"put" => Request::Put { hash, values: self.values, created: self.created, token },
            b"refresh" => {
                let value_id = self.value_id.ok_or(DecodeError::Missing("value id"))?;
                Request::Refresh { hash, value_id, token }
            }
            b"listen" => {
                let socket = self.socket.ok_or(DecodeError::Missing("socket id"))?;
                Request::Listen { hash, version: self.version.unwrap_or(0), socket, token, query: self.query }
            }
            b"update" => Request::Update(Update {
                version: self.version,
                hash,
                socket: self.socket.ok_or(DecodeError::Missing("socket id"))?,
                values: self.values,
                created: self.created,
                token,
                refreshed: self.refreshed,
                expired: self.expired,
            }),
            _ => return Err(DecodeError::UnknownKind),
        })
    }
}

/// Passes over an entry whose key is not text; its children, if any, come before the value.
fn skip_key_and_value(key: Token<'_>, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let children = match key {
        Token::Array(len) => u64::from(len),
        Token::Map(len) => 2 * u64::from(len),
        _ => 0,
    };
    for _ in 0..=children {
        reader.skip()?;
    }
    Ok(())
}

fn uint32(number: u64) -> Result<u32, DecodeError> {
    u32::try_from(number).map_err(|_| MsgpackError::WrongType { expected: "32-bit integer" }.into())
}

/// A 32-bit number, or 4 bytes from older peers.
fn short_id(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match reader.next()? {
        Token::Uint(number) => uint32(number),
        Token::Bin(bytes) => {
            bytes.try_into().map(u32::from_be_bytes).map_err(|_| DecodeError::BadLength("transaction id"))
        }
        _ => Err(MsgpackError::WrongType { expected: "32-bit integer" }.into()),
    }
}

fn hash(reader: &mut Reader<'_>, what: &'static str) -> Result<InfoHash, DecodeError> {
    InfoHash::from_slice(reader.bin()?).ok_or(DecodeError::BadLength(what))
}

fn address(bytes: &[u8]) -> Result<IpAddr, DecodeError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).map(|v6| Ipv6Addr::from(v6).into()).map_err(|_| DecodeError::BadLength("address"))
}

/// Bytes, which older peers also wrote as text or as an array of numbers.
fn blob<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, [u8]>, DecodeError> {
    match reader.next()? {
        Token::Bin(bytes) | Token::Str(bytes) => Ok(bytes.into()),
        Token::Array(len) => {
            let len = bounded(len, reader.remaining())?;
            (0..len).map(|_| u8::try_from(reader.uint()?).map_err(|_| DecodeError::BadLength("byte"))).collect()
        }
        _ => Err(MsgpackError::WrongType { expected: "bin" }.into()),
    }
}

fn records(blob: Cow<'_, [u8]>, record: usize) -> Result<Cow<'_, [u8]>, DecodeError> {
    if blob.len().is_multiple_of(record) { Ok(blob) } else { Err(DecodeError::BadLength("nodes")) }
}

fn decode_want(reader: &mut Reader<'_>) -> Result<Want, DecodeError> {
    let mut want = Want { v4: false, v6: false };
    for _ in 0..bounded(reader.array()?, 16)? {
        match reader.uint()? {
            2 => want.v4 = true,
            10 => want.v6 = true,
            _ => {}
        }
    }
    Ok(want)
}

fn decode_values<'a>(reader: &mut Reader<'a>) -> Result<Values<'a>, DecodeError> {
    let len = bounded(reader.array()?, MAX_VALUES_PER_MESSAGE)?;
    (0..len)
        .map(|_| {
            let packed = reader.skip()?;
            Ok(match Reader::new(packed).next()? {
                Token::Uint(size) => ValueEntry::Size(size),
                _ => ValueEntry::Inline(packed.into()),
            })
        })
        .collect()
}

fn decode_ids(reader: &mut Reader<'_>) -> Result<Vec<u64>, DecodeError> {
    let len = bounded(reader.array()?, MAX_IDS_PER_UPDATE)?;
    (0..len).map(|_| Ok(reader.uint()?)).collect()
}

fn decode_error<'a>(reader: &mut Reader<'a>) -> Result<(u64, &'a [u8]), DecodeError> {
    let len = reader.array()?;
    if len < 2 {
        return Err(DecodeError::Missing("error text"));
    }
    let error = (reader.uint()?, reader.str()?);
    for _ in 2..len {
        reader.skip()?;
    }
    Ok(error)
}

fn decode_fragments<'a>(reader: &mut Reader<'a>) -> Result<Vec<Fragment<'a>>, DecodeError> {
    let len = bounded(reader.map()?, MAX_VALUES_PER_MESSAGE)?;
    (0..len)
        .map(|_| {
            let index = reader.uint()?;
            let (mut offset, mut data) = (None, None);
            for _ in 0..reader.map()? {
                match reader.next()? {
                    Token::Str(b"o") => offset = Some(reader.uint()?),
                    Token::Str(b"d") => data = Some(reader.bin()?),
                    key => skip_key_and_value(key, reader)?,
                }
            }
            let offset = offset.ok_or(DecodeError::Missing("offset"))?;
            let data = data.ok_or(DecodeError::Missing("fragment data"))?;
            if offset > MAX_REPLY_VALUES as u64 {
                return Err(DecodeError::BadLength("fragment"));
            }
            Ok(Fragment { index, offset, data })
        })
        .collect()
}
