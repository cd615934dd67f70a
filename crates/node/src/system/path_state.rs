//! What the system's TCP knows of the other computer.

use hardline_proto::liveness::PathState;

/// `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn path_state(stream: &impl std::os::fd::AsRawFd) -> Option<PathState> {
    let mut info = [0; linux::WORDS];
    let length = uapi::getsockopt(stream.as_raw_fd(), uapi::c::IPPROTO_TCP, uapi::c::TCP_INFO, &mut info);
    linux::read(&info, length.ok()?)
}

/// `None` where the system does not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn path_state<S>(_stream: &S) -> Option<PathState> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::time::Duration;

    use hardline_proto::liveness::PathState;

    /// As much of `struct tcp_info` (linux/tcp.h) as is of use, in words of 32 bits.
    pub(super) const WORDS: usize = 37;

    /// What every kernel has of it, and gVisor.
    const LEAST: usize = 26 * size_of::<u32>();

    /// The first word's bytes: state, state of congestion control, repeats after a timeout,
    /// unanswered probes.
    const REPEATS: usize = 2;
    const PROBES: usize = 3;

    const UNACKNOWLEDGED: usize = 6;
    const LAST_DATA_RECEIVED_MS: usize = 13;
    const LAST_ACK_RECEIVED_MS: usize = 14;
    const ROUND_TRIP_US: usize = 17;
    /// Since Linux 4.6; 0 before.
    const UNSENT: usize = 36;

    /// Reads `length` bytes.
    pub(super) fn read(info: &[u32; WORDS], length: usize) -> Option<PathState> {
        if length < LEAST {
            return None;
        }
        let first = info[0].to_ne_bytes();
        let (repeats, probes) = (u32::from(first[REPEATS]), u32::from(first[PROBES]));
        let silence = info[LAST_DATA_RECEIVED_MS].min(info[LAST_ACK_RECEIVED_MS]);
        Some(PathState {
            is_owed: info[UNACKNOWLEDGED] > 0 || probes > 0,
            repeats: repeats.max(probes),
            has_unsent: info[UNSENT] > 0,
            silence: Duration::from_millis(silence.into()),
            round_trip: Duration::from_micros(info[ROUND_TRIP_US].into()),
        })
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
