//! Every bound in time, size and count, with its reason.

use std::time::Duration;

/// Time for a browser to send its request head. Browsers send it at once; slowloris does not.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a peer to finish the TLS handshake and its opening line, on the listening side.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for one candidate to accept a TCP connection. The race goes on meanwhile.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Time for one candidate to finish its TLS handshake and to send its opening line. The released listeners connect to
/// their backend in between.
pub const DIAL_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(8);

/// Time a lookup goes on while nobody has answered: longer than a sleeping Wi-Fi client takes for a multicast.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(6);

/// Time to connect to a backend. It is on this computer or on its LAN.
pub const BACKEND_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence in both directions after which a tunnel is closed. Longer than the polls and pings of web pages.
pub const TUNNEL_IDLE: Duration = Duration::from_secs(3600);

/// Browser connections open at once at the gateway.
pub const MAX_GATEWAY_CONNECTIONS: usize = 20_000;

/// Plaintext bytes in one TLS record towards a version 1 peer. The released peers read 4,096 at a time and do not see
/// what is left over until more arrives.
pub const V1_RECORD: usize = 4096;

const _: () = assert!(HANDSHAKE_TIMEOUT.as_secs() < TUNNEL_IDLE.as_secs());
const _: () = assert!(CONNECT_TIMEOUT.as_secs() < LOOKUP_TIMEOUT.as_secs());
