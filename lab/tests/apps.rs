//! Programs that people put behind a service, opened on another computer: each is published twice,
//! as it is and with the line of `docs/apps.md`. Without the line it fails, with it it works.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Hardline, Host, Lab, Switch, screenshots};
use hardline_node::apps;
use serde_json::{Value, json};

/// A publisher, a visitor, and the services of the one opened by the other.
struct World {
    _switch: Switch,
    alice: Host,
    bob: Host,
    _gateway: Hardline,
}

/// A service with and without its line, as links without the slash at the end.
struct Links {
    publisher: Hardline,
    raw: String,
    right: String,
}

impl World {
    fn new(lab: &Lab) -> Result<Self> {
        let (switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let gateway = bob.hardline(&[])?;
        Ok(Self { _switch: switch, alice, bob, _gateway: gateway })
    }

    /// Publishes the program at `target` as it is, and with `lines` at `right_target`.
    fn publish(&self, target: &str, right_target: &str, lines: &str) -> Result<Links> {
        let toml = format!(
            "[[service]]\nname = \"raw\"\ntitle = \"raw\"\ntarget = \"{target}\"\n\
             [[service]]\nname = \"right\"\ntitle = \"right\"\ntarget = \"{right_target}\"\n{lines}\n"
        );
        fs::write(self.alice.home().join("hardline.toml"), toml)?;
        let publisher = self.alice.hardline(&["--config", "hardline.toml"])?;
        let link = |index: usize| -> Result<String> {
            let link = publisher.ready["services"][index]["link_elsewhere"].as_str().context("a link")?;
            Ok(link.trim_end_matches('/').to_owned())
        };
        let (raw, right) = (link(0)?, link(1)?);
        Ok(Links { raw, right, publisher })
    }

    /// Head and body of what bob gets.
    fn get(&self, url: &str, options: &[&str]) -> Result<String> {
        Ok(self.bob.curl(&[&["--include", url], options].concat())?.stdout)
    }

    /// What doctor says of a service on alice's computer.
    fn doctor(&self, service: &str) -> Result<String> {
        let arguments = ["--config", "hardline.toml", "doctor", service];
        Ok(self.alice.run(hardline_lab::hardline_program()?, &arguments)?.stdout)
    }
}

#[test]
fn a_notebook_of_jupyter_opens_and_runs_a_cell() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let (_jupyter, notebook) = world.alice.jupyter()?;
    let links = world.publish("8888", "8888", "app = \"jupyter\"")?;
    let refused = world.get(&format!("{}{notebook}", links.raw), &[])?;
    ensure!(refused.starts_with("HTTP/1.1 403 "), "without the line: {refused:.500}");
    let said = world.doctor("raw")?;
    ensure!(said.contains("Jupyter answers 403") && said.contains("app = \"jupyter\""), "{said}");
    ensure!(world.doctor("right")?.starts_with("ok "), "{}", world.doctor("right")?);

    let cell = "Jupyter.notebook.get_cell(0)";
    let values = world.bob.browse(
        "chromium",
        &[
            &format!("open:{}{notebook}", links.right),
            "wait:window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel && Jupyter.notebook.kernel.is_connected()",
            &format!("read:({cell}.execute(), true)"),
            &format!("wait:{cell}.output_area.outputs.length > 0"),
            &format!("read:{cell}.output_area.outputs[0].text.trim()"),
            &format!("shot:{}", screenshots().join("jupyter.png").display()),
        ],
    )?;
    ensure!(values[1] == json!("answer 42"), "{values:?}");
    drop(links.publisher);
    Ok(())
}

#[test]
fn a_torrent_is_added_to_transmission_by_rpc() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let _transmission = world.alice.transmission()?;
    let links = world.publish("9091", "9091", "app = \"transmission\"")?;
    let refused = world.get(&format!("{}/transmission/rpc", links.raw), &[])?;
    ensure!(refused.starts_with("HTTP/1.1 421 "), "without the line: {refused:.500}");
    let said = world.doctor("raw")?;
    ensure!(said.contains("Transmission answers 421") && said.contains("app = \"transmission\""), "{said}");

    let rpc = format!("{}/transmission/rpc", links.right);
    let asked = world.get(&rpc, &[])?;
    let session = asked.lines().find(|line| line.starts_with("X-Transmission-Session-Id: ")).context("a session")?;
    let call = |body: Value| -> Result<Value> {
        let said = world.bob.curl(&["--header", session, "--data", &body.to_string(), &rpc])?.success()?;
        serde_json::from_str(&said.stdout).with_context(|| said.stdout.clone())
    };
    let magnet = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a-try";
    let added = call(json!({"method": "torrent-add", "arguments": {"filename": magnet, "paused": true}}))?;
    ensure!(added["result"] == "success", "{added}");
    let torrents = call(json!({"method": "torrent-get", "arguments": {"fields": ["name"]}}))?;
    ensure!(torrents["arguments"]["torrents"][0]["name"] == "a-try", "{torrents}");
    let page = world.get(&format!("{}/transmission/web/", links.right), &[])?;
    ensure!(page.starts_with("HTTP/1.1 200 ") && page.contains("Transmission"), "{page:.500}");
    drop(links.publisher);
    Ok(())
}

#[test]
fn syncthing_opens_by_the_address_of_a_forwarded_port() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let (_syncthing, key) = world.alice.syncthing()?;
    let links = world.publish("8384", "8384", "app = \"syncthing\"")?;
    let forward = |link: &str, at: &str| world.bob.hardline(&["forward", link, "--local", at]);
    let _forwards = [forward(&links.raw, "192.168.77.2:9000")?, forward(&links.right, "192.168.77.2:9001")?];
    let refused = world.get("http://192.168.77.2:9000/", &[])?;
    ensure!(refused.starts_with("HTTP/1.1 403 "), "without the line: {refused:.500}");
    // Doctor asks by the link's name, which is local; it would know this answer.
    let known = apps::refusal("/", 403, &refused).map(|it| it.setting);
    ensure!(known == Some("app = \"syncthing\""), "{refused:.500}");

    let page = world.get("http://192.168.77.2:9001/", &[])?;
    ensure!(page.starts_with("HTTP/1.1 200 ") && page.contains("<title ng-bind="), "{page:.2000}");
    let (status, key) = ("http://192.168.77.2:9001/rest/system/status", format!("X-API-Key: {key}"));
    let known = world.get(status, &["--header", &key])?;
    ensure!(known.starts_with("HTTP/1.1 200 ") && known.contains("\"myID\""), "{known:.500}");
    ensure!(world.get(status, &[])?.starts_with("HTTP/1.1 403 "), "without its key");
    // By its link it is local, without the line too.
    let by_link = world.get(&format!("{}/rest/system/status", links.raw), &["--header", &key])?;
    ensure!(by_link.starts_with("HTTP/1.1 200 ") && by_link.contains("\"myID\""), "{by_link:.500}");
    drop(links.publisher);
    Ok(())
}

#[test]
fn an_nginx_with_a_name_of_its_own_shows_its_site_and_redirects_into_it() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let servers = "
        server { listen 127.0.0.1:8080 default_server; return 404 'another site'; }
        server { listen 127.0.0.1:8080; server_name app.example; server_name_in_redirect on;
                 location = /home/ { default_type text/plain; return 200 'the right site'; }
                 location / { return 302 http://app.example:8080/home/; } }";
    let (_nginx, _) = world.alice.nginx(servers)?;
    let links = world.publish("8080", "8080", "host_header = \"app.example\"")?;
    let other = world.get(&links.raw, &["--location"])?;
    ensure!(other.contains("another site") && !other.contains("the right site"), "without the line: {other}");
    let right = world.get(&links.right, &["--location"])?;
    ensure!(right.contains(&format!("Location: {}/home/\r\n", links.right)), "{right}");
    ensure!(right.ends_with("the right site"), "{right}");
    drop(links.publisher);
    Ok(())
}

#[test]
fn an_nginx_that_speaks_https_with_a_certificate_of_its_own_opens_at_http() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let servers = "
        server { listen 127.0.0.1:8443 ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem;
                 location / { default_type text/plain; return 200 'over $scheme'; } }";
    let (_nginx, fingerprint) = world.alice.nginx(servers)?;
    let lines = format!("backend_certificate = \"{fingerprint}\"\nhost_header = \"target\"");
    let links = world.publish("127.0.0.1:8443", "https://127.0.0.1:8443", &lines)?;
    let raw = world.get(&links.raw, &[])?;
    ensure!(raw.contains("plain HTTP request was sent to HTTPS port"), "without the lines: {raw}");
    ensure!(world.doctor("raw")?.contains("begins with https://"), "{}", world.doctor("raw")?);
    let right = world.get(&links.right, &[])?;
    ensure!(right.starts_with("HTTP/1.1 200 ") && right.ends_with("over https"), "{right}");
    drop(links.publisher);

    // Without the fingerprint nobody vouches for it, and doctor says which it is.
    let links = world.publish("8443", "https://127.0.0.1:8443", "")?;
    let unverified = world.get(&links.right, &[])?;
    ensure!(unverified.starts_with("HTTP/1.1 502 ") && !unverified.contains("over https"), "{unverified}");
    let (said, digits) = (world.doctor("right")?, fingerprint.replace(':', "").to_lowercase());
    ensure!(said.contains(digits.trim_start_matches("sha256")), "{said} {fingerprint}");
    drop(links.publisher);
    Ok(())
}

/// As it is a link needs nothing; who asks it hears only from those whom it was told to believe.
#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn home_assistant_opens_and_hears_who_asks_once_it_trusts_us() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let home = world.alice.home_assistant(&[])?;
    let links = world.publish("8123", "8123", "app = \"home-assistant\"\nforwarded = true")?;
    home_assistant_greets(&world, &links.raw)?;
    let refused = world.get(&links.right, &[])?;
    ensure!(refused.starts_with("HTTP/1.1 400 ") && refused.ends_with("400: Bad Request"), "{refused:.500}");
    home.wait_for_line("A request from a reverse proxy was received from 127.0.0.1, but your HTTP integration")?;
    let said = world.doctor("right")?;
    ensure!(said.contains("Home Assistant answers 400") && said.contains("trusted_proxies: [127.0.0.1]"), "{said}");
    ensure!(world.doctor("raw")?.starts_with("ok "), "{}", world.doctor("raw")?);
    drop((links, home));

    let home = world.alice.home_assistant(&["use_x_forwarded_for: true", "trusted_proxies: [127.0.0.1]"])?;
    let links = world.publish("8123", "8123", "app = \"home-assistant\"\nforwarded = true")?;
    home_assistant_greets(&world, &links.right)?;
    ensure!(world.doctor("right")?.starts_with("ok "), "{}", world.doctor("right")?);
    let unknown = world.get(&format!("{}/api/", links.right), &[])?;
    ensure!(unknown.starts_with("HTTP/1.1 401 "), "{unknown:.500}");
    let logged = home.wait_for_line("invalid authentication")?;
    ensure!(logged.contains("(192.168.77.2)"), "{logged}");
    drop(links.publisher);
    Ok(())
}

/// Its page opens at `link`, and its WebSocket asks who it is.
fn home_assistant_greets(world: &World, link: &str) -> Result<()> {
    let socket = "(window.socket = new WebSocket(`ws://${location.host}/api/websocket`), \
                   socket.onmessage = it => window.said = it.data, 0)";
    let values = world.bob.browse(
        "chromium",
        &[
            &format!("open:{link}/"),
            "wait:document.title === 'Home Assistant' && location.pathname === '/onboarding.html'",
            &format!("read:{socket}"),
            "wait:window.said",
            "read:JSON.parse(window.said).type",
        ],
    )?;
    ensure!(values[1] == json!("auth_required"), "{values:?}");
    Ok(())
}

/// It compares `Origin` with `Host`, and with the host in `Forwarded` where that is there, which it
/// takes with the quotes that RFC 7239 wants around a port.
#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn code_server_lists_a_folder_and_keeps_other_sites_out() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let (_editor, path) = world.alice.code_server()?;
    let links = world.publish("8080", "8080", "app = \"code-server\"")?;
    for link in [&links.raw, &links.right] {
        let shot = format!("shot:{}", screenshots().join("code-server.png").display());
        let listed = "wait:document.querySelector('.explorer-folders-view [aria-label=\"note.txt\"]')";
        world.bob.browse("chromium", &[&format!("open:{link}{path}"), listed, &shot])?;
        for (origin, status) in [(link.as_str(), "101"), ("http://evil.example", "403")] {
            let answer = upgrade(&world, link, origin)?;
            ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{origin} at {link}: {answer:.500}");
        }
    }
    drop(links);
    let links = world.publish("8080", "8080", "app = \"code-server\"\nforwarded = true")?;
    let answer = upgrade(&world, &links.right, &links.right)?;
    ensure!(answer.starts_with("HTTP/1.1 403 "), "docs/apps.md says so: {answer:.500}");
    drop(links.publisher);
    Ok(())
}

/// The head of what code-server answers when a page of `origin` asks for a WebSocket.
fn upgrade(world: &World, link: &str, origin: &str) -> Result<String> {
    let origin = format!("Origin: {origin}");
    let mut options = vec!["--max-time", "3", "--http1.1"];
    for header in [
        &origin,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ] {
        options.extend(["--header", header]);
    }
    let wanted = "reconnectionToken=00000000-0000-4000-8000-000000000000&reconnection=false";
    world.get(&format!("{link}/?{wanted}"), &options)
}
