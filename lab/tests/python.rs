//! The released Python program as server and as client, with our program and with itself.

use anyhow::Result;
use hardline_lab::{Lab, Release};

/// Every exchange that must work between any two of them.
const EXCHANGES: &[&str] = &[
    "get:1000",
    "get:65536",
    "get:50000000",
    "post:20000000",
    "keepalive:10",
    "parallel:50:1000",
    "events",
    "websocket",
];

/// Where the Python client's gateway listens.
const GATEWAY: &str = "127.0.0.1:7009";

/// The launcher is known good, and so are the checks: what fails with our program would be ours.
#[test]
fn python_serves_python() -> Result<()> {
    for release in Release::ALL {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let backend = alice.backend("127.0.0.1:0")?;
        let server = alice.python_server(release, 7684, backend.address)?;
        let _client = bob.python_client(release)?;
        bob.check_site(GATEWAY.parse()?, &format!("{}.localhost:7009", server.name), EXCHANGES)?;
    }
    Ok(())
}
