//! What a page of another computer's service may do on the visitor's, in real browsers: nothing
//! that reaches a program there or in the network, unless the service is trusted.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Backend, Hardline, Host, Lab, Switch};
use serde_json::json;

/// Every way that `lab/src/bin/hardline-lab/hostile.html` tries. The last needs a service worker,
/// which an isolated service does not get.
const WAYS: [&str; 19] = [
    "fetch",
    "post",
    "beacon",
    "websocket",
    "events",
    "image",
    "script",
    "style",
    "iframe",
    "form",
    "redirect",
    "frameredirect",
    "srcdoc",
    "blob",
    "ownframe",
    "svg",
    "worker",
    "blobworker",
    "serviceworker",
];

/// What it tries to reach: programs of the visitor's computer by each name that leads there, and
/// another computer of its network. Beside these it tries another service.
const HERE: [&str; 4] = ["127.0.0.1:8001", "localhost:8001", "192.168.77.2:8001", "192.168.77.3:8002"];

#[test]
fn chromium_keeps_a_page_away_from_this_computer_and_its_network() -> Result<()> {
    a_page_is_kept_away("chromium")
}

#[test]
fn firefox_keeps_a_page_away_from_this_computer_and_its_network() -> Result<()> {
    a_page_is_kept_away("firefox-esr")
}

/// Two services of alice, and those who listen on bob's computer and in his network.
struct World {
    _switch: Switch,
    bob: Host,
    link: String,
    at: Vec<String>,
    witnesses: [Backend; 3],
    https: Backend,
    _kept: (Host, Host, Hardline, Backend),
}

/// The same page, isolated and trusted: what arrives when it is trusted shows that its tries are
/// real.
fn a_page_is_kept_away(browser: &str) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let gateway = world.bob.hardline(&[])?;
    world.what_it_may_do_works(browser)?;
    ensure!(world.https.process.stdout().contains(&"arrived tls".to_owned()), "https is blocked");
    let top = "wait:window.violated === 'form-action'";
    world.try_all(browser, top)?;
    ensure!(world.arrived().is_empty(), "isolated: {:#?}", world.arrived());
    gateway.process.discard();

    let peer = format!("[[peer]]\nlink = \"{}\"\ntrusted = true\n", world.link);
    fs::write(world.bob.home().join("hardline.toml"), peer)?;
    let _gateway = world.bob.hardline(&["--config", "hardline.toml"])?;
    world.try_all(browser, "wait:location.pathname === '/top'")?;
    let lines = world.arrived();
    let expected = world.at.iter().flat_map(|host| WAYS.map(|way| format!("arrived {host} /{way}")));
    let missing: Vec<String> = expected.filter(|line| !lines.contains(line)).collect();
    ensure!(missing.is_empty(), "trusted, but not there: {missing:#?}");
    ensure!(lines.contains(&format!("arrived {} /top", HERE[0])), "{lines:#?}");
    Ok(())
}

impl World {
    fn new(lab: &Lab) -> Result<Self> {
        let (switch, [alice, bob, carol]) = lab.lan(["alice", "bob", "carol"])?;
        let site = alice.backend("127.0.0.1:0")?;
        let other = alice.witness("127.0.0.1:0")?;
        let service = |name: &str, at: SocketAddr| format!("[[service]]\nname = \"{name}\"\ntarget = \"{at}\"\n");
        let toml = service("site", site.address) + &service("other", other.address);
        fs::write(alice.home().join("hardline.toml"), toml)?;
        let publisher = alice.hardline(&["--config", "hardline.toml"])?;
        let link = |index: usize| publisher.ready["services"][index]["link_elsewhere"].as_str().context("a link");
        let (link, other_link) = (link(0)?.to_owned(), link(1)?.to_owned());
        let other_name = other_link.trim_start_matches("http://").trim_end_matches('/');
        let at = HERE.iter().chain([&other_name]).map(|&at| at.to_owned()).collect();
        let witnesses = [bob.witness("0.0.0.0:8001")?, carol.witness("192.168.77.3:8002")?, other];
        let https = carol.witness("192.168.77.3:8003")?;
        Ok(Self { _switch: switch, bob, link, at, witnesses, https, _kept: (alice, carol, publisher, site) })
    }

    /// The service's own fetches, uploads, WebSocket, events and workers, and what speaks HTTPS.
    fn what_it_may_do_works(&self, browser: &str) -> Result<()> {
        let worker = "(() => { const text = `fetch('${location.origin}/slow/1').then(a => a.text()).then(postMessage)`; \
            new Worker(URL.createObjectURL(new Blob([text]))).onmessage = event => window.heard = event.data; return 0; })()";
        let https = "read:(fetch('https://192.168.77.3:8003/', {mode: 'no-cors'}).catch(() => window.asked = 1), 0)";
        let read = "read:[...document.querySelectorAll('dd')].map(dd => dd.id + ' ' + dd.textContent)";
        let worker = format!("read:{worker}");
        let open = format!("open:{}", self.link);
        let steps = [
            &open,
            "wait:document.title === 'done'",
            read,
            &worker,
            "wait:window.heard === 'slow'",
            https,
            "wait:window.asked",
        ];
        let values = self.bob.browse(browser, &steps)?;
        ensure!(values[0] == json!(["fetch ok", "websocket ok", "events ok", "secure ok"]), "{values:?}");
        Ok(())
    }

    /// Opens the hostile page, which tries everything; then it sends a form that takes its own
    /// place, and what `top` waits for happens.
    fn try_all(&self, browser: &str, top: &str) -> Result<()> {
        let form = format!(
            "read:(() => {{ document.addEventListener('securitypolicyviolation', \
             event => window.violated = event.effectiveDirective); \
             const form = document.createElement('form'); form.method = 'POST'; form.action = 'http://{}/top'; \
             document.body.append(form); \
             setTimeout(() => {{ try {{ form.submit(); }} catch {{ window.violated = 'form-action'; }} }}); return 0; }})()",
            HERE[0]
        );
        let at = self.at.join(",");
        // A few at a time: some wait in vain for an answer.
        let mut steps = Vec::new();
        for ways in WAYS.chunks(5) {
            steps.push(format!("open:{}hostile?ways={}&at={at}", self.link, ways.join(",")));
            steps.push("wait:document.title === 'tried'".to_owned());
        }
        steps.extend([form, top.to_owned()]);
        self.bob.browse(browser, &steps.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(())
    }

    /// What has arrived, in lines.
    fn arrived(&self) -> Vec<String> {
        let lines = self.witnesses.iter().flat_map(|witness| witness.process.stdout());
        lines.filter(|line| line.starts_with("arrived ")).collect()
    }
}
