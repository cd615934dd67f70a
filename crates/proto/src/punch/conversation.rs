//! What a dialler says in the calls of one search, and what it concludes from what comes of them.
//!
//! A dialler does not know what its own router does: nobody in the DHT names a node that only asks,
//! and released nodes name one that takes part only after they have asked it something, minutes
//! later. So if a service that may be there is not heard for a while, the dialler takes its own NAT
//! for a symmetric one and calls again. The service's answer to that shows that it is there, that
//! it hears calls, and what its own router does; what is left is a NAT in between.

use std::time::{Duration, Instant};

use super::{Mapping, Plan, Role, plan};
use crate::call::{Answer, Cookie};

/// Time after the first call at which the own NAT is taken for a symmetric one: where none is
/// symmetric, most are through.
pub const PRESUME_AFTER: Duration = Duration::from_secs(1);

/// Time after the call for many datagrams by which these have been sent and have met, if they do.
const MANY_LIMIT: Duration = Duration::from_secs(5);

/// What one call is to say, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// What the dialler's router does.
    pub mapping: Mapping,
    /// Of the answer to an earlier call.
    pub cookie: Option<Cookie>,
    /// What the dialler sends then.
    pub plan: Plan,
}

/// Why no way is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Both NATs are symmetric.
    BothSymmetric,
    /// The service's is, and this one behaves as if it were.
    BothSeemSymmetric,
    /// Of the ports that were tried none met, or none are tried because that was a moment ago.
    NotMet,
}

/// The calls of one search.
#[derive(Debug)]
pub struct Conversation {
    own: Mapping,
    next: Option<Said>,
    presume_at: Option<Instant>,
    /// Many datagrams are under way, until then; and what it means if they do not meet.
    many: Option<(Instant, Verdict)>,
    verdict: Option<Verdict>,
    is_heard: bool,
}

impl Conversation {
    /// Begins with a first call, of a dialler whose router is known to do `own`.
    #[must_use]
    pub fn new(now: Instant, own: Mapping) -> Self {
        let first = Said { mapping: own, cookie: None, plan: Plan::Few };
        let presume_at = (own == Mapping::Unknown).then(|| now + PRESUME_AFTER);
        Self { own, next: Some(first), presume_at, many: None, verdict: None, is_heard: false }
    }

    /// The other side was heard: nothing more is needed.
    pub const fn heard(&mut self) {
        self.is_heard = true;
        self.presume_at = None;
        self.many = None;
        self.next = None;
        self.verdict = None;
    }

    /// Takes the service's answer to one of the calls. Many datagrams follow at most once, and only
    /// if `may_many`.
    pub fn answered(&mut self, now: Instant, answer: &Answer, may_many: impl FnOnce() -> bool) {
        if self.is_heard || self.many.is_some() || self.verdict.is_some() {
            return;
        }
        self.presume_at = None;
        let is_other = answer.mapping == Mapping::Symmetric;
        let mapping = if is_other { self.own } else { Mapping::Symmetric };
        let unmet = if is_other { Verdict::BothSeemSymmetric } else { Verdict::NotMet };
        match plan(Role::Dialler, mapping, answer.mapping) {
            Plan::Hopeless => self.verdict = Some(Verdict::BothSymmetric),
            Plan::Few => {}
            _ if !may_many() => self.verdict = Some(unmet),
            plan => {
                self.next = Some(Said { mapping, cookie: Some(answer.cookie), plan });
                self.many = Some((now + MANY_LIMIT, unmet));
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.presume_at.take_if(|at| *at <= now).is_some() {
            self.next = Some(Said { mapping: Mapping::Symmetric, cookie: None, plan: Plan::Few });
        }
        if let Some((_, unmet)) = self.many.take_if(|(until, _)| *until <= now) {
            self.verdict = Some(unmet);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.presume_at, self.many.map(|(until, _)| until)].into_iter().flatten().min()
    }

    /// The next call to make.
    pub const fn poll_call(&mut self) -> Option<Said> {
        self.next.take()
    }

    /// Why no way is open, once that is known.
    #[must_use]
    pub const fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::CallId;

    const FIRST: Said = Said { mapping: Mapping::Unknown, cookie: None, plan: Plan::Few };

    fn answer(mapping: Mapping) -> Answer {
        Answer { call: CallId::from_bytes([1; 16]), cookie: Cookie::from_bytes([2; 16]), mapping }
    }

    /// A conversation whose first call was made.
    fn begun(now: Instant, own: Mapping) -> Conversation {
        let mut calls = Conversation::new(now, own);
        assert_eq!(calls.poll_call(), Some(Said { mapping: own, ..FIRST }));
        assert_eq!(calls.poll_call(), None);
        calls
    }

    #[test]
    fn a_dialler_that_hears_nobody_takes_its_own_nat_for_a_symmetric_one() {
        let now = Instant::now();
        let mut calls = begun(now, Mapping::Unknown);
        assert_eq!(calls.poll_timeout(), Some(now + PRESUME_AFTER));
        calls.handle_timeout(now + PRESUME_AFTER);
        assert_eq!(calls.poll_call(), Some(Said { mapping: Mapping::Symmetric, ..FIRST }));
        calls.answered(now, &answer(Mapping::OneForAll), || true);
        let many = Said {
            mapping: Mapping::Symmetric,
            cookie: Some(Cookie::from_bytes([2; 16])),
            plan: Plan::ManySockets(512),
        };
        assert_eq!(calls.poll_call(), Some(many));
        calls.answered(now, &answer(Mapping::OneForAll), || true);
        assert_eq!((calls.poll_call(), calls.verdict()), (None, None), "once");
        calls.handle_timeout(now + MANY_LIMIT);
        assert_eq!((calls.verdict(), calls.poll_timeout()), (Some(Verdict::NotMet), None));
    }

    #[test]
    fn a_service_behind_a_symmetric_nat_says_so_and_ports_are_tried() {
        let now = Instant::now();
        for own in [Mapping::Unknown, Mapping::OneForAll] {
            let mut calls = begun(now, own);
            calls.answered(now, &answer(Mapping::Symmetric), || true);
            let said = calls.poll_call().unwrap();
            assert_eq!((said.mapping, said.plan), (own, Plan::ManyPorts(1024)));
            calls.handle_timeout(now + MANY_LIMIT);
            assert_eq!(calls.verdict(), Some(Verdict::BothSeemSymmetric));
        }
    }

    #[test]
    fn where_both_are_symmetric_nothing_is_sent_and_it_is_said() {
        let now = Instant::now();
        let mut calls = begun(now, Mapping::Symmetric);
        calls.answered(now, &answer(Mapping::Symmetric), || true);
        assert_eq!((calls.poll_call(), calls.verdict()), (None, Some(Verdict::BothSymmetric)));
    }

    #[test]
    fn many_datagrams_wait_for_their_time_and_who_is_heard_needs_none() {
        let now = Instant::now();
        let mut calls = begun(now, Mapping::Unknown);
        calls.answered(now, &answer(Mapping::Symmetric), || false);
        assert_eq!((calls.poll_call(), calls.verdict()), (None, Some(Verdict::BothSeemSymmetric)));
        let mut calls = begun(now, Mapping::Unknown);
        calls.heard();
        calls.answered(now, &answer(Mapping::Symmetric), || true);
        assert_eq!((calls.poll_call(), calls.verdict(), calls.poll_timeout()), (None, None, None));
    }
}
