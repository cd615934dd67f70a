use std::net::IpAddr;

use super::simulated::Addresses;
use super::*;

/// Longer than any look is put off.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn another_address_is_another_generation_and_the_same_one_is_none() {
    let host = Addresses::default();
    host.set(&["192.168.1.2"]);
    let monitor = NetworkMonitor::new(Box::new(host.clone()), None);
    let first = monitor.now();
    tokio::time::advance(REFRESH).await;
    assert_eq!(monitor.now(), first);
    host.set(&["10.0.0.2"]);
    tokio::time::advance(REFRESH).await;
    assert_eq!(monitor.now().generation, first.generation + 1);
    assert!(monitor.now().ips().eq([IpAddr::from([10, 0, 0, 2])]));
}

#[tokio::test(start_paused = true)]
async fn who_observes_sees_a_move_within_two_seconds_where_nobody_tells() {
    let host = Addresses::default();
    let monitor = host.monitor();
    let mut state = monitor.watch();
    for ip in ["192.168.1.2", "10.0.0.2", "192.168.1.2"] {
        sleep(LONG).await;
        assert!(!state.has_changed().unwrap());
        host.set(&[ip]);
        let moved = Instant::now();
        state.changed().await.unwrap();
        assert!(moved.elapsed() <= Duration::from_secs(2));
        assert!(state.borrow_and_update().ips().eq([ip.parse::<IpAddr>().unwrap()]));
    }
}

#[tokio::test(start_paused = true)]
async fn this_host_has_left_when_its_addresses_are_others() {
    let host = Addresses::default();
    host.set(&["192.168.1.2"]);
    let monitor = host.monitor();
    let here = monitor.now();
    assert!(tokio::time::timeout(LONG, monitor.left(&here)).await.is_err());
    host.set(&["10.0.0.2"]);
    tokio::time::timeout(Duration::from_secs(2), monitor.left(&here)).await.unwrap();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kernel_that_keeps_a_change_to_itself_is_looked_at_often_from_then_on() {
        let host = Addresses::default();
        // A socket that belongs to no group hears nothing.
        let silent = Netlink::listen(0).unwrap();
        let monitor = NetworkMonitor::new(Box::new(host.clone()), Some(silent));
        tokio::spawn(monitor.clone().run(CancellationToken::new()));
        let mut state = monitor.watch();
        host.set(&["192.168.1.2"]);
        let moved = Instant::now();
        state.changed().await.unwrap();
        assert_eq!(moved.elapsed(), SLOW_LOOK_INTERVAL);
        sleep(LONG).await;
        host.set(&["10.0.0.2"]);
        let moved = Instant::now();
        state.changed().await.unwrap();
        assert!(moved.elapsed() <= Duration::from_secs(2));
    }

    /// Does not say what addresses it has for the first few times.
    #[derive(Debug)]
    struct Busy {
        host: Addresses,
        failures: AtomicU32,
    }

    impl System for Busy {
        fn addrs(&self) -> io::Result<Vec<InterfaceAddr>> {
            let is_busy = |left: u32| left.checked_sub(1);
            match self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_busy) {
                Ok(_) => Err(io::Error::other("too many open files")),
                Err(_) => self.host.addrs(),
            }
        }

        fn default_route(&self) -> Option<DefaultRoute> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_system_that_could_not_answer_is_asked_again_soon() {
        let busy = Busy { host: Addresses::default(), failures: AtomicU32::new(2) };
        busy.host.set(&["192.168.1.2"]);
        let monitor = NetworkMonitor::new(Box::new(busy), Netlink::listen(0).ok());
        tokio::spawn(monitor.clone().run(CancellationToken::new()));
        let started = Instant::now();
        monitor.watch().wait_for(|state| !state.addrs.is_empty()).await.unwrap();
        assert!(started.elapsed() <= Duration::from_secs(2));
        assert!(monitor.0.is_told(), "it has kept nothing to itself");
    }

    /// In a network of its own, whose loopback has no address yet.
    #[test]
    fn the_system_tells_of_an_address_at_once() {
        in_own_network("inside_a_loopback_comes_up");
    }

    #[test]
    #[ignore = "run by the test above"]
    fn inside_a_loopback_comes_up() {
        let monitor = NetworkMonitor::of_host();
        assert!(monitor.0.is_told());
        let has_loopback = || monitor.now().ips().any(|ip| ip == IpAddr::from([127, 0, 0, 1]));
        let looked = || *monitor.0.looked.lock().unwrap();
        let first = looked();
        assert!(!has_loopback() && !has_loopback());
        assert_eq!(looked(), first, "nobody looks in vain");
        ip(&["link", "set", "lo", "up"]);
        assert!(has_loopback() && has_loopback());
        assert!(looked() > first && monitor.0.is_told());
    }

    #[test]
    fn a_pulled_cable_and_another_route_are_told_without_a_look_in_between() {
        in_own_network("inside_a_cable_is_pulled");
    }

    #[tokio::test]
    #[ignore = "run by the test above"]
    async fn inside_a_cable_is_pulled() {
        ip(&["link", "add", "home", "type", "veth", "peer", "name", "router"]);
        ip(&["address", "add", "192.168.1.2/24", "dev", "home"]);
        ip(&["link", "set", "home", "up"]);
        ip(&["link", "set", "router", "up"]);
        let monitor = NetworkMonitor::start(CancellationToken::new(), &TaskTracker::new());
        let mut state = monitor.watch();
        let home = IpAddr::from([192, 168, 1, 2]);
        let is_up = |state: &Arc<NetworkState>| state.up().any(|addr| addr.ip == home);
        soon(state.wait_for(is_up)).await.unwrap();
        let generation = monitor.now().generation;
        ip(&["link", "set", "router", "down"]);
        soon(state.wait_for(|state| !is_up(state))).await.unwrap();
        assert!(monitor.now().ips().any(|ip| ip == home), "it keeps its address");
        ip(&["link", "set", "router", "up"]);
        soon(state.wait_for(is_up)).await.unwrap();
        assert_eq!((monitor.now().default_route, monitor.now().generation), (None, generation));
        ip(&["route", "add", "default", "via", "192.168.1.1"]);
        let route = DefaultRoute { gateway: [192, 168, 1, 1].into(), local: [192, 168, 1, 2].into() };
        soon(state.wait_for(|state| state.default_route == Some(route))).await.unwrap();
        assert!(monitor.0.is_told(), "nothing was found by looking");
    }

    /// Less than any look that nobody has asked for.
    async fn soon<T>(change: impl Future<Output = T>) -> T {
        const { assert!(SLOW_LOOK_INTERVAL.as_secs() > 20) };
        tokio::time::timeout(Duration::from_secs(10), change).await.expect("told soon")
    }

    fn ip(words: &[&str]) {
        assert!(std::process::Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
    }

    /// Runs one of the tests here in a network of its own.
    fn in_own_network(test: &str) {
        const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--net"];
        let run = |program: &std::ffi::OsStr, words: &[&str]| {
            std::process::Command::new("unshare").args(NAMESPACE).arg(program).args(words).output().unwrap()
        };
        if !run("true".as_ref(), &[]).status.success() {
            assert!(std::env::var_os("HARDLINE_LAB_REQUIRED").is_none(), "this machine cannot do network namespaces");
            eprintln!("NOT TESTED: this machine cannot do network namespaces");
            return;
        }
        let inside = format!("network::tests::linux::{test}");
        let output = run(std::env::current_exe().unwrap().as_ref(), &["--exact", &inside, "--ignored", "--nocapture"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    }
}
