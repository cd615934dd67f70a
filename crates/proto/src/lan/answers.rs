//! Own services → who is told what.

use super::names::{Code, Names};
use super::wire::{Announcement, Cookie, Freetext, Infohash, Title};
use crate::key::KeyHash;
use crate::rolling::Day;

/// A service of this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnService {
    /// Its name.
    pub key: KeyHash,
    /// Text that belongs in front of the key hash in its address. Told to those who search for the
    /// service by name and to nobody else; released clients need it there to recognise the answer.
    pub freetext: Option<Freetext>,
    /// Its P2P port.
    pub port: u16,
    /// What people may read of it.
    pub title: Title,
    /// Whether it keeps out of announcements and browsing: only those who search for it by name
    /// hear of it, and nobody beside them.
    pub unlisted: bool,
}

/// The services of this computer, with the names they are searched by today.
#[derive(Debug, Default)]
pub(super) struct OwnServices {
    services: Vec<(OwnService, Names)>,
}

impl OwnServices {
    /// Replaces the services. Returns whether they differ from those before.
    pub(super) fn set(&mut self, services: Vec<OwnService>, today: Day) -> bool {
        if services.iter().eq(self.services.iter().map(|(service, _)| service)) {
            return false;
        }
        let named = |service: OwnService| {
            let names = Names::of(&service.key, today);
            (service, names)
        };
        self.services = services.into_iter().map(named).collect();
        true
    }

    pub(super) fn set_day(&mut self, today: Day) {
        for (service, names) in &mut self.services {
            *names = Names::of(&service.key, today);
        }
    }

    /// What anybody may have heard: which service is at which port.
    pub(super) fn places(&self) -> Vec<(KeyHash, u16)> {
        self.listed().map(|service| (service.key, service.port)).collect()
    }

    /// Those that anybody may hear of.
    pub(super) fn listed(&self) -> impl Iterator<Item = &OwnService> {
        self.services.iter().map(|(service, _)| service).filter(|service| !service.unlisted)
    }

    /// Those a search by `code` means, and whether `code` is a rolling one.
    pub(super) fn named(&self, code: &Code) -> impl Iterator<Item = (&OwnService, bool)> {
        let named = self.services.iter().filter(|(_, names)| names.contains(code));
        named.map(|(service, names)| (service, names.is_rolling(code)))
    }
}

impl OwnService {
    /// What everybody on the network may read.
    pub(super) fn public_announcement(&self, cookie: &Cookie) -> Announcement {
        let infohash = Infohash { freetext: None, hash: *self.key.as_bytes() };
        Announcement { port: self.port, infohash, cookie: cookie.clone(), title: self.title.clone(), speaks_v2: true }
    }

    /// What a peer of version 2 is told that asked by the rolling `code`: who listens in does not
    /// learn the key hash.
    pub(super) fn hidden_answer(&self, code: &Code, cookie: &Cookie) -> Announcement {
        let mut announcement = self.public_announcement(cookie);
        announcement.infohash.hash = *code;
        announcement
    }

    /// What somebody who knows the service's name is told.
    pub(super) fn private_answer(&self, cookie: &Cookie) -> Announcement {
        let mut announcement = self.public_announcement(cookie);
        announcement.infohash.freetext.clone_from(&self.freetext);
        announcement
    }
}
