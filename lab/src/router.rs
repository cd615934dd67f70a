//! Routers: NAT between a home and the internet, with a real miniupnpd, or a provider's NAT in
//! front of many homes.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result, bail};

use crate::internet::{STUN, internet_v6};
use crate::lab::Lab;
use crate::network::{Host, Switch};
use crate::process::Process;

/// How a router lets computers behind it open a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Not at all.
    None,
    /// UPnP IGD only.
    Upnp,
    /// NAT-PMP only; packets of PCP are dropped.
    NatPmp,
    /// PCP only; packets of NAT-PMP are dropped.
    Pcp,
    /// By all three.
    All,
}

/// A home router, or a provider's one. It masquerades what leaves, and drops what comes in unasked.
#[derive(Debug)]
pub struct Router {
    /// The router itself: interface `lan` inside, `wan` outside.
    pub host: Host,
    /// Its inner network.
    pub lan: Switch,
    /// First three bytes of the inner network.
    inside: [u8; 3],
    /// What it has outside.
    wan: Wan,
    mapping: Mapping,
    daemon: Option<Process>,
}

#[derive(Debug, Clone)]
struct Wan {
    address: Ipv4Addr,
    gateway: Ipv4Addr,
    /// Whether a STUN server tells it that the address is public. Without one miniupnpd takes every
    /// address of a lab for a private one.
    has_stun: bool,
    /// Whether the home has IPv6 as well, behind a firewall: 2001:db8:N::/48, N the last byte of
    /// the address.
    has_ipv6: bool,
}

impl Lab {
    /// A home: a router with 203.0.113.`number` on the internet and 192.168.`number`.1/24 inside.
    pub fn home(&self, internet: &Switch, number: u8, mapping: Mapping) -> Result<Router> {
        internet.answer_stun()?;
        let address = Ipv4Addr::new(203, 0, 113, number);
        let wan = Wan { address, gateway: Ipv4Addr::new(203, 0, 113, 254), has_stun: true, has_ipv6: false };
        Router::new(self, &format!("home{number}"), internet, [192, 168, number], wan, mapping)
    }

    /// The same, below 10, with 2001:db8:`number`::1/64 inside as well, and a firewall that lets
    /// nobody in unasked.
    pub fn home_with_ipv6(&self, internet: &Switch, number: u8, mapping: Mapping) -> Result<Router> {
        internet.answer_stun()?;
        internet.namespace.ip(&format!("route add 2001:db8:{number}::/48 via {} dev br0", internet_v6(number)))?;
        let address = Ipv4Addr::new(203, 0, 113, number);
        let wan = Wan { address, gateway: Ipv4Addr::new(203, 0, 113, 254), has_stun: true, has_ipv6: true };
        Router::new(self, &format!("home{number}"), internet, [192, 168, number], wan, mapping)
    }

    /// A provider's router with 203.0.113.`number` on the internet and 100.64.0.1/24 inside (RFC
    /// 6598).
    pub fn carrier(&self, internet: &Switch, number: u8) -> Result<Router> {
        let address = Ipv4Addr::new(203, 0, 113, number);
        let wan = Wan { address, gateway: Ipv4Addr::new(203, 0, 113, 254), has_stun: false, has_ipv6: false };
        Router::new(self, &format!("carrier{number}"), internet, [100, 64, 0], wan, Mapping::None)
    }

    /// A home whose router has 100.64.0.`number` behind a provider's router, and
    /// 192.168.`number`.1/24 inside.
    pub fn home_behind(&self, carrier: &Router, number: u8, mapping: Mapping) -> Result<Router> {
        let wan = Wan {
            address: carrier.address_of(number),
            gateway: carrier.address_of(1),
            has_stun: false,
            has_ipv6: false,
        };
        Router::new(self, &format!("home{number}"), &carrier.lan, [192, 168, number], wan, mapping)
    }
}

impl Router {
    fn new(lab: &Lab, name: &str, outside: &Switch, inside: [u8; 3], wan: Wan, mapping: Mapping) -> Result<Self> {
        let (host, lan) = (lab.host(name)?, lab.switch(&format!("{name}-lan"))?);
        host.attach(outside, "wan", &[&format!("{}/24", wan.address)])?;
        host.ip(&format!("route add default via {} dev wan", wan.gateway))?;
        let mut router = Self { host, lan, inside, wan, mapping, daemon: None };
        router.host.attach(&router.lan, "lan", &[&format!("{}/24", router.address_of(1))])?;
        router.host.ip("route add 239.0.0.0/8 dev lan")?;
        router.sh("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        router.route_ipv6()?;
        router.load_rules()?;
        router.start_daemon()?;
        Ok(router)
    }

    /// Plugs a computer's `eth0` into the inner network, as address `number` of it, with a default
    /// route by this router.
    pub fn connect(&self, host: &Host, number: u8) -> Result<()> {
        host.attach(&self.lan, "eth0", &[&format!("{}/24", self.address_of(number))])?;
        if self.wan.has_ipv6 {
            let home = self.inside[2];
            host.ip(&format!("address add 2001:db8:{home}::{number}/64 dev eth0"))?;
            host.ip(&format!("route add default via 2001:db8:{home}::1 dev eth0"))?;
        }
        self.lead(host)
    }

    fn route_ipv6(&self) -> Result<()> {
        if !self.wan.has_ipv6 {
            return Ok(());
        }
        let home = self.inside[2];
        self.sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")?;
        self.host.ip(&format!("address add {}/128 dev wan", internet_v6(home)))?;
        self.host.ip("route add default via fe80::1 dev wan")?;
        self.host.ip(&format!("address add 2001:db8:{home}::1/64 dev lan"))
    }

    /// Makes this router the default one of a computer in the inner network, whose `eth0` has just
    /// come up.
    pub fn lead(&self, host: &Host) -> Result<()> {
        host.ip(&format!("route replace default via {} dev eth0", self.address_of(1)))
    }

    /// Address `number` of the inner network; the router itself is 1.
    #[must_use]
    pub fn address_of(&self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.inside;
        Ipv4Addr::new(a, b, c, number)
    }

    /// Its address outside.
    #[must_use]
    pub fn public_address(&self) -> Ipv4Addr {
        self.wan.address
    }

    /// Acts a power cut: everything that was mapped or connected is forgotten, and nobody answers
    /// until [`Self::power_on`].
    pub fn power_off(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill()?;
        }
        self.host.set_link("lan", false)?;
        self.host.set_link("wan", false)?;
        self.forget()
    }

    /// Ends [`Self::power_off`]; on return it forwards again, and its daemon is ready.
    pub fn power_on(&mut self) -> Result<()> {
        self.host.set_link("lan", true)?;
        self.host.set_link("wan", true)?;
        self.host.ip(&format!("route replace default via {} dev wan", self.wan.gateway))?;
        self.host.ip("route replace 239.0.0.0/8 dev lan")?;
        self.start_daemon()
    }

    /// Gives it another public address, 203.0.113.`number`, and ends all connections. The mappings
    /// stay.
    pub fn move_to(&mut self, number: u8) -> Result<()> {
        self.move_and_keep_flows(number)?;
        self.forget_flows()
    }

    /// Forgets what is under way, as it does after some minutes of silence.
    pub fn forget_flows(&self) -> Result<()> {
        self.sh("conntrack -F")
    }

    /// The same, but flows that came in by a port that was opened still leave by the old address,
    /// as with many a Linux router: the kernel forgets what was masqueraded, and nothing else.
    pub fn move_and_keep_flows(&mut self, number: u8) -> Result<()> {
        let (old, new) = (self.wan.address, Ipv4Addr::new(203, 0, 113, number));
        self.host.ip(&format!("address delete {old}/24 dev wan"))?;
        self.host.ip(&format!("address add {new}/24 dev wan"))?;
        self.host.ip(&format!("route replace default via {} dev wan", self.wan.gateway))?;
        self.wan.address = new;
        match &mut self.daemon {
            // It looks at its address anew.
            Some(daemon) => daemon.signal(rustix::process::Signal::USR1),
            None => Ok(()),
        }
    }

    /// Gives each destination another port, by chance, from now on: a symmetric NAT.
    pub fn make_symmetric(&self) -> Result<()> {
        self.translate("masquerade random,fully-random")
    }

    /// Lets UDP from `port` out from `outside` instead, whoever it is for; all else as before.
    pub fn move_udp_port(&self, port: u16, outside: u16) -> Result<()> {
        let at = SocketAddrV4::new(self.public_address(), outside);
        self.host.nft(&format!("insert rule inet filter postrouting oifname wan udp sport {port} snat ip to {at}\n"))
    }

    /// Replaces how addresses are translated, but for ports that were mapped.
    fn translate(&self, how: &str) -> Result<()> {
        let chain = "inet filter postrouting";
        self.host.nft(&format!(
            "flush chain {chain}\nadd rule {chain} oifname wan jump postrouting_miniupnpd\nadd rule {chain} oifname wan {how}\n"
        ))
    }

    /// Lets no UDP through, either way.
    pub fn block_udp(&self) -> Result<()> {
        self.host.nft("insert rule inet filter forward meta l4proto udp drop\n")
    }

    /// Forwards a TCP port by hand to computer `number` of the inner network, as its owner does on
    /// the router's page.
    pub fn forward_by_hand(&self, port: u16, number: u8, to: u16) -> Result<()> {
        let to = format!("{}:{to}", self.address_of(number));
        self.sh(&format!("nft add rule inet filter by_hand iifname wan tcp dport {port} dnat ip to {to}"))
    }

    /// Lets `neighbour`, a computer of the inner network, have this outside TCP port mapped to
    /// itself, by UPnP or NAT-PMP.
    pub fn take_port(&self, neighbour: &Host, port: u16) -> Result<()> {
        let port = port.to_string();
        match self.mapping {
            Mapping::Upnp | Mapping::All => neighbour.run("upnpc", &["-i", "-r", &port, "tcp"])?.success()?,
            Mapping::NatPmp => neighbour.run("natpmpc", &["-a", &port, &port, "tcp", "3600"])?.success()?,
            Mapping::None | Mapping::Pcp => bail!("no program for it speaks {:?}", self.mapping),
        };
        match self.mapped()?.iter().any(|(outside, _)| outside.to_string() == port) {
            true => Ok(()),
            false => bail!("{port} was not mapped: {:?}", self.mapped()?),
        }
    }

    /// TCP ports that its daemon forwards now, and where to, as its packet filter has them.
    pub fn mapped(&self) -> Result<Vec<(u16, SocketAddrV4)>> {
        self.mapped_of(TCP)
    }

    /// The same of UDP.
    pub fn mapped_udp(&self) -> Result<Vec<(u16, SocketAddrV4)>> {
        self.mapped_of(UDP)
    }

    /// How many ports of IPv6 addresses its daemon lets others in to now.
    pub fn pinholes(&self) -> Result<usize> {
        let rules = self.host.run("nft", &["list", "chain", "inet", "filter", "miniupnpd"])?.success()?;
        Ok(rules.stdout.lines().filter(|line| line.contains("@nh,192,128 0x20010db8")).count())
    }

    fn mapped_of(&self, protocol: &str) -> Result<Vec<(u16, SocketAddrV4)>> {
        let rules = self.host.run("nft", &["list", "chain", "inet", "filter", "prerouting_miniupnpd"])?.success()?;
        rules.stdout.lines().filter(|line| line.contains(protocol)).map(read_rule).collect()
    }

    /// Lets nobody outside begin a TCP connection to the inner network, whatever is forwarded.
    pub fn refuse_tcp(&self) -> Result<()> {
        self.host.nft("insert rule inet filter forward iifname wan meta l4proto tcp ct state new drop\n")
    }

    /// Requests of computers of the inner network that its daemon has heard, of any protocol.
    pub fn requests(&self) -> Result<Vec<String>> {
        let daemon = self.daemon.as_ref().context("a router with a daemon")?;
        let is_request =
            |line: &String| ["HTTP REQUEST", "request received", "M-SEARCH"].iter().any(|text| line.contains(text));
        Ok(daemon.stderr().into_iter().filter(is_request).collect())
    }

    fn load_rules(&self) -> Result<()> {
        let mut rules = String::from(RULES);
        // The protocol's version is the first byte behind the UDP header.
        match self.mapping {
            Mapping::NatPmp => rules.push_str("add rule inet filter input_lan udp dport 5351 @th,64,8 2 drop\n"),
            Mapping::Pcp => rules.push_str("add rule inet filter input_lan udp dport 5351 @th,64,8 0 drop\n"),
            _ => {}
        }
        let file = self.host.home().join("rules.nft");
        std::fs::write(&file, rules)?;
        self.sh(&format!("nft -f {}", file.display()))
    }

    /// Empties the daemon's chains and the table of connections.
    fn forget(&self) -> Result<()> {
        let chains = ["miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"];
        let flush: Vec<String> = chains.iter().map(|chain| format!("nft flush chain inet filter {chain}")).collect();
        self.sh(&flush.join("; "))?;
        self.sh("conntrack -F")
    }

    fn start_daemon(&mut self) -> Result<()> {
        if self.mapping == Mapping::None {
            return Ok(());
        }
        let (file, pid) = (self.host.home().join("miniupnpd.conf"), self.host.home().join("miniupnpd.pid"));
        // Of one that was killed: it would be taken for running.
        let _ = std::fs::remove_file(&pid);
        std::fs::write(&file, self.configuration()?)?;
        let mut command = self.host.command("miniupnpd");
        let daemon = self.host.spawn("miniupnpd", command.args(["-d", "-f"]).arg(&file).arg("-P").arg(&pid))?;
        daemon.wait_for_line(if self.speaks_upnp() { "HTTP listening on port" } else { "Listening for NAT-PMP" })?;
        self.daemon = Some(daemon);
        Ok(())
    }

    fn speaks_upnp(&self) -> bool {
        matches!(self.mapping, Mapping::Upnp | Mapping::All)
    }

    fn configuration(&self) -> Result<String> {
        let yes = |does: bool| if does { "yes" } else { "no" };
        let [a, b, c] = self.inside;
        let mut text = format!(
            "ext_ifname=wan\nlistening_ip=lan\nipv6_disable={}\nsecure_mode=yes\nhttp_port=5000\n\
             uuid=00000000-0000-0000-0000-{:012}\nenable_upnp={}\nenable_natpmp={}\n\
             upnp_table_name=filter\nupnp_nat_table_name=filter\nupnp_forward_chain=miniupnpd\n\
             upnp_nat_chain=prerouting_miniupnpd\nupnp_nat_postrouting_chain=postrouting_miniupnpd\n\
             allow 1024-65535 {a}.{b}.{c}.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
            yes(!self.wan.has_ipv6),
            c,
            yes(self.speaks_upnp()),
            yes(self.mapping != Mapping::Upnp),
        );
        if self.wan.has_ipv6 {
            text.push_str("ext_ifname6=wan\n");
        }
        if self.wan.has_stun {
            write!(text, "ext_perform_stun=yes\next_stun_host={}\next_stun_port={}\n", STUN.0, STUN.1)?;
        }
        Ok(text)
    }

    fn sh(&self, script: &str) -> Result<()> {
        self.host.run("sh", &["-ec", script])?.success().with_context(|| script.to_owned())?;
        Ok(())
    }
}

/// A home's packet filter. The daemon's chains are called from `input` too, for the answers of its
/// STUN server. What is for an address that the home had before never reaches it: a provider would
/// not deliver it.
const RULES: &str = "\
table inet filter {
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain by_hand { }
    chain input_lan { }
    chain input {
        type filter hook input priority 0; policy drop;
        iifname lo accept
        ct state established,related accept
        meta l4proto { icmp, ipv6-icmp } accept
        iifname lan jump input_lan
        iifname lan accept
        jump miniupnpd
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname lan accept
        ct status dnat accept
        jump miniupnpd
    }
    chain foreign {
        type filter hook prerouting priority -300;
        iifname wan meta nfproto ipv4 fib daddr type != { local, broadcast, multicast } drop
    }
    chain prerouting {
        type nat hook prerouting priority -100;
        jump prerouting_miniupnpd
        jump by_hand
    }
    chain postrouting {
        type nat hook postrouting priority 100;
        oifname wan jump postrouting_miniupnpd
        meta nfproto ipv4 oifname wan masquerade
    }
}
";

/// How nft writes "protocol 6" and "protocol 17" in the daemon's rules.
const TCP: &str = "@nh,72,8 0x6 ";
const UDP: &str = "@nh,72,8 0x11 ";

/// Reads `iif 2 @nh,72,8 0x6 th dport 7008 dnat ip to 192.168.1.2:7008`.
fn read_rule(rule: &str) -> Result<(u16, SocketAddrV4)> {
    let after = |text: &str| rule.split(text).nth(1).and_then(|rest| rest.split_whitespace().next());
    let port = after("th dport ").context("a port")?.parse();
    let to = after("dnat ip to ").context("an address")?.parse();
    port.ok().zip(to.ok()).with_context(|| format!("a rule like {rule}"))
}
