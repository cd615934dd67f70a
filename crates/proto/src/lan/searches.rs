//! Services looked for → when to ask for them, and by which name.

use std::collections::BTreeMap;
use std::time::Instant;

use super::limits::{
    BROWSE_INTERVAL, BROWSE_REPEAT, FALLBACK_DELAY, INSIST_ROUND, KNOWN_HEAD_START, MAX_SEARCH_BACKOFF, MAX_SEARCHES,
    SEARCH_BACKOFF, SEARCH_RATE,
};
use super::names::{Code, Names};
use crate::key::KeyHash;
use crate::rate::TokenBucket;
use crate::rolling::Day;

/// [`MAX_SEARCHES`] services are looked for already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_SEARCHES} services are looked for already")]
pub struct TooManySearches;

/// The running searches.
#[derive(Debug)]
pub(super) struct Searches {
    by_key: BTreeMap<KeyHash, Search>,
    browsing: Option<Browsing>,
    plain_search: bool,
    rate: TokenBucket,
}

/// One service looked for.
#[derive(Debug)]
struct Search {
    names: Names,
    is_answered: bool,
    /// Questions asked so far.
    round: u32,
    /// When to ask by the rolling code.
    next_round: Instant,
    /// When to ask by an older name.
    fallback: Option<Instant>,
}

/// Asking every service to answer.
#[derive(Debug)]
struct Browsing {
    next: Instant,
    is_repeated: bool,
}

impl Searches {
    pub(super) const fn new(plain_search: bool) -> Self {
        Self { by_key: BTreeMap::new(), browsing: None, plain_search, rate: TokenBucket::new(SEARCH_RATE) }
    }

    /// Starts to look for `key`, or asks again soon if it is looked for already.
    pub(super) fn start(
        &mut self,
        now: Instant,
        today: Day,
        key: KeyHash,
        is_known: bool,
    ) -> Result<(), TooManySearches> {
        if let Some(search) = self.by_key.get_mut(&key) {
            search.next_round = search.next_round.min(now + SEARCH_BACKOFF);
            return Ok(());
        }
        if self.by_key.len() >= MAX_SEARCHES {
            return Err(TooManySearches);
        }
        let next_round = if is_known { now + KNOWN_HEAD_START } else { now };
        let names = Names::of(&key, today);
        self.by_key.insert(key, Search { names, is_answered: is_known, round: 0, next_round, fallback: None });
        Ok(())
    }

    pub(super) fn stop(&mut self, key: KeyHash) {
        self.by_key.remove(&key);
    }

    /// Asks at once, or soon if that was done already.
    pub(super) fn start_browsing(&mut self, now: Instant) {
        match &mut self.browsing {
            Some(browsing) => browsing.next = browsing.next.min(now + BROWSE_REPEAT),
            None => self.browsing = Some(Browsing { next: now, is_repeated: false }),
        }
    }

    pub(super) fn stop_browsing(&mut self) {
        self.browsing = None;
    }

    /// Asks again soon, from the beginning: a network came up.
    pub(super) fn restart(&mut self, now: Instant) {
        for search in self.by_key.values_mut() {
            search.round = 0;
            search.next_round = now;
        }
        if let Some(browsing) = &mut self.browsing {
            *browsing = Browsing { next: now, is_repeated: false };
        }
    }

    pub(super) fn set_day(&mut self, today: Day) {
        for (key, search) in &mut self.by_key {
            search.names = Names::of(key, today);
        }
    }

    /// The service that is looked for and goes by the name `code`. Notes that it was answered.
    pub(super) fn answered(&mut self, code: &Code) -> Option<KeyHash> {
        let (key, search) = self.by_key.iter_mut().find(|(_, search)| search.names.contains(code))?;
        search.is_answered = true;
        Some(*key)
    }

    /// The questions due now: codes, or `None` for browsing.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Option<Code>> {
        let mut questions = Vec::new();
        for search in self.by_key.values_mut() {
            search.due(now, self.plain_search, &mut self.rate, &mut questions);
        }
        if let Some(browsing) = self.browsing.as_mut().filter(|browsing| browsing.next <= now) {
            browsing.next = now + if browsing.is_repeated { BROWSE_INTERVAL } else { BROWSE_REPEAT };
            browsing.is_repeated = true;
            questions.push(None);
        }
        questions
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let searches = self.by_key.values().flat_map(|search| [Some(search.next_round), search.fallback]);
        searches.flatten().chain(self.browsing.as_ref().map(|browsing| browsing.next)).min()
    }
}

impl Search {
    fn due(&mut self, now: Instant, plain_search: bool, rate: &mut TokenBucket, questions: &mut Vec<Option<Code>>) {
        if self.next_round <= now {
            let pause = SEARCH_BACKOFF.saturating_mul(1 << self.round.min(16)).min(MAX_SEARCH_BACKOFF);
            self.next_round = now + pause;
            self.fallback = Some(now + FALLBACK_DELAY);
            self.round = self.round.saturating_add(1);
            if rate.take(now) {
                questions.push(Some(self.names.today));
            }
        }
        if self.fallback.is_some_and(|at| at <= now) {
            self.fallback = None;
            let is_needed = !self.is_answered || self.round > INSIST_ROUND;
            if is_needed && rate.take(now) {
                // Who answers to the double hash answers to the plain one too, but not the other
                // way round.
                questions.push(Some(if plain_search { self.names.plain } else { self.names.double }));
            }
        }
    }
}
