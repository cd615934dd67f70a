//! ClientHello → visitor, for one service.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hardline_proto::KeyHash;
use hardline_proto::visitors::{Door, Hour, Nonces, Proof, Tag};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::services::Service;
use crate::store::{EnrolledVisitor, KeptInvitation};
use crate::tls::Pass;
use crate::tunnel::Drain;

/// What stands for "until it is revoked".
const FOR_EVER: i64 = i64::MAX;

/// Wrong secrets that may be said to one invitation, by those who know its door. Nobody does who
/// does not know the secret; so these are a program's errors, or somebody who tries.
const MAX_WRONG: u32 = 5;

/// Somebody who may come in to one service.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) service: KeyHash,
    pub(crate) key: KeyHash,
    name: Mutex<String>,
    /// Since when, in Unix milliseconds: a key that is enrolled anew is somebody else.
    since: i64,
    expires: AtomicI64,
    /// Its tunnels end with this; so do they with the service.
    drain: Drain,
    tunnels: AtomicUsize,
    nonces: Mutex<Nonces>,
    /// When it was noted in the store last, in Unix milliseconds.
    pub(super) noted: AtomicI64,
}

/// Somebody who has an invitation, good or not any more.
#[derive(Debug)]
pub(crate) struct Invited {
    pub(super) id: i64,
    pub(super) digest: [u8; KeyHash::LEN],
    wrong: AtomicU32,
    nonces: Mutex<Nonces>,
}

/// Who says hello.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// One whose certificate is known.
    Visitor(Arc<Visitor>),
    /// One who brings a certificate.
    Invited(Arc<Invited>),
}

/// Who has proven its certificate.
#[derive(Debug, Clone)]
pub(crate) enum Guest {
    /// A visitor, who may use the service.
    Visitor(Arc<Visitor>),
    /// One who may redeem an invitation for this key, and nothing else.
    Invited(Arc<Invited>, KeyHash),
}

impl Visitor {
    pub(super) fn new(service: &Service, kept: &EnrolledVisitor, (since, expires): (i64, Option<i64>)) -> Self {
        let drain = service.identity.drain.ending_with(service.removed().child_token());
        Self {
            service: kept.service,
            key: kept.key,
            name: Mutex::new(kept.name.clone()),
            since,
            expires: AtomicI64::new(expires.unwrap_or(FOR_EVER)),
            drain,
            tunnels: AtomicUsize::new(0),
            nonces: Mutex::default(),
            noted: AtomicI64::new(0),
        }
    }

    /// Takes over what may change while it stays.
    pub(super) fn update(&self, kept: &EnrolledVisitor, expires: Option<i64>) {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&kept.name);
        self.expires.store(expires.unwrap_or(FOR_EVER), Ordering::Relaxed);
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Until when, in Unix milliseconds.
    pub(super) fn expires(&self) -> i64 {
        self.expires.load(Ordering::Relaxed)
    }

    /// Whether it is the one who was enrolled at this time, and did not have to go.
    pub(super) fn is_still(&self, since: i64) -> bool {
        self.since == since && !self.gone().is_cancelled()
    }

    /// Whether it may come in, or open another tunnel, now.
    pub(crate) fn is_in(&self) -> bool {
        !self.gone().is_cancelled() && now_ms() < self.expires()
    }

    fn gone(&self) -> &CancellationToken {
        &self.drain.removed
    }

    /// Ends whatever it has open, and returns how many tunnels that were.
    pub(super) fn end(&self) -> usize {
        let tunnels = self.tunnels.load(Ordering::Relaxed);
        self.gone().cancel();
        tunnels
    }
}

impl Invited {
    pub(super) fn new(kept: &KeptInvitation) -> Self {
        Self { id: kept.id, digest: kept.digest, wrong: AtomicU32::new(0), nonces: Mutex::default() }
    }

    /// Whether another secret is listened to.
    pub(super) fn is_heard(&self) -> bool {
        self.wrong.load(Ordering::Relaxed) < MAX_WRONG
    }

    pub(super) fn note_wrong(&self) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
    }
}

impl Caller {
    /// Whose certificate is asked for, where that is known.
    pub(crate) fn key(&self) -> Option<KeyHash> {
        match self {
            Self::Visitor(visitor) => Some(visitor.key),
            Self::Invited(_) => None,
        }
    }

    /// The caller behind the handshake, in which it has `proven` a certificate.
    pub(crate) fn proven(self, proven: Option<KeyHash>) -> Option<Guest> {
        match (self, proven?) {
            (Self::Visitor(visitor), key) => (visitor.key == key && visitor.is_in()).then_some(Guest::Visitor(visitor)),
            (Self::Invited(invited), key) => Some(Guest::Invited(invited, key)),
        }
    }

    fn notes(&self, nonce: [u8; 8]) -> bool {
        let nonces = match self {
            Self::Visitor(visitor) => &visitor.nonces,
            Self::Invited(invited) => &invited.nonces,
        };
        nonces.lock().unwrap_or_else(PoisonError::into_inner).note(nonce)
    }
}

impl Guest {
    /// Returns when it may not stay any more; never for one who is to be enrolled, which ends by
    /// itself.
    pub(crate) async fn gone(guest: Option<&Self>) {
        match guest {
            Some(Self::Visitor(visitor)) => visitor.gone().cancelled().await,
            Some(Self::Invited(..)) | None => std::future::pending().await,
        }
    }

    /// What ends its tunnels, where that is not the service's alone.
    pub(crate) fn drain(&self) -> Option<&Drain> {
        match self {
            Self::Visitor(visitor) => Some(&visitor.drain),
            Self::Invited(..) => None,
        }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Visitor(visitor) => Some(visitor.name()),
            Self::Invited(..) => None,
        }
    }

    /// Counts a tunnel, until that is dropped.
    pub(crate) fn tunnel(&self) -> Option<OpenTunnel> {
        match self {
            Self::Visitor(visitor) => {
                visitor.tunnels.fetch_add(1, Ordering::Relaxed);
                Some(OpenTunnel(Arc::clone(visitor)))
            }
            Self::Invited(..) => None,
        }
    }
}

/// A tunnel of a visitor.
#[derive(Debug)]
pub(crate) struct OpenTunnel(Arc<Visitor>);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Everybody who may say hello to one service.
#[derive(Debug)]
pub(super) struct List {
    /// Those of the store, by their keys.
    pub(super) visitors: HashMap<KeyHash, Arc<Visitor>>,
    pub(super) invited: HashMap<i64, Arc<Invited>>,
    /// What this computer opens its own service with.
    pub(super) own: (Pass, Arc<Visitor>),
    tags: HashMap<Tag, (Hour, Door, Caller)>,
}

impl List {
    /// Makes the tags of the hours around `hour`: half a second for a million, so not while a peer
    /// waits.
    pub(super) fn new(
        service: KeyHash,
        own: (Pass, Arc<Visitor>),
        visitors: Vec<(Door, Arc<Visitor>)>,
        invited: Vec<(Door, Arc<Invited>)>,
        hour: Hour,
    ) -> Self {
        let own_door = [(own.0.door.clone(), Caller::Visitor(Arc::clone(&own.1)))];
        let of_visitors = visitors.iter().map(|(door, it)| (door.clone(), Caller::Visitor(Arc::clone(it))));
        let of_invited = invited.iter().map(|(door, it)| (door.clone(), Caller::Invited(Arc::clone(it))));
        let callers = own_door.into_iter().chain(of_visitors).chain(of_invited);
        let tags = callers.flat_map(|(door, caller)| {
            hour.with_neighbours().map(|hour| (door.tag(&service, hour), (hour, door.clone(), caller.clone())))
        });
        Self {
            tags: tags.collect(),
            visitors: visitors.into_iter().map(|(_, it)| (it.key, it)).collect(),
            invited: invited.into_iter().map(|(_, it)| (it.id, it)).collect(),
            own,
        }
    }

    /// Who shows `proof`, for the first time.
    pub(super) fn find(&self, service: &KeyHash, proof: &Proof) -> Option<Caller> {
        let (hour, door, caller) = self.tags.get(&proof.tag)?;
        let is_proven = door.is_proven(service, *hour, proof);
        let may_come = match caller {
            Caller::Visitor(visitor) => visitor.is_in(),
            Caller::Invited(_) => true,
        };
        (is_proven && may_come && caller.notes(proof.nonce)).then(|| caller.clone())
    }
}

/// Unix time in milliseconds.
pub(super) fn now_ms() -> i64 {
    i64::try_from(clock::unix_time().as_millis()).unwrap_or(i64::MAX)
}
