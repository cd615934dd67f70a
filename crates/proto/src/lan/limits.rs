//! Every bound of LAN discovery in size, time and count, with its reason.

use std::time::Duration;

use crate::rate::Rate;

/// Longest datagram read, in bytes: as much as the released peers read.
pub const MAX_DATAGRAM: usize = 4096;

/// Lines read of one datagram. Peers send seven; newer ones may add some.
pub(super) const MAX_LINES: usize = 64;

/// Longest title kept, in bytes.
pub const MAX_TITLE: usize = 256;

/// Longest cookie compared, in characters. Released peers send 36.
pub(super) const MAX_COOKIE: usize = 64;

/// Longest text in front of a key hash, in bytes: what the `-` and the 40 digits leave of a host
/// name's label.
pub const MAX_FREETEXT: usize = 22;

/// A service not heard for so long is forgotten. Three times [`ANNOUNCE_INTERVAL`], so two
/// announcements may get lost.
pub const SERVICE_LIFETIME: Duration = Duration::from_secs(90);

/// Time between two announcements of a service.
pub(super) const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);

/// Time between the first announcement on a new interface and its repetition, and least time
/// between any two: the first datagram on a network is often lost while switches learn of the group
/// (RFC 6762, section 8.3).
pub(super) const ANNOUNCE_REPEAT: Duration = Duration::from_secs(1);

/// Goodbyes sent at once, and in a second after that, each of them on every interface. Neighbours
/// keep no more services of one computer; those that get no goodbye are forgotten with time.
pub(super) const GOODBYE_RATE: Rate = Rate { burst: MAX_SERVICES_PER_SOURCE as u32, per_second: 8 };

/// Time that peers have to answer the rolling code before older names are asked for.
pub(super) const FALLBACK_DELAY: Duration = Duration::from_millis(100);

/// Head start of addresses known already, before anybody is asked.
pub(super) const KNOWN_HEAD_START: Duration = Duration::from_millis(100);

/// Round of a search (the first is 0) from which on older names are asked for even if somebody
/// answered: whoever still waits got nowhere with that answer, and it may be a hostile neighbour's.
pub(super) const INSIST_ROUND: u32 = 2;

/// Time from the first question to the second; it doubles each time.
pub(super) const SEARCH_BACKOFF: Duration = Duration::from_millis(250);

/// Longest time between two questions for a service.
pub(super) const MAX_SEARCH_BACKOFF: Duration = Duration::from_secs(8);

/// Time from the first browsing question to its repetition.
pub(super) const BROWSE_REPEAT: Duration = Duration::from_secs(1);

/// Time between browsing questions. Released peers announce nothing by themselves, so this keeps
/// them from expiring.
pub(super) const BROWSE_INTERVAL: Duration = Duration::from_secs(20);

/// Services looked for at once. A page in a browser can ask for as many names as it likes.
pub const MAX_SEARCHES: usize = 256;

/// Questions sent at once, and in a second after that, each of them on every interface.
pub(super) const SEARCH_RATE: Rate = Rate { burst: 200, per_second: 50 };

/// Answers a second, in datagrams, that one computer gets. One browsing question makes two for each
/// service.
pub(super) const ANSWERS_PER_SOURCE: u32 = 32;

/// Answers a second, in datagrams, that everybody together gets: about 100 kB at most.
pub(super) const ANSWERS_IN_TOTAL: u32 = 256;

/// Seconds whose answers one computer gets at once, after a rest.
pub(super) const SOURCE_BURST: u32 = 8;

/// Seconds whose worth everybody together gets at once, after a rest.
pub(super) const TOTAL_BURST: u32 = 4;

/// Datagrams a second of one computer that are read: more than 64 services of a released peer make
/// of one question.
pub(super) const DATAGRAMS_PER_SOURCE: u32 = 256;

/// Datagrams a second that are read: those of a large office. Costs a few hundredths of a
/// processor's second.
pub(super) const DATAGRAMS_IN_TOTAL: u32 = 4096;

/// Computers whose datagrams are counted separately, at 24 bytes each; the least recent is
/// forgotten.
pub(super) const MAX_COUNTED_SOURCES: usize = 256;

/// Addresses remembered for one service. Several computers may claim the same key hash; only TLS
/// tells who is right.
pub const MAX_ADDRS_PER_SERVICE: usize = 8;

/// Ports one computer may claim for one service: two programs may share an identity.
pub(super) const MAX_PORTS_PER_CLAIMANT: usize = 2;

/// Services one computer may claim.
pub const MAX_SERVICES_PER_SOURCE: usize = 64;

/// Claims remembered in total, at about 700 bytes each at most.
pub(super) const MAX_CLAIMS: usize = 512;

/// Interfaces in use. Container hosts have dozens.
pub(super) const MAX_INTERFACES: usize = 64;

/// Datagrams waiting to be sent; those beyond are lost, as on any network.
pub(super) const MAX_TRANSMITS: usize = 4096;

const _: () = assert!(SERVICE_LIFETIME.as_secs() > 2 * ANNOUNCE_INTERVAL.as_secs());
const _: () = assert!(SERVICE_LIFETIME.as_secs() > 4 * BROWSE_INTERVAL.as_secs());
const _: () = assert!(MAX_SERVICES_PER_SOURCE * 4 <= MAX_CLAIMS);
const _: () = assert!(DATAGRAMS_PER_SOURCE < DATAGRAMS_IN_TOTAL);
const _: () = assert!(ANSWERS_PER_SOURCE < ANSWERS_IN_TOTAL);
