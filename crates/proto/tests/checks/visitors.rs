//! Promises of what visitors of private services send.

use hardline_proto::KeyHash;
use hardline_proto::visitors::{Answer, Door, Hour, Invitation, MAX_VISITOR_NAME, Proof, Request, Secret};

/// The input is an invitation that somebody typed, a line of each side of a redemption, and a
/// protocol name in a ClientHello. What is read, reads the same when it is written again.
pub fn visitors(bytes: &[u8]) {
    if let Ok(invitation) = Invitation::parse(&String::from_utf8_lossy(bytes)) {
        assert_eq!(Invitation::parse(&invitation.code()), Ok(invitation.clone()));
        assert_eq!(Invitation::parse(&invitation.link(7009)), Ok(invitation));
    }
    if let Some(code) = bytes.first_chunk() {
        // Whatever is in it, its own code is read.
        let secret = Secret::from_bytes(*code);
        let invitation = Invitation { key: KeyHash::of_certificate(bytes), secret };
        assert_eq!(Invitation::parse(&invitation.code()), Ok(invitation));
    }
    if let Ok(request) = Request::parse(bytes) {
        assert!(request.name.as_ref().is_none_or(|name| (1..=MAX_VISITOR_NAME).contains(&name.len())));
        assert_eq!(Request::parse(&request.encode()), Ok(request));
    }
    if let Ok(answer) = Answer::parse(bytes) {
        assert_eq!(Answer::parse(&answer.encode()), Ok(answer));
    }
    if let Some(proof) = Proof::parse(bytes) {
        assert_eq!(proof.to_protocol(), bytes);
        let key = KeyHash::from_bytes([7; 20]);
        assert!(!Door::from_bytes([0; 32]).is_proven(&key, Hour(0), &proof), "nobody guesses 128 bits");
    }
}
