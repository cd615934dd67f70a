//! When which sources are asked: what is at hand first, then what is near, then the rest of the
//! world.
//!
//! Dialling what is known tells nobody what is opened, so an address that was reached lately goes
//! before the neighbours, and they go before the DHT. When all that is there has failed, the next
//! stage opens at once.

use std::time::{Duration, Instant};

/// Head start of an address at hand, as long as nothing has failed: a search on the LAN tells
/// neighbours what is looked for, and a connection that stands by then needs none.
pub const AT_HAND_HEAD_START: Duration = Duration::from_millis(100);

/// Head start of what is near before the DHT is asked, when there is nothing to dial yet.
/// Neighbours answer within a few milliseconds, sleeping ones later, but then the DHT is a race
/// that costs nobody anything.
pub const NEAR_HEAD_START: Duration = Duration::from_millis(100);

/// The same while an address is being dialled: time for the three round trips to the other side of
/// the earth, so that a service whose address is known is opened without a question to strangers.
pub const DIALLED_HEAD_START: Duration = Duration::from_millis(600);

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// This process, addresses given by hand, and where the service was reached just now.
    AtHand,
    /// The store and the LAN as well.
    Near,
    /// The DHT and its proxies as well.
    Far,
}

/// Decides when a lookup goes on to the next [`Stage`].
///
/// A lookup without anything at hand begins with what is near. When everything there was to dial
/// has failed the next stage begins at once. Ask [`stage`](Self::stage) after each call and
/// whenever [`poll_timeout`](Self::poll_timeout) passes.
#[derive(Debug)]
pub struct Stages {
    stage: Stage,
    since: Instant,
    is_dialling: bool,
}

impl Stages {
    /// A lookup that begins now, with or without an address at hand.
    #[must_use]
    pub fn new(now: Instant, has_at_hand: bool) -> Self {
        let stage = if has_at_hand { Stage::AtHand } else { Stage::Near };
        Self { stage, since: now, is_dialling: has_at_hand }
    }

    /// Says that there is an address to dial.
    pub fn found(&mut self) {
        self.is_dialling = true;
    }

    /// Says that every address found so far has failed.
    pub fn all_failed(&mut self, now: Instant) {
        self.is_dialling = false;
        self.begin_next(now);
    }

    /// When the next stage begins if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let head_start = match self.stage {
            Stage::AtHand => AT_HAND_HEAD_START,
            Stage::Near if self.is_dialling => DIALLED_HEAD_START,
            Stage::Near => NEAR_HEAD_START,
            Stage::Far => return None,
        };
        Some(self.since + head_start)
    }

    /// What may be asked now.
    pub fn stage(&mut self, now: Instant) -> Stage {
        while let Some(at) = self.poll_timeout().filter(|at| *at <= now) {
            self.begin_next(at);
        }
        self.stage
    }

    fn begin_next(&mut self, now: Instant) {
        self.since = now;
        self.stage = match self.stage {
            Stage::AtHand => Stage::Near,
            Stage::Near | Stage::Far => Stage::Far,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_world_is_asked_soon_when_nothing_is_known() {
        let now = Instant::now();
        let mut stages = Stages::new(now, false);
        assert_eq!(stages.stage(now), Stage::Near);
        assert_eq!(stages.poll_timeout(), Some(now + NEAR_HEAD_START));
        assert_eq!(stages.stage(now + NEAR_HEAD_START - MS), Stage::Near);
        assert_eq!(stages.stage(now + NEAR_HEAD_START), Stage::Far);
        assert_eq!(stages.poll_timeout(), None);
    }

    #[test]
    fn an_address_at_hand_is_dialled_before_neighbours_hear_of_it_and_strangers_wait_longer() {
        let now = Instant::now();
        let mut stages = Stages::new(now, true);
        assert_eq!(stages.stage(now + AT_HAND_HEAD_START - MS), Stage::AtHand);
        assert_eq!(stages.stage(now + AT_HAND_HEAD_START), Stage::Near);
        let far = now + AT_HAND_HEAD_START + DIALLED_HEAD_START;
        assert_eq!(stages.stage(far - MS), Stage::Near);
        assert_eq!(stages.stage(far), Stage::Far);
    }

    #[test]
    fn what_is_found_nearby_gets_time_to_answer() {
        let now = Instant::now();
        let mut stages = Stages::new(now, false);
        stages.found();
        assert_eq!(stages.stage(now + NEAR_HEAD_START), Stage::Near);
        assert_eq!(stages.stage(now + DIALLED_HEAD_START), Stage::Far);
    }

    #[test]
    fn a_failure_of_all_there_was_opens_the_next_stage_at_once() {
        let now = Instant::now();
        let mut stages = Stages::new(now, true);
        stages.all_failed(now + MS);
        assert_eq!(stages.stage(now + MS), Stage::Near);
        assert_eq!(stages.poll_timeout(), Some(now + MS + NEAR_HEAD_START));
        stages.found();
        stages.all_failed(now + 2 * MS);
        assert_eq!(stages.stage(now + 2 * MS), Stage::Far);
        stages.all_failed(now + 3 * MS);
        assert_eq!(stages.stage(now + 3 * MS), Stage::Far);
    }

    #[test]
    fn a_caller_that_slept_finds_every_stage_that_is_due() {
        let now = Instant::now();
        assert_eq!(Stages::new(now, true).stage(now + Duration::from_secs(60)), Stage::Far);
    }
}
