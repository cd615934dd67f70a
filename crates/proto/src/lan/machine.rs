//! The state machine: datagrams and time in; datagrams, deadlines and events out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::addr::{Interface, LanAddr};
use super::answers::{OwnService, OwnServices};
use super::claims::{Change, Claim, Claims, Found};
use super::limits::{ANNOUNCE_INTERVAL, ANNOUNCE_REPEAT, GOODBYE_RATE, MAX_INTERFACES, MAX_TRANSMITS};
use super::rate::{Dropped, Rates, SourceLimits};
use super::searches::{Searches, TooManySearches};
use super::wire::{Announcement, Cookie, Datagram, DatagramError, Goodbye, Search};
use crate::key::KeyHash;
use crate::rate::TokenBucket;
use crate::rolling::Day;

/// What an embedder may set.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// UDP port of the group.
    pub port: u16,
    /// Whether to search by the plain key hash when nobody answers the rolling code. Without it the
    /// double hash is asked for, which released peers from 0.0.12 on answer, and which tells
    /// nothing to who does not know the key hash.
    pub plain_search: bool,
    /// What neighbours may cost in a second.
    pub rates: Rates,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The interface to send it from, by its address.
    pub interface: LanAddr,
    /// Where to.
    pub to: SocketAddr,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What the embedder may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A service that is searched for may be at `addr`.
    Found {
        /// The service.
        key: KeyHash,
        /// Whoever sent the answer, and the port it named.
        addr: SocketAddr,
    },
    /// [`Discovery::found`] changed.
    ListChanged,
}

/// LAN discovery on all interfaces of this computer.
///
/// Drain [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) after every
/// other call.
///
/// - Only computers on a directly connected network are answered or believed.
/// - Announces listed services when an interface comes up, a second later, and every 30 s.
/// - Searches by the rolling code, and 100 ms later by an older name if nobody answered; again and
///   again with growing pauses, then by the older name in any case, because the answer may have
///   been a hostile neighbour's.
/// - Forgets what was not heard for [`SERVICE_LIFETIME`](super::SERVICE_LIFETIME), and at once what
///   is taken back by who said it, from the same address.
#[derive(Debug)]
pub struct Discovery {
    settings: Settings,
    cookie: Cookie,
    today: Day,
    interfaces: Vec<Link>,
    services: OwnServices,
    searches: Searches,
    claims: Claims,
    datagram_limits: SourceLimits,
    answer_limits: SourceLimits,
    goodbye_limit: TokenBucket,
    dropped: Dropped,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

/// An interface and when to announce there.
#[derive(Debug)]
struct Link {
    interface: Interface,
    last_announcement: Option<Instant>,
    next_announcement: Instant,
    is_repeated: bool,
}

impl Discovery {
    /// Starts without interfaces and services. `cookie` tells our own datagrams from others'.
    #[must_use]
    pub fn new(settings: Settings, cookie: Cookie, today: Day) -> Self {
        Self {
            settings,
            cookie,
            today,
            interfaces: Vec::new(),
            services: OwnServices::default(),
            searches: Searches::new(settings.plain_search),
            claims: Claims::default(),
            datagram_limits: SourceLimits::new(settings.rates.datagrams_per_source, settings.rates.datagrams),
            answer_limits: SourceLimits::new(settings.rates.answers_per_source, settings.rates.answers),
            goodbye_limit: TokenBucket::new(GOODBYE_RATE),
            dropped: Dropped::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Says which day it is. Call it before anything that may send or answer; it costs nothing
    /// while the day is the same.
    pub fn set_day(&mut self, today: Day) {
        if self.today != today {
            self.today = today;
            self.services.set_day(today);
            self.searches.set_day(today);
        }
    }

    /// Takes an interface into use, or begins anew on one in use that could not send for a while:
    /// announces there and asks again for everything looked for. Returns whether there is room for
    /// it.
    pub fn interface_up(&mut self, now: Instant, interface: Interface) -> bool {
        self.interfaces.retain(|link| link.interface.addr != interface.addr);
        if self.interfaces.len() >= MAX_INTERFACES {
            return false;
        }
        self.interfaces.push(Link { interface, last_announcement: None, next_announcement: now, is_repeated: false });
        self.forget_unconnected(); // its network may have become smaller
        self.searches.restart(now);
        self.handle_timeout(now);
        true
    }

    /// Stops using an interface, and forgets what was heard on its network.
    pub fn interface_down(&mut self, addr: LanAddr) {
        self.interfaces.retain(|link| link.interface.addr != addr);
        self.forget_unconnected();
    }

    /// Replaces the services of this computer, and announces them if anything has changed. What was
    /// announced and is gone is taken back.
    pub fn set_services(&mut self, now: Instant, services: Vec<OwnService>) {
        let before = self.services.places();
        if !self.services.set(services, self.today) {
            return;
        }
        let after = self.services.places();
        for (key, port) in before.into_iter().filter(|place| !after.contains(place)) {
            self.say_goodbye(now, key, port);
        }
        for link in &mut self.interfaces {
            link.next_announcement = link.last_announcement.map_or(now, |last| now.max(last + ANNOUNCE_REPEAT));
            link.is_repeated = false;
        }
        self.handle_timeout(now);
    }

    /// Starts to search for `key` and returns the addresses known already; others come as
    /// [`Event::Found`].
    ///
    /// # Errors
    /// [`TooManySearches`] if there is no room for another.
    pub fn start_search(&mut self, now: Instant, key: KeyHash) -> Result<Vec<SocketAddr>, TooManySearches> {
        let known: Vec<_> = self.claims.addrs(key).collect();
        self.searches.start(now, self.today, key, !known.is_empty())?;
        self.handle_timeout(now);
        Ok(known)
    }

    /// Stops to search for `key`.
    pub fn stop_search(&mut self, key: KeyHash) {
        self.searches.stop(key);
    }

    /// Starts to ask every service to answer, now and then.
    pub fn start_browsing(&mut self, now: Instant) {
        self.searches.start_browsing(now);
        self.handle_timeout(now);
    }

    /// Stops to ask every service.
    pub fn stop_browsing(&mut self) {
        self.searches.stop_browsing();
    }

    /// Takes a datagram that came from `from`.
    ///
    /// # Errors
    /// [`DatagramError`] if it is none of ours: nothing was done.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: impl Into<SocketAddr>,
        bytes: &[u8],
    ) -> Result<(), DatagramError> {
        let from = from.into();
        let source = LanAddr::from(from);
        let Some(interface) = self.interface_towards(source) else { return Ok(()) };
        if !self.datagram_limits.allow(now, source) {
            self.dropped.datagrams += 1;
            return Ok(());
        }
        match Datagram::parse(bytes)? {
            Datagram::Search(search) if search.cookie != self.cookie => self.answer(now, interface, from, &search),
            Datagram::Service(announcement) if announcement.cookie != self.cookie => {
                self.believe(now, source, announcement);
            }
            Datagram::Goodbye(goodbye) if goodbye.cookie != self.cookie => self.forget(source, &goodbye),
            _own => {}
        }
        Ok(())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.claims.expire(now) {
            self.events.push_back(Event::ListChanged);
        }
        self.announce(now);
        for code in self.searches.due(now) {
            let payload = Datagram::Search(Search { code, cookie: self.cookie.clone(), speaks_v2: true }).to_bytes();
            for index in 0..self.interfaces.len() {
                self.multicast(self.interfaces[index].interface.addr, payload.clone());
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let announces = self.services.listed().next().is_some();
        let announcement = self.interfaces.iter().filter(|_| announces).map(|link| link.next_announcement).min();
        [self.claims.next_expiry(), announcement, self.searches.next_due()].into_iter().flatten().min()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Everything heard and not expired, ordered by key hash.
    #[must_use]
    pub fn found(&self) -> Vec<Found> {
        self.claims.found()
    }

    /// What was dropped at a rate since the last call.
    pub fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }

    /// Forgets what was heard from computers on no network of ours.
    fn forget_unconnected(&mut self) {
        let interfaces = &self.interfaces;
        if self.claims.forget_sources(|source| interfaces.iter().any(|link| link.interface.contains(source))) {
            self.events.push_back(Event::ListChanged);
        }
    }

    /// The interface whose network holds `addr`; of several the one with the smallest network.
    fn interface_towards(&self, addr: LanAddr) -> Option<LanAddr> {
        let connected = self.interfaces.iter().map(|link| link.interface).filter(|interface| interface.contains(addr));
        connected.max_by_key(|interface| interface.prefix_len).map(|interface| interface.addr)
    }

    fn announce(&mut self, now: Instant) {
        let listed: Vec<_> = self.services.listed().map(|service| service.public_announcement(&self.cookie)).collect();
        if listed.is_empty() {
            return;
        }
        let mut due = Vec::new();
        for link in self.interfaces.iter_mut().filter(|link| link.next_announcement <= now) {
            link.next_announcement = now + if link.is_repeated { ANNOUNCE_INTERVAL } else { ANNOUNCE_REPEAT };
            link.last_announcement = Some(now);
            link.is_repeated = true;
            due.push(link.interface.addr);
        }
        for (interface, announcement) in due.iter().flat_map(|interface| listed.iter().map(move |one| (interface, one)))
        {
            self.multicast(*interface, Datagram::Service(announcement.clone()).to_bytes());
        }
    }

    fn answer(&mut self, now: Instant, interface: LanAddr, from: SocketAddr, search: &Search) {
        let cookie = &self.cookie;
        let group = interface.group(self.settings.port);
        let mut answers = Vec::new();
        match &search.code {
            None => {
                for service in self.services.listed() {
                    answers.push((group, service.public_announcement(cookie)));
                    answers.push((from, service.public_announcement(cookie)));
                }
            }
            Some(code) => {
                for (service, is_rolling) in self.services.named(code) {
                    if search.speaks_v2 && is_rolling {
                        answers.push((from, service.hidden_answer(code, cookie)));
                        continue;
                    }
                    if !service.unlisted {
                        answers.push((group, service.public_announcement(cookie)));
                    }
                    answers.push((from, service.private_answer(cookie)));
                }
            }
        }
        for (to, announcement) in answers {
            if self.answer_limits.allow(now, from.into()) {
                self.transmit(Transmit { interface, to, payload: Datagram::Service(announcement).to_bytes() });
            } else {
                self.dropped.answers += 1;
            }
        }
    }

    fn believe(&mut self, now: Instant, source: LanAddr, announcement: Announcement) {
        let Announcement { port, infohash, cookie, title, speaks_v2 } = announcement;
        let searched = self.searches.answered(&infohash.hash);
        let key = searched.unwrap_or(KeyHash::from_bytes(infohash.hash));
        let addr = source.at(port);
        let freetext = infohash.freetext;
        let change = self.claims.hear(now, Claim { key, addr, freetext, title, speaks_v2, cookie });
        if searched.is_some() && change == Change::New {
            self.events.push_back(Event::Found { key, addr });
        }
        if change != Change::None {
            self.events.push_back(Event::ListChanged);
        }
    }

    /// Takes back that `key` is at `port`. A goodbye that gets lost leaves it to time.
    fn say_goodbye(&mut self, now: Instant, key: KeyHash, port: u16) {
        if !self.goodbye_limit.take(now) {
            return;
        }
        let payload = Datagram::Goodbye(Goodbye { port, key, cookie: self.cookie.clone() }).to_bytes();
        for index in 0..self.interfaces.len() {
            self.multicast(self.interfaces[index].interface.addr, payload.clone());
        }
    }

    /// Forgets what `source` said and takes back. Nothing of this is authenticated; but whoever can
    /// send from another's address can do as much with announcements.
    fn forget(&mut self, source: LanAddr, goodbye: &Goodbye) {
        let addr = source.at(goodbye.port);
        if self.claims.take_back(goodbye.key, addr, &goodbye.cookie) {
            self.events.push_back(Event::ListChanged);
        }
    }

    fn multicast(&mut self, interface: LanAddr, payload: Vec<u8>) {
        self.transmit(Transmit { interface, to: interface.group(self.settings.port), payload });
    }

    fn transmit(&mut self, transmit: Transmit) {
        if self.transmits.len() < MAX_TRANSMITS {
            self.transmits.push_back(transmit);
        }
    }
}
