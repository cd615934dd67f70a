//! `openssl s_client` dials our node.

use hardline_node::config::{IdentityConfig, ServiceConfig};

use crate::common::{TestNode, echo, service};
use crate::given::Given;
use crate::program::{Peer, TLS_VERSIONS, key_hash};

#[tokio::test]
async fn openssl_reaches_every_kind_of_identity_by_its_name() {
    let given = Given::all();
    let backend = echo().await;
    let with_identity = |path| ServiceConfig { identity: IdentityConfig::File(path), ..service(backend) };
    let node = TestNode::listener(given.identities.iter().cloned().map(with_identity).collect()).await;
    for path in &given.identities {
        let name = key_hash(path).to_string();
        for version in TLS_VERSIONS {
            let mut client = Peer::client(node.p2p(), Some(&name), version);
            client.say("{}\n").await;
            client.read_until("}\n").await;
            client.say("one line\n").await;
            client.read_until("one line\n").await;
        }
    }
}

#[tokio::test]
async fn a_line_and_payload_in_one_record_are_taken_apart() {
    let node = TestNode::listener(vec![service(echo().await)]).await;
    let name = node.key().to_string();
    for version in TLS_VERSIONS {
        let mut client = Peer::client(node.p2p(), Some(&name), version);
        client.say("{\"unknown\":1}\none line\nand another\n").await;
        client.read_until("one line\nand another\n").await;
    }
}

#[tokio::test]
async fn who_asks_for_another_name_or_none_is_told_so_in_the_handshake() {
    let node = TestNode::listener(vec![service(echo().await)]).await;
    let other = "0123456789abcdef0123456789abcdef01234567";
    for version in TLS_VERSIONS {
        for name in [None, Some(other), Some("localhost"), Some("example.org")] {
            let printed = Peer::client(node.p2p(), name, version).finish().await;
            assert!(printed.contains("SSL alert number 112"), "{name:?} {version}: {printed}"); // unrecognized_name
        }
    }
}

#[tokio::test]
async fn older_versions_and_anonymous_handshakes_are_refused() {
    let node = TestNode::listener(vec![service(echo().await)]).await;
    let name = node.key().to_string();
    for flags in
        ["-tls1 -cipher ALL:@SECLEVEL=0", "-tls1_1 -cipher ALL:@SECLEVEL=0", "-tls1_2 -cipher aNULL:@SECLEVEL=0"]
    {
        let printed = Peer::client(node.p2p(), Some(&name), flags).finish().await;
        assert!(printed.contains("SSL alert number 40"), "{flags}: {printed}"); // handshake_failure
    }
}
