//! What day it is.

use std::time::{SystemTime, UNIX_EPOCH};

use hardline_proto::rolling::Day;

/// Today, by this computer's clock.
pub(crate) fn today() -> Day {
    // A clock before 1970 is wrong by more than a day either way.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Day::from_unix_seconds(since_epoch.as_secs())
}
