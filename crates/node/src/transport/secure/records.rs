//! The records of a connection, whoever makes them: rustls, or our own layer with the keys that
//! rustls hands over behind the handshake. Nothing outside this file knows which.

use std::io;
use std::ops::Range;

use hardline_record::{Content, HEADER, RecordLayer};
use rustls::AlertDescription;

use super::inbox::Inbox;
use super::outbox::Outbox;
use super::{Layout, invalid};
use crate::transport::buffers::Buffer;
use crate::transport::engine::{Engine, Progress};

/// Who makes the records.
#[derive(Debug)]
pub(super) enum Records {
    Own(Box<RecordLayer>),
    Rustls(Box<Engine>),
}

/// What was opened.
pub(super) enum Opened {
    /// Nothing: the next record is not whole.
    Nothing,
    /// Payload, which the inbox knows of now, or something that is none.
    Record,
    /// The peer's word that nothing more comes.
    End,
}

/// Why records cannot be opened any more, and the record that tells the peer.
pub(super) struct Fatal {
    pub(super) error: io::Error,
    pub(super) alert: Vec<u8>,
}

impl Records {
    /// Takes over from the handshake; by records of our own if they are `wanted` and possible.
    pub(super) fn new(engine: Box<Engine>, wanted: bool) -> io::Result<Self> {
        // Payload that came with the handshake is rustls's already: it stays so.
        if wanted && engine.is_tls13() && engine.plain.is_empty() {
            return Ok(Self::Own(Box::new(engine.into_records().map_err(invalid)?)));
        }
        Ok(Self::Rustls(engine))
    }

    pub(super) fn are_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Changes our key after so many records, where that is ours to do.
    pub(super) fn change_keys_after(&mut self, records: u64) {
        if let Self::Own(layer) = self {
            layer.change_keys_after(records);
        }
    }

    /// Opens the next record in the inbox.
    pub(super) fn open(&mut self, inbox: &mut Inbox) -> Result<Opened, Fatal> {
        match self {
            Self::Own(layer) => open_own(layer, inbox),
            Self::Rustls(engine) => open_with_rustls(engine, inbox),
        }
    }

    /// Payload that was opened and lies there.
    pub(super) fn plain<'a>(&'a self, inbox: &'a Inbox, at: Range<usize>) -> &'a [u8] {
        let buffer = match self {
            Self::Own(_) => inbox.buffer.as_deref(),
            Self::Rustls(engine) => Some(&engine.plain[..]),
        };
        buffer.and_then(|buffer| buffer.get(at)).unwrap_or_default()
    }

    /// Makes room for more payload; all that was opened has been taken.
    pub(super) fn clear(&mut self, inbox: &mut Inbox) {
        if let Self::Rustls(engine) = self {
            engine.plain.clear();
            inbox.plain = 0..0;
        }
    }

    /// The same, and gives the memory back.
    pub(super) fn release(&mut self, inbox: &mut Inbox) {
        if let Self::Rustls(engine) = self {
            engine.plain = Vec::new();
            inbox.plain = 0..0;
        }
    }

    /// Says that our key changes, when it is time.
    pub(super) fn update(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        if let Self::Own(layer) = self
            && let Some(update) = layer.update().map_err(invalid)?
        {
            outbox.append(&update)?;
        }
        Ok(())
    }

    /// Seals `length` bytes that lie in the outbox as `layout` says, where they lie if possible.
    /// `front` makes what stands in front of each record's payload.
    pub(super) fn seal_laid_out<const FRONT: usize>(
        &mut self,
        inbox: &mut Inbox,
        outbox: &mut Outbox,
        layout: Layout,
        length: usize,
        mut front: impl FnMut(usize) -> io::Result<[u8; FRONT]>,
    ) -> io::Result<()> {
        let (mut at, mut left) = (outbox.unsent.end, length);
        let mut target = at;
        // rustls does not seal in place.
        let mut copy = (!self.are_own()).then(|| outbox.buffer.replace(Buffer::take())).flatten();
        while left > 0 {
            let payload = left.min(layout.payload);
            let front = front(payload)?;
            let sealed = match (&mut *self, &mut copy) {
                (Self::Own(layer), _) => {
                    let record = &mut outbox.buffer()[at..];
                    record[HEADER..][..FRONT].copy_from_slice(&front);
                    layer.seal(record, FRONT + payload).map_err(invalid)?
                }
                (Self::Rustls(engine), Some(copy)) => {
                    let plain = &mut copy[at + HEADER..][..FRONT + payload];
                    plain[..FRONT].copy_from_slice(&front);
                    let record = &mut outbox.buffer()[target..];
                    inbox.read_with(engine, |it, incoming| it.encrypt(incoming, plain, record)).map_err(invalid)?
                }
                (Self::Rustls(_), None) => return Err(io::ErrorKind::WriteZero.into()),
            };
            (at, target, left) = (at + layout.record(), target + sealed, left - payload);
        }
        outbox.unsent.end = target;
        Ok(())
    }

    /// Seals `parts` as one record behind what is not sent yet, where there is room.
    pub(super) fn seal(&mut self, inbox: &mut Inbox, outbox: &mut Outbox, parts: &[&[u8]]) -> io::Result<()> {
        self.update(outbox)?;
        let end = outbox.unsent.end;
        let record = &mut outbox.buffer()[end..];
        let sealed = match self {
            Self::Own(layer) => {
                let mut at = HEADER;
                for part in parts {
                    record[at..][..part.len()].copy_from_slice(part);
                    at += part.len();
                }
                layer.seal(record, at - HEADER).map_err(invalid)?
            }
            Self::Rustls(engine) => {
                let plain = parts.concat();
                inbox.read_with(engine, |it, incoming| it.encrypt(incoming, &plain, record)).map_err(invalid)?
            }
        };
        outbox.unsent.end += sealed;
        Ok(())
    }

    /// Seals the word that nothing more comes.
    pub(super) fn seal_end(&mut self, inbox: &mut Inbox, outbox: &mut Outbox) -> io::Result<()> {
        match self {
            Self::Own(layer) => {
                let record = layer.alert(AlertDescription::CloseNotify).map_err(invalid)?;
                outbox.append(&record)
            }
            Self::Rustls(engine) => {
                let end = outbox.unsent.end;
                let record = &mut outbox.buffer()[end..];
                let written = inbox.read_with(engine, |it, incoming| it.close(incoming, record));
                outbox.unsent.end += written.map_err(invalid)?;
                Ok(())
            }
        }
    }
}

fn open_own(layer: &mut RecordLayer, inbox: &mut Inbox) -> Result<Opened, Fatal> {
    inbox.restore();
    let start = inbox.sealed.start;
    let opened = match layer.open(inbox.sealed()) {
        Ok(None) => return Ok(Opened::Nothing),
        Ok(Some(opened)) => opened,
        Err(error) => {
            let alert = error.alert().and_then(|alert| layer.alert(alert).ok());
            return Err(Fatal { error: invalid(error), alert: alert.map_or_else(Vec::new, |record| record.to_vec()) });
        }
    };
    inbox.sealed.start += opened.length;
    match opened.content {
        Content::Payload(at) => inbox.plain = start + at.start..start + at.end,
        Content::Closed => return Ok(Opened::End),
        Content::Control => {}
    }
    Ok(Opened::Record)
}

fn open_with_rustls(engine: &mut Engine, inbox: &mut Inbox) -> Result<Opened, Fatal> {
    let progress = inbox.read_with(engine, |engine, incoming| {
        let progress = engine.advance(incoming);
        if progress.is_err() {
            engine.fail(incoming);
        }
        progress
    });
    match progress {
        Ok(Progress::Blocked) if inbox.plain.is_empty() => Ok(Opened::Nothing),
        Ok(_) if engine.is_closed() => Ok(Opened::End),
        Ok(_) => Ok(Opened::Record),
        Err(error) => Err(Fatal { error: invalid(error), alert: std::mem::take(&mut engine.outgoing) }),
    }
}
