//! The lab itself: what the other tests rely on.

use anyhow::Result;
use hardline_lab::Lab;

#[test]
fn hosts_of_one_lan_reach_each_other_and_nobody_else() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("0.0.0.0:0")?;
    for address in ["192.168.77.1", "[::ffff:192.168.77.1]"] {
        let url = format!("http://{address}:{}/slow/0", backend.address.port());
        assert_eq!(bob.curl(&[&url])?.success()?.stdout, "slow");
    }
    let (_other_switch, stranger) = lab.lone_host("stranger")?;
    let url = format!("http://192.168.77.1:{}/slow/0", backend.address.port());
    assert_eq!(stranger.curl(&["--max-time", "2", &url])?.stdout, "");
    Ok(())
}

#[test]
fn an_interface_can_be_plugged_in_and_pulled_out() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("[::]:0")?;
    let url = format!("http://[fd77:1::1]:{}/slow/0", backend.address.port());
    let answer = || bob.curl(&["--max-time", "2", &url]).map(|output| output.stdout);
    bob.ip("address add fd77:1::2/64 dev eth0")?;
    assert_eq!(answer()?, "");
    alice.attach(&switch, "eth1", &["fd77:1::1/64"])?;
    // Else the search for a neighbour that was not there yet goes on to fail.
    bob.ip("neigh flush dev eth0")?;
    assert_eq!(answer()?, "slow");
    alice.detach("eth1")?;
    assert_eq!(answer()?, "");
    Ok(())
}

#[test]
fn the_client_finds_every_answer_of_the_backend_right() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("192.168.77.1:0")?;
    bob.check_site(backend.address, "backend.test", hardline_lab::EVERY_CHECK)?;
    let err = bob.check_site(backend.address, "backend.test", &["get:1000", "get:x"]).unwrap_err();
    assert!(err.to_string().contains("get:x"), "{err}");
    Ok(())
}

#[test]
fn what_runs_on_a_host_ends_with_it() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let host = lab.host("alice")?;
    let mut parent = host.spawn("sh", host.command("sh").args(["-c", "sleep 600 & echo $!; wait"]))?;
    let child: u32 = parent.wait_for("a process id", |line| line.parse().ok())?;
    parent.kill()?;
    assert!(is_alive(child), "the grandchild outlives its parent");
    drop(host);
    assert!(!is_alive(child));
    Ok(())
}

/// A zombie is dead.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
