//! Whether an invitation is still good, and what is left of it behind a redemption.

use std::fmt;

/// An invitation, as the service keeps it. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// How many more may be enrolled by it.
    pub uses: u32,
    /// Until when.
    pub expires_ms: u64,
    /// Whether it was taken back.
    pub is_revoked: bool,
    /// How long who redeems it may come in; `None` for ever.
    pub stay_ms: Option<u64>,
}

/// What is known of the key that redeems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is enrolled by this very invitation.
    ByThis,
    /// It is enrolled by another.
    ByAnother,
}

/// What a redemption comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It had come to an end before, and the answer was lost: it is given once more.
    Again,
    /// The key is enrolled from now on.
    Enrol {
        /// Uses that are left.
        uses: u32,
        /// Until when it may come in.
        expires_ms: Option<u64>,
    },
}

/// Why an invitation is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Its time is over.
    Expired,
    /// It was used as often as it may be.
    Used,
    /// It was taken back.
    Revoked,
    /// The service has as many visitors as it may have.
    Full,
    /// The service does not know it.
    Unknown,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Expired, Self::Used, Self::Revoked, Self::Full, Self::Unknown];

    /// Its word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Revoked => "revoked",
            Self::Full => "full",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "this invitation has expired; ask who sent it for a new one",
            Self::Used => "this invitation has been used already; if that was not you, tell who sent it",
            Self::Revoked => "this invitation was taken back by who sent it",
            Self::Full => "the service has as many visitors as it may have",
            Self::Unknown => "the service does not know this invitation",
        })
    }
}

/// Redeems an invitation at `now_ms` for a key of which `known` is known, of a service that has
/// room for more if it `has_room`.
///
/// Nothing happens by itself: what is returned takes effect as a whole, or not at all.
///
/// # Errors
/// [`Refused`]; then nothing changes.
pub fn redeem(state: &State, known: Option<Known>, has_room: bool, now_ms: u64) -> Result<Outcome, Refused> {
    if known == Some(Known::ByThis) {
        return Ok(Outcome::Again);
    }
    if state.is_revoked {
        return Err(Refused::Revoked);
    }
    let Some(uses) = state.uses.checked_sub(1) else { return Err(Refused::Used) };
    if now_ms >= state.expires_ms {
        return Err(Refused::Expired);
    }
    if known.is_none() && !has_room {
        return Err(Refused::Full);
    }
    Ok(Outcome::Enrol { uses, expires_ms: state.stay_ms.map(|stay| now_ms.saturating_add(stay)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: State = State { uses: 1, expires_ms: 100, is_revoked: false, stay_ms: Some(50) };

    #[test]
    fn each_end_has_its_own_sentence_and_the_first_that_is_true_is_said() {
        let redeem = |state: &State, now| redeem(state, None, true, now);
        assert_eq!(redeem(&GOOD, 99), Ok(Outcome::Enrol { uses: 0, expires_ms: Some(149) }));
        assert_eq!(redeem(&GOOD, 100), Err(Refused::Expired));
        assert_eq!(redeem(&State { uses: 0, ..GOOD }, 99), Err(Refused::Used));
        assert_eq!(redeem(&State { uses: 0, is_revoked: true, ..GOOD }, 200), Err(Refused::Revoked));
        assert_eq!(super::redeem(&GOOD, None, false, 99), Err(Refused::Full));
        let sentences: std::collections::BTreeSet<_> = Refused::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(sentences.len(), Refused::ALL.len());
    }

    #[test]
    fn who_asks_again_is_answered_again_and_uses_nothing_up() {
        let ended = State { uses: 0, is_revoked: true, ..GOOD };
        assert_eq!(redeem(&ended, Some(Known::ByThis), false, 1000), Ok(Outcome::Again));
        assert_eq!(redeem(&ended, Some(Known::ByAnother), true, 1), Err(Refused::Revoked));
        let forever = State { stay_ms: None, uses: 3, ..GOOD };
        let renewed = Ok(Outcome::Enrol { uses: 2, expires_ms: None });
        assert_eq!(redeem(&forever, Some(Known::ByAnother), false, 1), renewed);
    }
}
