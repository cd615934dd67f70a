//! Which times must be longer than which others. Each has its own key, so only all of them together
//! can be judged.

use std::time::Duration;

use super::{Loaded, Problem, Settings};

/// A key, and its value.
type Time = (&'static str, fn(&Settings) -> Duration);

/// The second must be longer than the first.
const RELATIONS: &[(Time, Time)] = &[
    (
        ("limits.parked_time", |it| it.node.idle_limits.time),
        ("limits.listener_parked_time", |it| it.node.p2p.idle_limits.time),
    ),
    (
        ("limits.backend_timeout", |it| it.node.p2p.backend_timeout),
        ("limits.handshake_timeout", |it| it.node.p2p.handshake_timeout),
    ),
];

/// What does not fit together, where it was set.
pub(super) fn problems(loaded: &Loaded) -> Vec<Problem> {
    let judge = |((short_name, short), (long_name, long)): &(Time, Time)| {
        let (short, long) = (short(&loaded.settings), long(&loaded.settings));
        // At their defaults all fit.
        let origin = loaded.origins.get(short_name).or_else(|| loaded.origins.get(long_name)).cloned()?;
        let told = humantime::format_duration;
        let message =
            format!("{long_name} ({}) must be longer than {short_name} ({}); set both", told(long), told(short));
        (long <= short).then_some(Problem { origin, message })
    };
    RELATIONS.iter().filter_map(judge).collect()
}
