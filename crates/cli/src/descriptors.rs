//! As many open files as the system lets this process have: each tunnel takes two, and the usual limit is 1,024.

/// Raises the soft limit of open files to the hard one. Where that is not allowed the limit stays, and so does the number
/// of tunnels: at a limit the newcomer is refused.
#[cfg(unix)]
pub(crate) fn allow_as_many_as_possible() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => tracing::debug!(from = ?limit.current, to = ?limit.maximum, "open files allowed"),
        Err(error) => tracing::debug!(%error, limit = ?limit.current, "limit of open files not raised"),
    }
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub(crate) fn allow_as_many_as_possible() {}
