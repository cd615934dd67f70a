//! When to ask the router for what.

use std::time::{Duration, Instant};

/// Time between two looks whether the mapping still stands, where a look is one small datagram to
/// the router (NAT-PMP, PCP). A restart is noticed within it, and must be mended within fifteen
/// seconds.
pub const CHECK_DATAGRAM: Duration = Duration::from_secs(5);

/// The same where a look is two HTTP requests to the router (UPnP), of about a kilobyte each.
pub const CHECK_SOAP: Duration = Duration::from_secs(10);

/// Pause between two searches while nobody answers. A router that was switched off is found soon
/// after it is back.
const SEARCH_AGAIN: Duration = Duration::from_secs(8);

/// The same for the time in which a router that had opened the port restarts.
const SEARCH_AGAIN_SOON: Duration = Duration::from_secs(2);

/// How long a router may take to restart.
const RESTART: Duration = Duration::from_secs(5 * 60);

/// Least time between two steps that are taken because the router announced itself. It says so ten
/// times, with growing pauses; and whoever is in the network could send as many in its name.
const AFTER_ANNOUNCEMENT: Duration = Duration::from_secs(1);

/// First and longest pause after a router has said no, or has no address outside. Each is twice the
/// one before.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(8 * 60);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To look for a router and to ask it for the port.
    Search,
    /// To look whether the mapping still stands.
    Check,
    /// To ask for the same mapping again, before it lapses.
    Renew,
}

/// What came of a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The port is open, or open again.
    Open {
        /// How long the router keeps it open; zero is for ever.
        lifetime: Duration,
        /// How often to look: [`CHECK_DATAGRAM`] or [`CHECK_SOAP`].
        check: Duration,
    },
    /// A look found all as it was.
    Unchanged,
    /// The router has forgotten the mapping, has another address, or does not answer any more.
    Lost,
    /// No router answers.
    Silent,
    /// A router answers, but does not open the port.
    Refused,
}

/// Decides what to do and when. Pure: instants in, steps out.
#[derive(Debug)]
pub struct Plan {
    /// When to search, while no port is open.
    search: Option<Instant>,
    /// While one is open: when to look, when to renew, and the time between two looks.
    open: Option<Open>,
    /// Until when a router that had opened the port may be restarting.
    restarting: Option<Instant>,
    /// The next pause after a refusal.
    pause: Duration,
    /// When an announcement of the router is to be acted on.
    announced: Option<Instant>,
    /// When one was acted on last.
    acted: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    check: Instant,
    interval: Duration,
    renew: Option<Instant>,
}

impl Plan {
    /// Begins with a search at once.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { search: Some(now), open: None, restarting: None, pause: FIRST_PAUSE, announced: None, acted: None }
    }

    /// The network is another one, or this computer's address in it is: what was open is of no use
    /// any more.
    pub fn network_changed(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// The router says that it has begun anew or has another address: the next look or search is
    /// due now, or [`AFTER_ANNOUNCEMENT`] after the last one for the same reason.
    pub fn announced(&mut self, now: Instant) {
        let due = self.acted.map_or(now, |acted| now.max(acted + AFTER_ANNOUNCEMENT));
        self.announced.get_or_insert(due);
    }

    /// When [`Self::step`] will have something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let open = self.open.iter().flat_map(|open| [Some(open.check), open.renew]).flatten();
        open.chain(self.search).chain(self.announced).min()
    }

    /// What is due; [`Self::handle`] wants to hear the outcome before the next one.
    #[must_use]
    pub fn step(&self, now: Instant) -> Option<Step> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match &self.open {
            None => (is_due(self.search) || is_due(self.announced)).then_some(Step::Search),
            Some(open) if is_due(open.renew) => Some(Step::Renew),
            Some(open) => (is_due(Some(open.check)) || is_due(self.announced)).then_some(Step::Check),
        }
    }

    /// Takes in what came of the last step.
    pub fn handle(&mut self, now: Instant, outcome: Outcome) {
        if self.announced.take_if(|due| *due <= now).is_some() {
            self.acted = Some(now);
        }
        match outcome {
            Outcome::Open { lifetime, check } => {
                let renew = (!lifetime.is_zero()).then(|| now + lifetime / 2);
                let open = Some(Open { check: now + check, interval: check, renew });
                let (announced, acted) = (self.announced, self.acted);
                *self = Self { search: None, open, announced, acted, ..Self::new(now) };
            }
            Outcome::Unchanged => {
                if let Some(open) = &mut self.open {
                    open.check = now + open.interval;
                }
            }
            Outcome::Lost => {
                self.open = None;
                self.search = Some(now);
                self.restarting = Some(now + RESTART);
            }
            Outcome::Silent => {
                let soon = self.restarting.is_some_and(|until| now < until);
                self.search = Some(now + if soon { SEARCH_AGAIN_SOON } else { SEARCH_AGAIN });
            }
            Outcome::Refused => {
                self.search = Some(now + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    const OPEN: Outcome = Outcome::Open { lifetime: Duration::from_secs(1200), check: CHECK_DATAGRAM };

    /// A plan, and simulated time.
    struct World {
        plan: Plan,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let now = Instant::now();
            Self { plan: Plan::new(now), now }
        }

        /// Waits for the next step; tells it and how long that took.
        fn next(&mut self) -> (Step, Duration) {
            let at = self.plan.poll_timeout().expect("something to do").max(self.now);
            let waited = at - self.now;
            self.now = at;
            (self.plan.step(at).expect("a step that is due"), waited)
        }

        fn comes_to(&mut self, outcome: Outcome) {
            self.plan.handle(self.now, outcome);
        }
    }

    #[test]
    fn it_searches_at_once_and_then_looks_and_renews_before_half_the_lifetime_is_over() {
        let mut world = World::new();
        assert_eq!(world.next(), (Step::Search, Duration::ZERO));
        world.comes_to(OPEN);
        let opened = world.now;
        loop {
            let (step, waited) = world.next();
            assert!(waited <= CHECK_DATAGRAM);
            if step == Step::Renew {
                break;
            }
            world.comes_to(Outcome::Unchanged);
        }
        assert_eq!(world.now - opened, 10 * MINUTE);
        world.comes_to(OPEN);
        assert_eq!(world.next(), (Step::Check, CHECK_DATAGRAM));
    }

    #[test]
    fn a_mapping_for_ever_is_looked_at_and_not_renewed() {
        let mut world = World::new();
        world.comes_to(Outcome::Open { lifetime: Duration::ZERO, check: CHECK_SOAP });
        for _ in 0..1000 {
            assert_eq!(world.next(), (Step::Check, CHECK_SOAP));
            world.comes_to(Outcome::Unchanged);
        }
    }

    #[test]
    fn what_is_lost_is_searched_for_at_once_and_often_while_the_router_restarts() {
        let mut world = World::new();
        world.comes_to(OPEN);
        world.next();
        world.comes_to(Outcome::Lost);
        let lost = world.now;
        assert_eq!(world.next(), (Step::Search, Duration::ZERO));
        while world.now < lost + RESTART {
            world.comes_to(Outcome::Silent);
            assert_eq!(world.next(), (Step::Search, SEARCH_AGAIN_SOON));
        }
        world.comes_to(Outcome::Silent);
        assert_eq!(world.next(), (Step::Search, SEARCH_AGAIN));
    }

    #[test]
    fn a_router_that_says_no_is_asked_less_and_less() {
        let mut world = World::new();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            world.next();
            world.comes_to(Outcome::Refused);
            pauses.push(world.next().1.as_secs());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 480, 480]);
        world.plan.network_changed(world.now);
        assert_eq!(world.next(), (Step::Search, Duration::ZERO));
        world.comes_to(Outcome::Refused);
        assert_eq!(world.next().1, FIRST_PAUSE);
    }

    #[test]
    fn an_announcement_is_acted_on_at_once_and_a_flood_of_them_once_a_second() {
        let mut world = World::new();
        world.comes_to(OPEN);
        world.now += Duration::from_millis(10);
        world.plan.announced(world.now);
        assert_eq!(world.next(), (Step::Check, Duration::ZERO));
        world.comes_to(Outcome::Lost);
        assert_eq!(world.next(), (Step::Search, Duration::ZERO));
        world.comes_to(OPEN);
        let (began, mut steps) = (world.now, 0);
        while world.now < began + 10 * AFTER_ANNOUNCEMENT {
            world.plan.announced(world.now);
            if world.plan.step(world.now).is_some() {
                steps += 1;
                world.comes_to(Outcome::Unchanged);
            }
            world.now += Duration::from_millis(1);
        }
        assert!((9..=11).contains(&steps), "{steps}");
    }

    #[test]
    fn an_announcement_ends_the_pause_after_a_refusal() {
        let mut world = World::new();
        for _ in 0..5 {
            world.next();
            world.comes_to(Outcome::Refused);
        }
        world.plan.announced(world.now);
        assert_eq!(world.next(), (Step::Search, Duration::ZERO));
    }

    #[test]
    fn another_network_ends_what_was_open() {
        let mut world = World::new();
        world.comes_to(OPEN);
        world.plan.network_changed(world.now);
        assert_eq!(world.next(), (Step::Search, Duration::ZERO));
    }
}
