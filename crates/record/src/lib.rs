//! TLS 1.3 records, sealed and opened where they lie (RFC 8446, section 5).
//!
//! rustls makes the handshake, the keys and the tickets, and hands over here (see
//! `rustls::kernel`). What is ours then: the order of records, padding, alerts, key updates, and
//! how many records one key may seal. It knows no socket: bytes in, bytes out.
//!
//! Kept although rustls 0.24 will lend plaintext from the caller's buffer: its split connections
//! take 3 to 4 % more CPU and half a KiB more for each idle end (docs/performance.md). It keeps the
//! interface that this crate stands on. Runner-up: rustls's unbuffered interface alone.
//!
//! rustls's own records cost two more copies of every byte and a system call for each record.
//! Everything here is a fuzz target, and is held against OpenSSL by the tests of `hardline-node`.

mod keys; // one direction's key and sequence number
mod secrets; // rustls's part: the next keys, and tickets

use std::ops::Range;

use rustls::{AlertDescription, ContentType};

use self::keys::Keys;
pub use self::secrets::Secrets;

/// Bytes in front of a record's content.
pub const HEADER: usize = 5;

/// Bytes behind it: its type and the AEAD's tag.
pub const TRAILER: usize = 1 + TAG;

/// Most bytes of content in one record.
pub const MAX_PLAINTEXT: usize = 1 << 14;

/// Bytes of a record that tells of new keys: a `KeyUpdate` is five bytes long.
pub const UPDATE: usize = HEADER + 5 + TRAILER;

/// Bytes of a record that carries an alert.
pub const ALERT: usize = HEADER + 2 + TRAILER;

const TAG: usize = 16;

/// Most bytes behind a header (section 5.2): others may pad.
const MAX_CIPHERTEXT: usize = MAX_PLAINTEXT + 256;

/// Longest handshake message taken, in bytes. After the handshake there are only tickets, of a few
/// hundred bytes, and key updates.
const MAX_MESSAGE: usize = 16 * 1024;

/// Bytes of a handshake message's header.
const MESSAGE_HEADER: usize = 4;

/// Records and messages in a row without payload: tickets, key updates, and empty records, which
/// cost work and bring nothing. rustls takes as many.
const MAX_WITHOUT_PAYLOAD: u32 = 32;

/// Records sealed between two questions for a key update, at most.
const BATCH: u64 = 64;

/// Both directions of a connection behind its handshake.
#[derive(Debug)]
pub struct RecordLayer {
    send: Keys,
    receive: Keys,
    secrets: Secrets,
    /// Records that one key may seal.
    limit: u64,
    /// The beginning of a handshake message whose rest has not come.
    message: Vec<u8>,
    without_payload: u32,
    /// Whether the peer has asked for new keys on our side too.
    owes_update: bool,
}

/// A record that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its bytes in all.
    pub length: usize,
    /// What it carried.
    pub content: Content,
}

/// What a record carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Payload, at this place among the bytes that were given.
    Payload(Range<usize>),
    /// Something between the two TLS ends only.
    Control,
    /// `close_notify`: nothing more comes.
    Closed,
}

/// Why the connection cannot go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It was not sealed by the peer, or was changed or left out on its way.
    #[error("a record is not the peer's")]
    NotAuthentic,
    /// It is longer than records may be.
    #[error("a record is too long")]
    TooLong,
    /// It has no place in this state of the connection.
    #[error("a record is out of place")]
    Unexpected,
    /// It cannot be read.
    #[error("a record has no meaning")]
    Malformed,
    /// Too much of what is not payload.
    #[error("more than {MAX_WITHOUT_PAYLOAD} records without payload")]
    TooManyEmptyRecords,
    /// The peer broke off.
    #[error("the peer broke off: {0:?}")]
    Alert(AlertDescription),
    /// rustls cannot make or take what it must.
    #[error(transparent)]
    Secrets(#[from] rustls::Error),
}

impl RecordError {
    /// What the peer is told (section 6.2), unless it told us.
    #[must_use]
    pub fn alert(&self) -> Option<AlertDescription> {
        Some(match self {
            Self::NotAuthentic => AlertDescription::BadRecordMac,
            Self::TooLong => AlertDescription::RecordOverflow,
            Self::Unexpected | Self::TooManyEmptyRecords => AlertDescription::UnexpectedMessage,
            Self::Malformed => AlertDescription::DecodeError,
            Self::Alert(_) => return None,
            Self::Secrets(_) => AlertDescription::InternalError,
        })
    }
}

impl RecordLayer {
    /// Takes over from rustls, with the secrets it hands out.
    ///
    /// # Errors
    /// [`RecordError::Secrets`] for a cipher that is none of TLS 1.3's.
    pub fn new(extracted: rustls::ExtractedSecrets, secrets: Secrets) -> Result<Self, RecordError> {
        let limit = secrets.record_limit();
        Ok(Self {
            send: Keys::new(extracted.tx)?,
            receive: Keys::new(extracted.rx)?,
            secrets,
            limit,
            message: Vec::new(),
            without_payload: 0,
            owes_update: false,
        })
    }

    /// Changes our key after fewer records than the cipher would allow.
    pub fn change_keys_after(&mut self, records: u64) {
        self.limit = self.limit.min(records);
    }

    /// Opens the record at the front of `bytes`, in place; `None` when it has not come as a whole.
    ///
    /// # Errors
    /// [`RecordError`], after which the connection must end.
    pub fn open(&mut self, bytes: &mut [u8]) -> Result<Option<Opened>, RecordError> {
        let Some(&header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let [kind, _, _, high, low] = header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if ContentType::from(kind) != ContentType::ApplicationData {
            return Err(RecordError::Unexpected);
        }
        if length > MAX_CIPHERTEXT {
            return Err(RecordError::TooLong);
        }
        let Some(sealed) = bytes.get_mut(HEADER..HEADER + length) else { return Ok(None) };
        let plain = self.receive.open(header, sealed)?;
        if plain.len() > MAX_PLAINTEXT + 1 {
            return Err(RecordError::TooLong);
        }
        // Behind the type may be padding: zeros.
        let end = plain.iter().rposition(|byte| *byte != 0).ok_or(RecordError::Unexpected)?;
        let (inner, content_type) = (&plain[..end], ContentType::from(plain[end]));
        let content = match content_type {
            ContentType::ApplicationData if self.message.is_empty() => {
                if end == 0 {
                    self.count_empty()?;
                } else {
                    self.without_payload = 0;
                }
                Content::Payload(HEADER..HEADER + end)
            }
            ContentType::Handshake if !inner.is_empty() && self.message.len() + inner.len() <= MAX_MESSAGE => {
                self.message.extend_from_slice(inner);
                self.read_messages()?;
                Content::Control
            }
            ContentType::Alert => self.read_alert(inner)?,
            _ => return Err(RecordError::Unexpected),
        };
        Ok(Some(Opened { length: HEADER + length, content }))
    }

    /// Seals `length` bytes of payload, which stand in `record` behind room for its header, and
    /// returns how many bytes the record has. [`update`](Self::update) must have been asked within
    /// the last 64 records.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] when `record` has no room for [`HEADER`] + `length` + [`TRAILER`],
    /// or a record has not.
    pub fn seal(&mut self, record: &mut [u8], length: usize) -> Result<usize, RecordError> {
        self.seal_as(ContentType::ApplicationData, record, length)
    }

    /// The same for content of any type: what a peer may send, sensible or not.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_as(
        &mut self,
        content_type: ContentType,
        record: &mut [u8],
        length: usize,
    ) -> Result<usize, RecordError> {
        let whole = HEADER + length + TRAILER;
        let record = record.get_mut(..whole).filter(|_| length <= MAX_PLAINTEXT).ok_or(RecordError::TooLong)?;
        let [high, low] = u16::try_from(whole - HEADER).map_err(|_| RecordError::TooLong)?.to_be_bytes();
        let header = [ContentType::ApplicationData.into(), 3, 3, high, low];
        let (front, rest) = record.split_at_mut(HEADER);
        front.copy_from_slice(&header);
        let (inner, tag) = rest.split_at_mut(length + 1);
        inner[length] = content_type.into();
        tag.copy_from_slice(&self.send.seal(header, inner)?);
        Ok(whole)
    }

    /// The record that must go out before the next that is sealed, when it is time for new keys.
    ///
    /// # Errors
    /// [`RecordError::Secrets`] when rustls makes none.
    pub fn update(&mut self) -> Result<Option<[u8; UPDATE]>, RecordError> {
        if !self.owes_update && self.send.sequence().saturating_add(BATCH) < self.limit {
            return Ok(None);
        }
        let mut record = [0; UPDATE];
        // A `KeyUpdate` (section 4.6.3) that asks for none in return.
        record[HEADER..][..5].copy_from_slice(&[message::KEY_UPDATE, 0, 0, 1, 0]);
        self.seal_as(ContentType::Handshake, &mut record, 5)?;
        self.send = Keys::new(self.secrets.next_to_send()?)?;
        self.owes_update = false;
        Ok(Some(record))
    }

    /// The record that says that nothing more comes from us, and why.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn alert(&mut self, alert: AlertDescription) -> Result<[u8; ALERT], RecordError> {
        let level = if alert == AlertDescription::CloseNotify { 1 } else { 2 };
        let mut record = [0; ALERT];
        record[HEADER..][..2].copy_from_slice(&[level, alert.into()]);
        self.seal_as(ContentType::Alert, &mut record, 2)?;
        Ok(record)
    }

    /// Acts on every message that is there as a whole (section 4.6).
    fn read_messages(&mut self) -> Result<(), RecordError> {
        while let Some(&[kind, a, b, c]) = self.message.first_chunk::<MESSAGE_HEADER>() {
            let end = MESSAGE_HEADER + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
            if end > MAX_MESSAGE {
                return Err(RecordError::Malformed);
            }
            let Some(body) = self.message.get(MESSAGE_HEADER..end) else { break };
            match (kind, body) {
                (message::NEW_SESSION_TICKET, ticket) => self.secrets.keep(ticket)?,
                // Nothing may follow it under the old key.
                (message::KEY_UPDATE, &[asks @ 0..=1]) if self.message.len() == end => {
                    self.owes_update |= asks == 1;
                    self.receive = Keys::new(self.secrets.next_to_receive()?)?;
                }
                _ => return Err(RecordError::Unexpected),
            }
            self.message.drain(..end);
            self.count_empty()?;
        }
        if self.message.is_empty() {
            self.message = Vec::new();
        }
        Ok(())
    }

    fn read_alert(&mut self, inner: &[u8]) -> Result<Content, RecordError> {
        let &[_, description] = inner else { return Err(RecordError::Malformed) };
        match AlertDescription::from(description) {
            AlertDescription::CloseNotify => Ok(Content::Closed),
            AlertDescription::UserCanceled => self.count_empty().map(|()| Content::Control),
            other => Err(RecordError::Alert(other)),
        }
    }

    fn count_empty(&mut self) -> Result<(), RecordError> {
        self.without_payload += 1;
        if self.without_payload > MAX_WITHOUT_PAYLOAD { Err(RecordError::TooManyEmptyRecords) } else { Ok(()) }
    }
}

/// Handshake messages that may come after the handshake (section 4).
mod message {
    pub(super) const NEW_SESSION_TICKET: u8 = 4;
    pub(super) const KEY_UPDATE: u8 = 24;
}
