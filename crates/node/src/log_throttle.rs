//! Limits a log message to once a minute, with a count.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two messages about the same thing.
const INTERVAL: Duration = Duration::from_secs(60);

/// Counts something that a stranger can make happen thousands of times a second.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    unsaid: u64,
    said: Option<Instant>,
}

impl LogThrottle {
    /// Counts one more. Returns how many there were since something was said, when it is time to
    /// say something: at the first, and then once a minute.
    pub(crate) fn count(&self) -> Option<u64> {
        self.count_many(1)
    }

    /// The same for several at once.
    pub(crate) fn count_many(&self, number: u64) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.unsaid += number;
        if counted.said.is_some_and(|said| said.elapsed() < INTERVAL) {
            return None;
        }
        counted.said = Some(Instant::now());
        Some(std::mem::take(&mut counted.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_said_at_once_and_the_rest_once_a_minute_with_their_number() {
        let refused = LogThrottle::default();
        assert_eq!(refused.count(), Some(1));
        assert_eq!((0..1000).find_map(|_| refused.count()), None);
        tokio::time::advance(INTERVAL).await;
        assert_eq!(refused.count(), Some(1001));
        assert_eq!(refused.count(), None);
    }
}
