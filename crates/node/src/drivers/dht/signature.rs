//! Signatures of stored values: RSA PKCS#1 v1.5 with SHA-512, as released nodes make them.

use hardline_dht::Signed;
use ring::signature::{RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Whether the signature is that of the owner.
pub(super) fn is_valid(signed: Signed<'_>) -> bool {
    let Ok((rest, key)) = SubjectPublicKeyInfo::from_der(signed.owner) else { return false };
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA512, &key.subject_public_key.data);
    rest.is_empty() && key.verify(signed.message, signed.signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardline_dht::Value;
    use hardline_dht::message::{Body, Message};

    #[test]
    fn a_value_signed_by_a_released_node_is_genuine_and_a_changed_one_is_not() {
        let lines = include_str!("../../../../dht/tests/vectors/datagrams.txt").lines();
        let line = lines.into_iter().find(|line| line.starts_with("put-signed-part-0 ")).unwrap();
        let hex = line.split(' ').nth(2).unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let Body::Fragments(fragments) = Message::decode(&bytes).unwrap().body else { panic!("no fragment") };
        let value = Value::parse(fragments[0].data).unwrap();
        let signed = value.signed().unwrap();
        assert!(is_valid(signed));
        let mut message = signed.message.to_vec();
        *message.last_mut().unwrap() ^= 1;
        assert!(!is_valid(Signed { message: &message, ..signed }));
        assert!(!is_valid(Signed { owner: b"no key", ..signed }));
    }
}
