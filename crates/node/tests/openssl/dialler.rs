//! Our node dials `openssl s_server`.

use hardline_node::proto::host::ServiceName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::TestNode;
use crate::given::Given;
use crate::program::{Peer, TLS_VERSIONS, key_hash};

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
