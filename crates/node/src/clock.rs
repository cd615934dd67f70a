//! What day it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hardline_proto::rolling::Day;

/// Time since 1970. A clock before that is wrong by more than a day either way.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Today, by this computer's clock.
pub(crate) fn today() -> Day {
    Day::from_unix_seconds(unix_time().as_secs())
}
