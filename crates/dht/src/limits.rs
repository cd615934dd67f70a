//! Every bound in time, size and count, with its reason. Those that peers rely on are the values of
//! released nodes.

use std::time::Duration;

// --- Kademlia ---

/// Nodes in a bucket and in a reply, and copies of a value.
pub const REPLICATION: usize = 8;

/// Nodes a search asks at once.
pub const SEARCH_PARALLELISM: usize = 4;

/// Time without an answer after which a search asks another node as well: some round trips of most
/// lines. Many nodes that others name are behind NATs and never answer.
pub const SLOW_AFTER: Duration = Duration::from_millis(150);

/// Nodes from which a search awaits the answer to its first attempt.
pub const MAX_UNANSWERED: usize = 16;

/// Nodes remembered in a search. More than the 14 of released nodes, so that invented neighbours of
/// liars cannot push all honest ones out.
pub const MAX_SEARCH_NODES: usize = 64;

/// Nodes a search starts from, and the count the distance rule of storing looks at.
pub const SEARCH_START_NODES: usize = 14;

/// Version of the listen protocol that this node speaks.
pub const LISTEN_VERSION: u64 = 1;

/// Nodes listened on for one key.
pub const LISTEN_NODES: usize = 4;

/// Time after its last reply for which a node may be called good.
pub const GOOD_AFTER_REPLY: Duration = Duration::from_secs(120 * 60);

/// Time after its last datagram for which a node may be called good.
pub const GOOD_AFTER_HEARD: Duration = Duration::from_secs(10 * 60);

/// Silence after which a node is asked again, so that it need not become dubious.
pub const KEEP_FRESH_AFTER: Duration = Duration::from_secs(8 * 60);

/// Time without a reply from a bucket after which a random id in it is looked for.
pub const BUCKET_STALE: Duration = Duration::from_secs(10 * 60);

/// Time for which a failed node is not tried again when others name it. Released nodes name dead
/// ones for 10 minutes.
pub const FAILED_NODE_MEMORY: Duration = Duration::from_secs(120);

/// Failed nodes remembered.
pub const MAX_FAILED_NODES: usize = 1024;

// --- Requests ---

/// Waits after the first, second and third attempt: (at least, random addition).
pub const ATTEMPT_WAITS: [(Duration, Duration); 3] = [
    (Duration::from_secs(1), Duration::from_millis(250)),
    (Duration::from_secs(2), Duration::from_millis(750)),
    (Duration::from_secs(4), Duration::from_millis(1750)),
];

/// Requests in flight. A search has four, a maintenance tick some dozens.
pub const MAX_PENDING_REQUESTS: usize = 2048;

/// Pushes to listeners in flight.
pub const MAX_PENDING_PUSHES: usize = 512;

/// Unverified nodes being asked whether they exist. Bounds what forged senders can make us send.
pub const MAX_VERIFICATIONS: usize = 32;

/// Wrong-token errors in a row after which a node counts as failed.
pub const MAX_TOKEN_ERRORS: u8 = 3;

// --- Tokens ---

/// Shortest time between changes of the token secret. The one before stays valid.
pub const TOKEN_SECRET_MIN: Duration = Duration::from_secs(15 * 60);

/// Longest time between changes of the token secret.
pub const TOKEN_SECRET_MAX: Duration = Duration::from_secs(45 * 60);

/// Longest token accepted from others, in bytes; real ones have 32.
pub const MAX_TOKEN: usize = 64;

/// Age up to which a token is used.
pub const TOKEN_FRESH: Duration = Duration::from_secs(10 * 60);

/// Age at which a search asks for a new token, which is also how often it looks for new nearest
/// nodes.
pub const SEARCH_REFRESH: Duration = Duration::from_secs(5 * 60);

// --- Operations ---

/// Longest life of a `get` or of the first announcement of a `put`.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(60);

/// Operations of this node at once.
pub const MAX_OPERATIONS: usize = 1024;

/// Time before a value's end at which it is announced again.
pub const ANNOUNCE_MARGIN: Duration = Duration::from_secs(10);

/// Time after which a listener asks again, at least. Keeps NAT bindings open and notices restarted
/// nodes.
pub const LISTEN_RENEWAL: Duration = Duration::from_secs(20);

/// Time between two doubts about our address that are followed: each costs a renewal of every
/// listen, and nodes that lie may cast it.
pub const DOUBT_INTERVAL: Duration = Duration::from_secs(5);

/// Values remembered per listened key.
pub const MAX_HEARD_VALUES: usize = 4096;

// --- Bootstrap ---

/// First wait between bootstrap rounds; it doubles.
pub const BOOTSTRAP_RETRY_MIN: Duration = Duration::from_secs(10);

/// Longest wait between bootstrap rounds: a home whose line was down for a night is back within it.
pub const BOOTSTRAP_RETRY_MAX: Duration = Duration::from_secs(5 * 60);

/// Bootstrap addresses remembered.
pub const MAX_BOOTSTRAP: usize = 64;

/// Good nodes exported per family for the next start.
pub const MAX_EXPORTED_NODES: usize = 32;

// --- Values ---

/// Largest sum of a value's variable parts, in bytes.
pub const MAX_VALUE: usize = 65_536;

/// Largest packed value, in bytes.
pub const MAX_PACKED_VALUE: usize = MAX_VALUE + 32;

/// Packed values whose sum reaches this are sent in fragments.
pub const MAX_INLINE_VALUES: usize = 600;

/// Values whose count reaches this are sent in fragments.
pub const MAX_INLINE_COUNT: usize = 50;

/// Payload of a fragment.
pub const FRAGMENT: usize = 1280;

/// Value entries read from one datagram, and rows of a field reply.
pub const MAX_VALUES_PER_MESSAGE: usize = 2048;

/// Ids in one refreshed or expired list.
pub const MAX_IDS_PER_UPDATE: usize = 4096;

/// Field numbers or conditions in a query; there are five fields.
pub const MAX_QUERY_PARTS: usize = 16;

/// Values of one reply, in bytes. Enough for four of the largest; more can be asked for by id.
pub const MAX_REPLY_VALUES: usize = 4 * MAX_PACKED_VALUE;

/// Values of one push, in bytes, unless it carries a single larger one; others follow when it is
/// acknowledged. As with released nodes of version 4: a burst that receive buffers can hold.
pub const MAX_PUSH_VALUES: usize = 56 * 1024;

// --- Reassembly ---

/// Time without a new fragment after which a message is given up.
pub const REASSEMBLY_IDLE: Duration = Duration::from_secs(3);

/// Time in all after which a message is given up.
pub const REASSEMBLY_TOTAL: Duration = Duration::from_secs(10);

/// Messages being put together at once.
pub const MAX_REASSEMBLIES: usize = 128;

/// Messages being put together at once from one address.
pub const MAX_REASSEMBLIES_PER_ADDRESS: usize = 8;

/// Bytes announced by the messages being put together.
pub const MAX_REASSEMBLY_BYTES: usize = 8 * 1024 * 1024;

/// Smallest average fragment accepted, in bytes; smaller ones would cost more memory than they
/// carry.
pub const MIN_MEAN_FRAGMENT: usize = 128;

/// Fragments kept that came before the message that announces them. Together with
/// [`MAX_EARLY_DATA`] half a megabyte.
pub const MAX_EARLY_FRAGMENTS: usize = 384;

/// Such fragments of one message: those of a value of the largest size.
pub const MAX_EARLY_FRAGMENTS_PER_MESSAGE: usize = MAX_PACKED_VALUE.div_ceil(FRAGMENT);

/// Longest such fragment, in bytes.
pub const MAX_EARLY_DATA: usize = FRAGMENT;

// --- Storage for others ---

/// Values stored, in bytes, bookkeeping included.
pub const MAX_STORED_BYTES: usize = 16 * 1024 * 1024;

/// Bookkeeping counted per stored value, in bytes.
pub const STORED_VALUE_OVERHEAD: usize = 256;

/// Values stored per key.
pub const MAX_VALUES_PER_KEY: usize = 1024;

/// Time after its last request for which a listener is told of changes.
pub const LISTENER_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Listeners in all.
pub const MAX_LISTENERS: usize = 8192;

/// Listeners per key.
pub const MAX_LISTENERS_PER_KEY: usize = 256;

/// Listeners per network prefix. Released nodes open one per searched key.
pub const MAX_LISTENERS_PER_PREFIX: usize = 1024;

// --- Rates ---

/// Requests answered per second and network prefix.
pub const REQUESTS_PER_PREFIX: u32 = 1024;

/// Requests answered per second in all.
pub const REQUESTS_TOTAL: u32 = 8192;

/// Datagrams looked at per second and network prefix; the rest is dropped before it is read. A
/// listener that gets a few of the largest values from each of many nodes behind one address stays
/// below.
pub const DATAGRAMS_PER_PREFIX: u32 = 8192;

/// Datagrams looked at per second in all: several times what a node that stores for others gets,
/// and a few hundredths of a processor's second.
pub const DATAGRAMS_TOTAL: u32 = 32_768;

/// Signatures checked per second and network prefix. One costs some 50 µs with the longest keys,
/// and a datagram holds dozens; publishers sign a few values an hour.
pub const SIGNATURES_PER_PREFIX: u32 = 64;

/// Signatures checked per second in all.
pub const SIGNATURES_TOTAL: u32 = 512;

/// Bytes of fragments sent per second to one network prefix: a forged `get` must not turn us into a
/// flood.
pub const FRAGMENT_BYTES_PER_PREFIX: u32 = 1024 * 1024;

/// Network prefixes whose rate is followed; the others share one allowance.
pub const MAX_RATED_PREFIXES: usize = 4096;

/// Addresses on the blacklist.
pub const MAX_BLACKLIST: usize = 1024;

/// Time an address stays on the blacklist.
pub const BLACKLIST_TIME: Duration = Duration::from_secs(30 * 60);

/// Voters about our own public address that are remembered.
pub const MAX_ADDRESS_VOTES: usize = 32;

/// Voters that must agree about our own public address.
pub const MIN_ADDRESS_VOTES: usize = 3;

/// Voters about the port as well that are looked for; a few more than have to agree.
pub const WANTED_SIGHTINGS: usize = MIN_ADDRESS_VOTES + 2;

/// Time for which a node's word about our address and port counts.
pub const SIGHTING_LIFETIME: Duration = Duration::from_secs(15 * 60);

const _: () = assert!(SEARCH_REFRESH.as_secs() < TOKEN_FRESH.as_secs());
const _: () = assert!(TOKEN_FRESH.as_secs() < TOKEN_SECRET_MIN.as_secs());
const _: () = assert!(KEEP_FRESH_AFTER.as_secs() < GOOD_AFTER_HEARD.as_secs());
const _: () = assert!(MAX_REPLY_VALUES < MAX_REASSEMBLY_BYTES);
