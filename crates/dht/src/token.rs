//! Write tokens: proof that a requester receives what is sent to its address. They need no memory.

use std::net::{IpAddr, SocketAddr};

use blake2::{Blake2s256, Digest};
use rand::{Rng, RngExt};

use crate::limits::{TOKEN_SECRET_MAX, TOKEN_SECRET_MIN};
use crate::time::Time;

/// Makes and checks tokens, with a secret that changes now and then.
#[derive(Debug)]
pub(crate) struct Tokens {
    current: [u8; 32],
    previous: [u8; 32],
    next_change: Time,
}

impl Tokens {
    pub(crate) fn new(now: Time, rng: &mut impl Rng) -> Self {
        let mut tokens = Self { current: [0; 32], previous: [0; 32], next_change: now };
        rng.fill_bytes(&mut tokens.current);
        tokens.change_secret(now, rng);
        tokens
    }

    /// The token for requests from `addr`: bound to IP and port.
    pub(crate) fn make(&self, addr: &SocketAddr) -> [u8; 32] {
        digest(&self.current, addr)
    }

    /// Whether `token` was made for `addr` with this secret or the one before.
    pub(crate) fn is_valid(&self, addr: &SocketAddr, token: &[u8]) -> bool {
        [&self.current, &self.previous].into_iter().any(|secret| equal(&digest(secret, addr), token))
    }

    pub(crate) fn next_timeout(&self) -> Time {
        self.next_change
    }

    pub(crate) fn handle_timeout(&mut self, now: Time, rng: &mut impl Rng) {
        if now >= self.next_change {
            self.change_secret(now, rng);
        }
    }

    fn change_secret(&mut self, now: Time, rng: &mut impl Rng) {
        self.previous = self.current;
        rng.fill_bytes(&mut self.current);
        self.next_change = now + rng.random_range(TOKEN_SECRET_MIN..=TOKEN_SECRET_MAX);
    }
}

/// A keyed BLAKE2s in one block. A prefix is a sound key for this hash, which cannot be extended.
fn digest(secret: &[u8; 32], addr: &SocketAddr) -> [u8; 32] {
    let mut hash = Blake2s256::new();
    hash.update(secret);
    match addr.ip() {
        IpAddr::V4(ip) => hash.update(ip.octets()),
        IpAddr::V6(ip) => hash.update(ip.octets()),
    }
    hash.update(addr.port().to_be_bytes());
    hash.finalize().into()
}

/// Compares without telling by its duration where the difference is.
fn equal(expected: &[u8; 32], given: &[u8]) -> bool {
    expected.len() == given.len() && expected.iter().zip(given).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn a_token_is_bound_to_ip_and_port() {
        let tokens = Tokens::new(Time::ZERO, &mut StdRng::seed_from_u64(1));
        let addr = "192.0.2.1:4222".parse().unwrap();
        let token = tokens.make(&addr);
        assert!(tokens.is_valid(&addr, &token));
        assert!(!tokens.is_valid(&"192.0.2.1:4223".parse().unwrap(), &token));
        assert!(!tokens.is_valid(&"192.0.2.2:4222".parse().unwrap(), &token));
        assert!(!tokens.is_valid(&addr, &token[..31]));
        assert!(!tokens.is_valid(&addr, &[]));
    }

    #[test]
    fn a_token_outlives_one_change_of_the_secret_and_not_two() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut tokens = Tokens::new(Time::ZERO, &mut rng);
        let addr = "[2001:db8::1]:4222".parse().unwrap();
        let token = tokens.make(&addr);
        tokens.handle_timeout(tokens.next_timeout(), &mut rng);
        assert!(tokens.is_valid(&addr, &token));
        tokens.handle_timeout(tokens.next_timeout(), &mut rng);
        assert!(!tokens.is_valid(&addr, &token));
    }
}
