//! What was heard → who may be where.

use std::net::SocketAddr;
use std::time::Instant;

use super::addr::LanAddr;
use super::limits::{
    MAX_ADDRS_PER_SERVICE, MAX_CLAIMS, MAX_PORTS_PER_CLAIMANT, MAX_SERVICES_PER_SOURCE, SERVICE_LIFETIME,
};
use super::wire::{Cookie, Freetext, Title};
use crate::key::KeyHash;

/// A service heard on the LAN, put together from all who claim it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The key hash claimed.
    pub key: KeyHash,
    /// Text that belongs in front of the key hash in the address, where the first claimant told it.
    pub freetext: Option<Freetext>,
    /// Where it was heard from and what it was called there, in the order first heard. At least
    /// one, at most [`MAX_ADDRS_PER_SERVICE`]. Who claims a service later does not rename it: show
    /// the first title.
    pub addrs: Vec<(SocketAddr, Title)>,
    /// Of these addresses, those that say they know version 2 of the tunnel. Unauthenticated, as
    /// all of this is.
    pub v2: Vec<SocketAddr>,
}

/// That somebody said a service is at an address.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) key: KeyHash,
    pub(super) addr: SocketAddr,
    pub(super) freetext: Option<Freetext>,
    pub(super) title: Title,
    pub(super) speaks_v2: bool,
    /// Of whoever said so last, who alone may take it back.
    pub(super) cookie: Cookie,
}

/// How a claim changed what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Another address.
    New,
    /// Another title, text or version of an address known already.
    Renamed,
    /// Nothing but the time.
    None,
}

/// All claims not yet expired, in the order first heard.
///
/// Bounded in total, by source and by service. When there is no room, the claimant with the most
/// claims loses its least recent one, so that a flood by one computer pushes out nothing but
/// itself.
#[derive(Debug, Default)]
pub(super) struct Claims {
    heard: Vec<(Claim, Instant)>,
}

impl Claims {
    pub(super) fn hear(&mut self, now: Instant, claim: Claim) -> Change {
        let known = self.heard.iter_mut().find(|(known, _)| known.key == claim.key && known.addr == claim.addr);
        let Some((known, last_heard)) = known else {
            self.make_room(&claim);
            self.heard.push((claim, now));
            return Change::New;
        };
        *last_heard = now;
        known.cookie = claim.cookie;
        // A later announcement without text, as ours are, does not take back what an answer told.
        let freetext = claim.freetext.or_else(|| known.freetext.clone());
        if known.title == claim.title && known.freetext == freetext && known.speaks_v2 == claim.speaks_v2 {
            return Change::None;
        }
        known.speaks_v2 = claim.speaks_v2;
        known.title = claim.title;
        known.freetext = freetext;
        Change::Renamed
    }

    /// Addresses claimed for `key`, in the order heard.
    pub(super) fn addrs(&self, key: KeyHash) -> impl Iterator<Item = SocketAddr> {
        self.heard.iter().map(|(claim, _)| claim).filter(move |claim| claim.key == key).map(|claim| claim.addr)
    }

    /// What people are shown, ordered by key hash.
    pub(super) fn found(&self) -> Vec<Found> {
        let mut claims: Vec<_> = self.heard.iter().collect();
        claims.sort_by_key(|(claim, _)| claim.key); // stable: within a service still in the order first heard
        claims.chunk_by(|(one, _), (other, _)| one.key == other.key).filter_map(found_from).collect()
    }

    /// Forgets that `key` is at `addr`, if whoever goes by `cookie` said so last. Returns whether
    /// anything was.
    pub(super) fn take_back(&mut self, key: KeyHash, addr: SocketAddr, cookie: &Cookie) -> bool {
        self.retain(|claim, _| claim.key != key || claim.addr != addr || claim.cookie != *cookie)
    }

    /// Forgets what was not heard for its lifetime. Returns whether anything was.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        self.retain(|_, last_heard| last_heard + SERVICE_LIFETIME > now)
    }

    /// Forgets what was heard from computers that can no longer be reached directly. Returns
    /// whether anything was.
    pub(super) fn forget_sources(&mut self, is_connected: impl Fn(LanAddr) -> bool) -> bool {
        self.retain(|claim, _| is_connected(claim.addr.into()))
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.heard.iter().map(|(_, last_heard)| *last_heard + SERVICE_LIFETIME).min()
    }

    fn retain(&mut self, keep: impl Fn(&Claim, Instant) -> bool) -> bool {
        let before = self.heard.len();
        self.heard.retain(|(claim, last_heard)| keep(claim, *last_heard));
        self.heard.len() != before
    }

    fn make_room(&mut self, newcomer: &Claim) {
        let source = LanAddr::from(newcomer.addr);
        let same_key = |claim: &Claim| claim.key == newcomer.key;
        let same_source = |claim: &Claim| LanAddr::from(claim.addr) == source;
        self.limit(MAX_PORTS_PER_CLAIMANT, |claim| same_key(claim) && same_source(claim));
        self.limit(MAX_ADDRS_PER_SERVICE, same_key);
        self.limit(MAX_SERVICES_PER_SOURCE, same_source);
        if self.heard.len() >= MAX_CLAIMS {
            let loudest = self.loudest_source();
            self.limit(1, |claim| Some(LanAddr::from(claim.addr)) == loudest);
        }
    }

    /// Drops the least recent of the claims in `group` if there are `limit` of them.
    fn limit(&mut self, limit: usize, group: impl Fn(&Claim) -> bool) {
        let members = self.heard.iter().enumerate().filter(|(_, (claim, _))| group(claim));
        if members.clone().count() < limit {
            return;
        }
        if let Some((oldest, _)) = members.min_by_key(|(_, (_, last_heard))| *last_heard) {
            self.heard.remove(oldest);
        }
    }

    /// The source with the most claims; of several the one least recently heard.
    fn loudest_source(&self) -> Option<LanAddr> {
        let mut sources: Vec<_> = self.heard.iter().map(|(claim, at)| (LanAddr::from(claim.addr), *at)).collect();
        sources.sort_unstable();
        let groups = sources.chunk_by(|one, other| one.0 == other.0);
        let loudest =
            groups.max_by_key(|group| (group.len(), group.first().map(|(_, oldest)| std::cmp::Reverse(*oldest))));
        loudest.and_then(|group| group.first()).map(|(source, _)| *source)
    }
}

/// Puts together the claims for one service.
fn found_from(claims: &[&(Claim, Instant)]) -> Option<Found> {
    let (first, _) = claims.first()?;
    let addrs = claims.iter().map(|(claim, _)| (claim.addr, claim.title.clone())).collect();
    let v2 = claims.iter().filter(|(claim, _)| claim.speaks_v2).map(|(claim, _)| claim.addr).collect();
    Some(Found { key: first.key, freetext: first.freetext.clone(), addrs, v2 })
}
