//! The lab itself: what the other tests rely on.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
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
fn the_internet_carries_packets_and_no_multicast() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.internet()?;
    let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
    alice.join(&internet, "eth0", 1)?;
    bob.join(&internet, "eth0", 2)?;
    let backend = alice.backend("[::]:0")?;
    for address in ["203.0.113.1", "[2001:db8::1]"] {
        let url = format!("http://{address}:{}/slow/0", backend.address.port());
        assert_eq!(bob.curl(&[&url])?.success()?.stdout, "slow");
    }
    for everybody in ["ff02::1%eth0", "239.192.152.143", "203.0.113.255"] {
        let answers = bob.run("ping", &["-b", "-c", "2", "-i", "0.2", "-W", "0.3", everybody])?.stdout;
        assert!(!answers.contains("2001:db8::1") && !answers.contains("203.0.113.1:"), "{everybody}: {answers}");
    }
    Ok(())
}

/// Each answer is late by the whole round trip, and many packets at once are not late by more.
#[test]
fn a_slow_internet_takes_its_round_trip() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.slow_internet(Duration::from_millis(40))?;
    let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
    alice.join(&internet, "eth0", 1)?;
    bob.join(&internet, "eth0", 2)?;
    for address in ["203.0.113.1", "2001:db8::1"] {
        let said = bob.run("ping", &["-c", "20", "-i", "0.01", address])?.success()?.stdout;
        // rtt min/avg/max/mdev = 40.6/41.9/55.1/3.2 ms
        let rtt = said.lines().last().and_then(|line| line.split(['=', '/']).nth(4)).context("a minimum")?;
        let least: f64 = rtt.trim().parse()?;
        assert!((40.0..80.0).contains(&least), "{said}");
    }
    let backend = alice.backend("[::]:0")?;
    bob.check_site(SocketAddr::from(([203, 0, 113, 1], backend.address.port())), "backend.test", &["get:20000000"])
}

#[test]
fn released_nodes_of_the_dht_find_each_other_over_the_internet() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.internet()?;
    let asker = lab.host("asker")?;
    asker.join(&internet, "eth0", 1)?;
    for dht in [lab.dht(&internet, 3)?, lab.dht_over_ipv6(&internet, 3)?] {
        let key = "/key/0123456789012345678901234567890123456789";
        let (there, here) = (format!("{}{key}", dht.proxy(0)), format!("{}{key}", dht.proxy(2)));
        asker.curl(&["--globoff", "--data", r#"{"data":"aGVsbG8=","id":"5"}"#, &there])?.success()?;
        let found = asker.curl(&["--globoff", &here])?.success()?.stdout;
        assert!(found.contains("aGVsbG8="), "{found}");
    }
    Ok(())
}

#[test]
fn what_leaves_is_counted_and_what_comes_in_can_get_lost() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.internet()?;
    let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
    alice.join(&internet, "eth0", 1)?;
    bob.join(&internet, "eth0", 2)?;
    alice.count_sent(4222)?;
    assert_eq!(alice.sent_to_internet()?.packets, 0);
    alice.run("ping", &["-c", "3", "-i", "0.01", "-s", "72", "203.0.113.2"])?.success()?;
    let sent = alice.sent_to_internet()?;
    assert_eq!((sent.packets, sent.bytes), (3, 300));
    alice.lose_incoming("eth0", 50)?;
    let answers = alice.run("ping", &["-c", "100", "-i", "0.002", "-W", "1", "203.0.113.2"])?.stdout;
    let answers = answers.matches(" bytes from ").count();
    assert!((20..=80).contains(&answers), "{answers} of 100");
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
