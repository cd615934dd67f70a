//! A way through two NATs: both sides send to each other at the same time, and each router takes
//! the other's datagrams for answers (RFC 5128, section 3.3).
//!
//! The dialler [calls](crate::call), and sends probes from then on; the publisher sends a few when
//! the call arrives, and one for each that it hears. The dialler dials the address where a probe
//! comes from, as soon as one does: no timer stands between.
//!
//! A router that gives each destination another port (a symmetric NAT) cannot be told where to send
//! to. If only one of the two does so, it is tried by chance: that side sends from many sockets,
//! the other to many ports, until two of them meet.

mod attempt; // one attempt of either side
mod attempts; // all that are under way
mod conversation; // what a dialler calls with, and concludes
mod mapping; // what others see of this computer → what its router does
mod plan; // who sends how much
mod probe; // one datagram
mod sort; // whose a datagram is

pub use attempt::{Attempt, Event, GIVE_UP, MAX_OPENED, Transmit};
pub use attempts::{Attempts, MAX_ATTEMPTS};
pub use conversation::{Conversation, PRESUME_AFTER, Said, Verdict};
pub use mapping::{Mapping, MappingObserver};
pub use plan::{MAX_UNASKED, Plan, Ports, plan};
pub use probe::{PROBE_LEN, Probe, is_probe};
pub use sort::{Owner, owner};

/// Who is who in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Calls, and dials.
    Dialler,
    /// Is called.
    Publisher,
}

impl Role {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Publisher,
            Self::Publisher => Self::Dialler,
        }
    }
}
