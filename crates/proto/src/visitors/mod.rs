//! Who may come in to a private service: visitors, known by keys of their own, who were invited.
//!
//! An [`Invitation`] is a link with a secret. Who redeems it proves a key pair made for this
//! service alone, and is enrolled. From then on the key is asked for in each handshake (a TLS
//! client certificate), and the [`Door`], a secret of the two, in each ClientHello: who does not
//! know one is answered as if the service were not there.

mod door; // what a visitor shows in its ClientHello
mod invitation; // a link ⇄ key hash and secret
mod messages; // what is said to redeem an invitation
mod redemption; // whether an invitation is still good

pub use door::{Door, Hour, MAX_NONCES, Nonces, Proof, Tag};
pub use invitation::{Invitation, InvitationError, PATH, Secret};
pub use messages::{Answer, Enrolled, MAX_VISITOR_NAME, Request, visitor_name};
pub use redemption::{Known, Outcome, Refused, State, redeem};

/// Whether two texts of one length are the same, in a time that does not tell where they differ.
fn is_same<const N: usize>(one: &[u8; N], other: &[u8; N]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other));
    // Kept from the optimizer, which could end early.
    std::hint::black_box(differing) == 0
}
