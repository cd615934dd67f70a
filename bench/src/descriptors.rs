//! How many files may be open.

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows this process and what it starts `wanted` descriptors, or as many as the system lets it
/// have, and says how many.
pub(crate) fn raise(wanted: u64) -> Result<u64> {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let to = |limit: u64| Rlimit { current: Some(limit), maximum: Some(limit.max(hard)) };
    // Only a privileged process may go above what it was given.
    if hard < wanted && setrlimit(Resource::Nofile, to(wanted)).is_ok() {
        return Ok(wanted);
    }
    let possible = wanted.min(hard);
    setrlimit(Resource::Nofile, to(possible))?;
    Ok(possible)
}
