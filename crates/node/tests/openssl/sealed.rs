//! Sealed records signed by keys that OpenSSL made.

use hardline_node::proto::hosts::HostList;
use hardline_node::proto::rolling::Day;
use hardline_node::proto::sealed::{Home, SealedError, SealedRecord, open, seal};
use hardline_node::tls::identity::Identity;
use hardline_node::tls::sealed::{sign, verify};

use crate::given::Given;

#[test]
fn every_kind_of_identity_seals_and_is_believed() {
    let given = Given::all();
    let record = SealedRecord {
        addresses: HostList::parse_lenient("203.0.113.5:7008,[200:1::2]:7008"),
        relays: HostList::default(),
        home: Home::default(),
        quic: Vec::new(),
        punch: Vec::new(),
        issued_ms: 1,
        expires_ms: 1000,
        sequence: 1,
        publisher: 1,
        tunnels: vec![1],
    };
    let (stranger, _) = Identity::load_or_create(&given.path("v3-ed25519")).unwrap();
    for path in &given.identities {
        let (identity, _) = Identity::load_or_create(path).unwrap();
        let certificate = identity.certified.cert[0].as_ref();
        let sealed = seal(&record, certificate, Day(1), [7; 24], |message| sign(&identity.certified, message)).unwrap();
        println!("{}: {} bytes", path.display(), sealed.len());
        assert_eq!(open(&sealed, &identity.key, Day(1), 2, verify), Ok(record.clone()));
        if !path.to_string_lossy().ends_with("-ed25519") {
            let forged = seal(&record, certificate, Day(1), [7; 24], |message| sign(&stranger.certified, message));
            assert_eq!(open(&forged.unwrap(), &identity.key, Day(1), 2, verify), Err(SealedError::BadSignature));
        }
    }
}
