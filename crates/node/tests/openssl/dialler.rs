//! Our node dials `openssl s_server`.

use hardline_node::discovery::Outcome;
use hardline_node::proto::host::ServiceName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::TestNode;
use crate::given::{Given, certify};
use crate::program::{Peer, TLS_VERSIONS, key_hash, openssl};

#[tokio::test]
async fn every_kind_of_identity_is_reached_at_an_openssl_server() {
    let given = Given::all();
    for path in &given.identities {
        let key = key_hash(path);
        for version in TLS_VERSIONS {
            let flags = format!("{version} -cert {0} -key {0}.private", path.display());
            let (mut server, addr) = Peer::server(&flags).await;
            server.say("{\"WANHosts\":\"\"}\n").await;
            let node = TestNode::gateway(&[(key, addr)]).await;
            let name = ServiceName { key, password: Some("opensesame".into()) };
            let mut tunnel = node.node.connect(&name).await.unwrap_or_else(|error| panic!("{flags}: {error:?}"));
            tunnel.write_all(b"a line of payload\n").await.unwrap();
            tunnel.flush().await.unwrap();
            server.read_until("a line of payload\n").await;
            assert!(server.printed.contains("\"password\":\"opensesame\""), "{}", server.printed);
            server.say("an answer\n").await;
            let mut answer = [0; 10];
            tunnel.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"an answer\n");
        }
    }
}

#[tokio::test]
async fn a_peer_whose_key_is_too_weak_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    openssl(folder.path(), "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out weak.key");
    certify(folder.path(), "weak", "weak", "-days 30", "");
    let path = folder.path().join("weak");
    let key = key_hash(&path);
    for version in TLS_VERSIONS {
        let flags = format!("{version} -cipher ALL:@SECLEVEL=0 -cert {0} -key {0}.key", path.display());
        let (_server, addr) = Peer::server(&flags).await;
        let node = TestNode::gateway(&[(key, addr)]).await;
        let error = node.node.connect(&ServiceName { key, password: None }).await.unwrap_err();
        let Outcome::Handshake { reason } = &error.report.attempts[0].outcome else { panic!("{error:?}") };
        assert!(reason.contains("RSA key of 1024 bits"), "{reason}");
    }
}
