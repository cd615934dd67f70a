//! Behind a real home router: addresses that lead here from outside, as the router and a dialler
//! see them.

use std::net::SocketAddrV4;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hardline_lab::{Hardline, Host, Lab, Mapping, Router, Switch};
use serde_json::Value;

/// How often the router is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Most time until something has come about on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Time in which a router that is back must have the port open again.
const BACK: Duration = Duration::from_secs(15);

/// Time in which a router that announces a new address must be followed.
const ANNOUNCED: Duration = Duration::from_secs(3);

/// Age of a router from which a restart shows in its epoch, for which two seconds are nothing (RFC
/// 6887, section 8.5).
const AGE: Duration = Duration::from_secs(6);

/// Every protocol by itself.
const PROTOCOLS: [Mapping; 3] = [Mapping::Upnp, Mapping::NatPmp, Mapping::Pcp];

#[test]
fn a_router_of_the_lab_maps_ports_and_forgets_them() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.internet()?;
    for (number, mapping) in (1..).zip([Mapping::Upnp, Mapping::NatPmp]) {
        let mut home = lab.home(&internet, number, mapping)?;
        let alice = lab.host(&format!("alice{number}"))?;
        home.connect(&alice, 2)?;
        home.take_port(&alice, 7008)?;
        assert_eq!(home.mapped()?, [(7008, format!("192.168.{number}.2:7008").parse()?)]);
        home.power_off()?;
        home.power_on()?;
        assert_eq!(home.mapped()?, []);
    }
    Ok(())
}

#[test]
fn the_router_opens_the_same_port_and_takes_it_back_at_a_stop_by_each_protocol() -> Result<()> {
    for mapping in PROTOCOLS {
        let Some(mut home) = Home::open(mapping)? else { return Ok(()) };
        let took = home.waits_for_ports(&[7008])?;
        println!("{mapping:?}: open after {took:?}");
        home.tells(&["203.0.113.1:7008"])?;
        home.hardline.process.terminate(LIMIT)?;
        assert_eq!(home.router.mapped()?, [], "{mapping:?}");
    }
    Ok(())
}

#[test]
fn a_port_that_is_taken_makes_room_for_the_next_by_each_protocol() -> Result<()> {
    for mapping in PROTOCOLS {
        let Some(home) = Home::open(mapping)? else { return Ok(()) };
        home.waits_for_ports(&[7008])?;
        let bob = home.lab.host("bob")?;
        home.router.connect(&bob, 3)?;
        let _second = bob.hardline(&["share", "."])?;
        waits_until(LIMIT, || Ok(home.router.mapped()?.len() == 2))?;
        let mut ports = home.router.mapped()?;
        ports.sort_unstable();
        let to = |number| SocketAddrV4::new(home.router.address_of(number), 7008);
        assert_eq!((ports[0], ports[1].1), ((7008, to(2)), to(3)), "{mapping:?}");
        if mapping == Mapping::Upnp {
            assert_eq!(ports[1].0, 7009);
        }
    }
    Ok(())
}

#[test]
fn a_router_that_restarts_and_forgets_has_the_port_open_again_soon_by_each_protocol() -> Result<()> {
    for mapping in PROTOCOLS {
        let Some(mut home) = Home::open(mapping)? else { return Ok(()) };
        home.waits_for_ports(&[7008])?;
        sleep(AGE);
        home.router.power_off()?;
        home.router.power_on()?;
        let took = home.waits_for_ports(&[7008])?;
        println!("{mapping:?}: open again {took:?} after the router was back");
        assert!(took <= BACK, "{mapping:?}: {took:?}");
        home.tells(&["203.0.113.1:7008"])?;
    }
    Ok(())
}

#[test]
fn a_new_public_address_is_followed_by_each_protocol() -> Result<()> {
    for mapping in PROTOCOLS {
        let Some(mut home) = Home::open(mapping)? else { return Ok(()) };
        home.waits_for_ports(&[7008])?;
        sleep(AGE);
        home.router.move_to(77)?;
        let began = Instant::now();
        waits_until(LIMIT, || Ok(home.wan_hosts()? == ["203.0.113.77:7008"]))?;
        let took = began.elapsed();
        println!("{mapping:?}: told {took:?} after the address was new");
        // By UPnP alone a router announces nothing, and is asked now and then.
        assert!(mapping == Mapping::Upnp || took <= ANNOUNCED, "{mapping:?}: {took:?}");
        home.waits_for_ports(&[7008])?;
    }
    Ok(())
}

#[test]
fn an_address_that_comes_or_goes_is_told_within_two_seconds() -> Result<()> {
    let Some(home) = Home::open(Mapping::None)? else { return Ok(()) };
    home.tells(&[])?;
    for (act, told) in [("add", &["[2001:db8::77]:7008"][..]), ("delete", &[])] {
        home.alice.ip(&format!("address {act} 2001:db8::77/64 dev eth0"))?;
        let began = Instant::now();
        home.tells(told)?;
        println!("address {act}: told after {:?}", began.elapsed());
    }
    Ok(())
}

#[test]
fn nobody_is_asked_when_port_mapping_is_off_or_there_is_nothing_to_reach() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.internet()?;
    let home = lab.home(&internet, 1, Mapping::All)?;
    let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
    home.connect(&alice, 2)?;
    home.connect(&bob, 3)?;
    let _silent = alice.hardline(&["share", ".", "--no-port-mapping", "--no-dht"])?;
    let _client = bob.hardline(&["--no-dht"])?;
    // Long enough for several searches.
    sleep(Duration::from_secs(5));
    assert_eq!(home.mapped()?, []);
    assert_eq!(home.requests()?, Vec::<String>::new());
    Ok(())
}

#[test]
#[ignore = "takes minutes: cargo xtask test --long"]
fn a_publisher_at_rest_sends_little_to_its_router_by_each_protocol() -> Result<()> {
    for mapping in PROTOCOLS {
        let Some(home) = Home::open(mapping)? else { return Ok(()) };
        home.waits_for_ports(&[7008])?;
        home.alice.count_sent(4222)?;
        sleep(Duration::from_secs(60));
        let sent = home.alice.sent_in_all()?;
        println!("{mapping:?}: {} packets, {} bytes in a minute at rest", sent.packets, sent.bytes);
        assert!(sent.bytes < 20_000, "{mapping:?}: {sent:?}");
    }
    Ok(())
}

#[test]
fn carrier_nat_is_told_and_no_address_that_cannot_work() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.internet()?;
    let carrier = lab.carrier(&internet, 9)?;
    let home = lab.home_behind(&carrier, 2, Mapping::All)?;
    let alice = lab.host("alice")?;
    home.connect(&alice, 2)?;
    let hardline = alice.hardline(&["share", ".", "-v"])?;
    hardline.process.wait_for_line("carrier NAT")?;
    assert_eq!(wan_hosts(&alice, &hardline)?, Vec::<String>::new());
    Ok(())
}

/// The firewall of a home lets nobody in by IPv6 until it is asked to, and again after that.
#[test]
fn the_routers_firewall_is_opened_for_ipv6_and_closed_at_a_stop() -> Result<()> {
    for mapping in [Mapping::Pcp, Mapping::Upnp] {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let internet = lab.internet()?;
        let router = lab.home_with_ipv6(&internet, 1, mapping)?;
        let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
        router.connect(&alice, 2)?;
        bob.join(&internet, "eth0", 20)?;
        let mut hardline = alice.hardline(&["share", ".", "--no-dht", "-v"])?;
        let began = Instant::now();
        waits_until(LIMIT, || opens(&bob, "2001:db8:1::2")).with_context(|| format!("{mapping:?}"))?;
        println!("{mapping:?}: let in by IPv6 after {:?}", began.elapsed());
        waits_until(LIMIT, || Ok(router.pinholes()? == 2)).context("TCP and UDP")?;
        hardline.process.terminate(LIMIT)?;
        ensure!(router.pinholes()? == 0, "{mapping:?}: left open");
        let _again = alice.hardline(&["share", ".", "--no-dht", "--no-port-mapping"])?;
        assert!(!opens(&bob, "2001:db8:1::2")?, "{mapping:?}");
    }
    Ok(())
}

/// Whether the P2P port of `address` takes a connection from `host`.
fn opens(host: &Host, address: &str) -> Result<bool> {
    // The handshake fails, since no service was named; before that somebody took the connection.
    let said = host.curl(&["--max-time", "1", "--insecure", &format!("https://[{address}]:7008/")])?;
    Ok(said.status.code() == Some(35))
}

/// A home with a service in it.
struct Home {
    hardline: Hardline,
    alice: Host,
    router: Router,
    _internet: Switch,
    lab: Lab,
}

impl Home {
    fn open(mapping: Mapping) -> Result<Option<Self>> {
        let Some(lab) = Lab::open()? else { return Ok(None) };
        let internet = lab.internet()?;
        let router = lab.home(&internet, 1, mapping)?;
        let alice = lab.host("alice")?;
        router.connect(&alice, 2)?;
        let hardline = alice.hardline(&["share", ".", "--no-dht"])?;
        Ok(Some(Self { hardline, alice, router, _internet: internet, lab }))
    }

    /// Waits until the router forwards these ports to alice and no others; tells how long that
    /// took.
    fn waits_for_ports(&self, ports: &[u16]) -> Result<Duration> {
        let began = Instant::now();
        let to = SocketAddrV4::new(self.router.address_of(2), 7008);
        let expected: Vec<_> = ports.iter().map(|port| (*port, to)).collect();
        waits_until(LIMIT, || Ok(self.router.mapped()? == expected))
            .with_context(|| format!("the router maps {:?}", self.router.mapped()))?;
        Ok(began.elapsed())
    }

    /// Waits until a dialler hears these addresses.
    fn tells(&self, expected: &[&str]) -> Result<()> {
        waits_until(LIMIT, || Ok(self.wan_hosts()? == expected))
            .with_context(|| format!("told: {:?}", self.wan_hosts()))
    }

    fn wan_hosts(&self) -> Result<Vec<String>> {
        wan_hosts(&self.alice, &self.hardline)
    }
}

/// What a dialler hears as `WANHosts`, by OpenSSL.
fn wan_hosts(host: &Host, hardline: &Hardline) -> Result<Vec<String>> {
    let name = hardline.service_name()?;
    let key = name.split('.').next().context("a name")?;
    let at = hardline.p2p()?;
    let dial = format!("(echo '{{}}'; tail -f /dev/null) | openssl s_client -quiet -servername {key} -connect {at}");
    let dialler = host.spawn("dialler", host.command("sh").args(["-c", &dial]))?;
    let line = dialler.wait_for_line("WANHosts")?;
    let line: Value = serde_json::from_str(&line)?;
    let hosts = line["WANHosts"].as_str().context("a text")?;
    Ok(hosts.split(',').filter(|host| !host.is_empty()).map(str::to_owned).collect())
}

fn waits_until(limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        if began.elapsed() > limit {
            bail!("not within {limit:?}");
        }
        sleep(POLL);
    }
    Ok(())
}
