//! When which tier of sources is asked: this computer first, then the LAN, then the rest of the
//! world.
//!
//! Dialling what is known tells nobody what is opened, so an address that was reached lately goes
//! before the neighbours, and they go before the DHT. When all that is there has failed, the next
//! tier begins at once.

use std::time::{Duration, Instant};

use crate::candidate::Tier;

/// Head start of an address that this computer knows, as long as nothing has failed: a search on
/// the LAN tells neighbours what is looked for, and a connection that stands by then needs none.
pub const LOCAL_HEAD_START: Duration = Duration::from_millis(100);

/// Head start of the LAN before the DHT is asked, when there is nothing to dial yet. Neighbours
/// answer within a few milliseconds, sleeping ones later, but then the DHT is a race that costs
/// nobody anything.
pub const LAN_HEAD_START: Duration = Duration::from_millis(100);

/// The same while an address is being dialled: time for the three round trips to the other side of
/// the earth, so that a service whose address is known is opened without a question to strangers.
pub const DIALLED_HEAD_START: Duration = Duration::from_millis(600);

/// Decides when a lookup goes on to the next [`Tier`].
///
/// A tier that has no more to say while nothing is being dialled gives way at once, and so does
/// every tier when all there was to dial has failed. Ask [`tier`](Self::tier) after each call and
/// whenever [`poll_timeout`](Self::poll_timeout) passes.
#[derive(Debug)]
pub struct Stages {
    tier: Tier,
    since: Instant,
    is_dialling: bool,
    /// Sources of each tier that have not ended.
    asked: [usize; 3],
}

impl Stages {
    /// A lookup that begins now with sources of these tiers.
    #[must_use]
    pub fn new(now: Instant, sources: impl IntoIterator<Item = Tier>) -> Self {
        let mut asked = [0; 3];
        sources.into_iter().for_each(|tier| asked[tier as usize] += 1);
        let mut stages = Self { tier: Tier::Local, since: now, is_dialling: false, asked };
        stages.skip_ended(now);
        stages
    }

    /// Says that there is an address to dial.
    pub fn found(&mut self) {
        self.is_dialling = true;
    }

    /// Says that a source of `tier` has said all it has to say for now.
    pub fn ended(&mut self, now: Instant, tier: Tier) {
        let asked = &mut self.asked[tier as usize];
        *asked = asked.saturating_sub(1);
        self.skip_ended(now);
    }

    /// Says that every address found so far has failed.
    pub fn all_failed(&mut self, now: Instant) {
        self.is_dialling = false;
        self.begin_next(now);
        self.skip_ended(now);
    }

    /// When the next tier begins if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let head_start = match self.tier {
            Tier::Local => LOCAL_HEAD_START,
            Tier::Lan if self.is_dialling => DIALLED_HEAD_START,
            Tier::Lan => LAN_HEAD_START,
            Tier::Wan => return None,
        };
        Some(self.since + head_start)
    }

    /// The last tier that may be asked now.
    pub fn tier(&mut self, now: Instant) -> Tier {
        while let Some(at) = self.poll_timeout().filter(|at| *at <= now) {
            self.begin_next(at);
        }
        self.tier
    }

    /// Goes on from tiers that have no more to say.
    fn skip_ended(&mut self, now: Instant) {
        while !self.is_dialling && self.tier != Tier::Wan && self.asked[self.tier as usize] == 0 {
            self.begin_next(now);
        }
    }

    fn begin_next(&mut self, now: Instant) {
        self.since = now;
        self.tier = match self.tier {
            Tier::Local => Tier::Lan,
            Tier::Lan | Tier::Wan => Tier::Wan,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const ALL: [Tier; 4] = [Tier::Local, Tier::Lan, Tier::Lan, Tier::Wan];

    /// A lookup of which this computer knows nothing.
    fn nothing_local(now: Instant) -> Stages {
        let mut stages = Stages::new(now, ALL);
        stages.ended(now, Tier::Local);
        stages
    }

    /// A lookup of which this computer knows an address.
    fn one_local(now: Instant) -> Stages {
        let mut stages = Stages::new(now, ALL);
        stages.found();
        stages.ended(now, Tier::Local);
        stages
    }

    #[test]
    fn the_world_is_asked_soon_when_nothing_is_known() {
        let now = Instant::now();
        let mut stages = nothing_local(now);
        assert_eq!(stages.tier(now), Tier::Lan);
        assert_eq!(stages.poll_timeout(), Some(now + LAN_HEAD_START));
        assert_eq!(stages.tier(now + LAN_HEAD_START - MS), Tier::Lan);
        assert_eq!(stages.tier(now + LAN_HEAD_START), Tier::Wan);
        assert_eq!(stages.poll_timeout(), None);
    }

    #[test]
    fn a_known_address_is_dialled_before_neighbours_hear_of_it_and_strangers_wait_longer() {
        let now = Instant::now();
        let mut stages = one_local(now);
        assert_eq!(stages.tier(now + LOCAL_HEAD_START - MS), Tier::Local);
        assert_eq!(stages.tier(now + LOCAL_HEAD_START), Tier::Lan);
        let wan = now + LOCAL_HEAD_START + DIALLED_HEAD_START;
        assert_eq!(stages.tier(wan - MS), Tier::Lan);
        assert_eq!(stages.tier(wan), Tier::Wan);
    }

    #[test]
    fn what_is_found_on_the_lan_gets_time_to_answer() {
        let now = Instant::now();
        let mut stages = nothing_local(now);
        stages.found();
        assert_eq!(stages.tier(now + LAN_HEAD_START), Tier::Lan);
        assert_eq!(stages.tier(now + DIALLED_HEAD_START), Tier::Wan);
    }

    #[test]
    fn a_tier_without_sources_or_whose_sources_have_all_ended_gives_way_at_once() {
        let now = Instant::now();
        assert_eq!(Stages::new(now, [Tier::Wan]).tier(now), Tier::Wan);
        let mut stages = nothing_local(now);
        stages.ended(now, Tier::Lan);
        assert_eq!(stages.tier(now), Tier::Lan, "another one is being asked");
        stages.ended(now, Tier::Lan);
        assert_eq!(stages.tier(now), Tier::Wan);
    }

    #[test]
    fn a_failure_of_all_there_was_begins_the_next_tier_at_once() {
        let now = Instant::now();
        let mut stages = one_local(now);
        stages.all_failed(now + MS);
        assert_eq!(stages.tier(now + MS), Tier::Lan);
        assert_eq!(stages.poll_timeout(), Some(now + MS + LAN_HEAD_START));
        stages.found();
        stages.all_failed(now + 2 * MS);
        assert_eq!(stages.tier(now + 2 * MS), Tier::Wan);
        stages.all_failed(now + 3 * MS);
        assert_eq!(stages.tier(now + 3 * MS), Tier::Wan);
    }

    #[test]
    fn a_caller_that_slept_finds_every_tier_that_is_due() {
        let now = Instant::now();
        assert_eq!(one_local(now).tier(now + Duration::from_secs(60)), Tier::Wan);
    }
}
