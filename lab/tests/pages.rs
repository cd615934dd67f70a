//! Programs with pages, opened in Chromium through a gateway that keeps pages to their own service:
//! what the pages do works, and the browser has nothing to say against them.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Hardline, Host, Lab, Switch, screenshots};
use hardline_node::apps;
use serde_json::{Value, json};

/// A publisher, and a visitor with a gateway.
struct World {
    _switch: Switch,
    alice: Host,
    bob: Host,
    _gateway: Hardline,
    _lab: Lab,
}

impl World {
    /// `None` where it cannot be.
    fn open() -> Result<Option<Self>> {
        let Some(lab) = Lab::open()? else { return Ok(None) };
        let (switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let gateway = bob.hardline(&[])?;
        Ok(Some(Self { _switch: switch, alice, bob, _gateway: gateway, _lab: lab }))
    }

    /// Publishes alice's program, opens `path` of it in bob's browser, and goes through `steps`.
    /// The page must do nothing that its policy forbids; then it is made to, which is seen.
    fn page(&self, name: &str, target: &str, flags: &[&str], path: &str, steps: &[&str]) -> Result<Vec<Value>> {
        let sharing = self.alice.hardline(&[&["share", target], flags].concat())?;
        let open = format!("open:http://{}{path}", sharing.service_name()?);
        let shot = format!("shot:{}", screenshots().join(format!("page-{name}.png")).display());
        let forbidden = "read:(fetch('http://127.0.0.1:1/').catch(() => window.isRefused = true), 0)";
        let rest = [&shot, "console:", forbidden, "wait:window.isRefused", "console:"];
        let mut values = self.bob.browse("chromium", &[&[open.as_str()], steps, &rest].concat())?;
        let (after, _, before) = (values.pop(), values.pop(), values.pop());
        let (after, before) = (violations(after)?, violations(before)?);
        ensure!(after.iter().any(|line| line.contains("http://127.0.0.1:1/")), "not seen: {after:#?}");
        ensure!(before.is_empty(), "{before:#?}");
        Ok(values)
    }
}

/// The lines of a console about what a policy forbids. A font at `about:blank` is how a library
/// that measures fonts (MathJax) asks for none: nothing is there, with a policy or without.
fn violations(console: Option<Value>) -> Result<Vec<String>> {
    let lines = console.and_then(|lines| lines.as_array().cloned()).context("a console")?;
    let lines = lines.iter().filter_map(Value::as_str).filter(|line| line.contains("Content Security Policy"));
    Ok(lines.filter(|line| !line.starts_with("Loading the font 'about:blank'")).map(str::to_owned).collect())
}

#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn jupyter() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let (_jupyter, notebook) = world.alice.jupyter()?;
    let cell = "Jupyter.notebook.get_cell(0)";
    let steps = [
        "wait:window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel && Jupyter.notebook.kernel.is_connected()",
        &format!("read:({cell}.execute(), true)"),
        &format!("wait:{cell}.output_area.outputs.length > 0"),
        &format!("read:{cell}.output_area.outputs[0].text.trim()"),
    ];
    let values = world.page("jupyter", "8888", &["--app", "jupyter"], &notebook, &steps)?;
    ensure!(values[1] == json!("answer 42"), "{values:?}");
    Ok(())
}

#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn transmission() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let _transmission = world.alice.transmission()?;
    let magnet = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a-try";
    let steps = [
        "wait:window.transmission && transmission.remote",
        &format!("read:(transmission.remote.addTorrentByUrl('{magnet}', {{paused: true}}), 0)"),
        "wait:document.querySelector('.torrent_name')?.textContent === 'a-try'",
    ];
    world.page("transmission", "9091", &["--app", "transmission"], "/transmission/web/", &steps)?;
    Ok(())
}

#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn syncthing() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let (_syncthing, key) = world.alice.syncthing()?;
    let ask = |path: &str, options: &[&str]| -> Result<String> {
        let (key, url) = (format!("X-API-Key: {key}"), format!("http://127.0.0.1:8384/rest/{path}"));
        Ok(world.alice.curl(&[&["--header", &key, &url], options].concat())?.success()?.stdout)
    };
    ask("system/error", &["--data", "a notice for the page"])?;
    let steps = [
        "wait:/Identification\\s+[A-Z0-9]{6}/.test(document.body.innerText)",
        "wait:document.body.innerText.includes('a notice for the page')",
        "read:(document.querySelector('[ng-click=\"clearErrors()\"]').click(), 0)",
        "wait:!document.body.innerText.includes('a notice for the page')",
    ];
    world.page("syncthing", "8384", &[], "/", &steps)?;
    let left = ask("system/error", &[])?;
    ensure!(!left.contains("a notice for the page"), "{left}");
    Ok(())
}

/// A flow is deployed in the editor, answers a request, and tells the editor of it (WebSocket).
#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn node_red() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let _node_red = world.alice.node_red()?;
    let flow = json!([
        {"id": "tab", "type": "tab", "label": "A flow"},
        {"id": "in", "type": "http in", "z": "tab", "x": 100, "y": 100, "url": "/hello", "method": "get",
         "wires": [["text", "debug"]]},
        {"id": "text", "type": "template", "z": "tab", "x": 300, "y": 100, "field": "payload", "format": "html",
         "syntax": "mustache", "template": "hello from a flow", "output": "str", "wires": [["out"]]},
        {"id": "out", "type": "http response", "z": "tab", "x": 500, "y": 100, "wires": []},
        {"id": "debug", "type": "debug", "z": "tab", "x": 300, "y": 200, "active": true, "tosidebar": true,
         "complete": "true", "targetType": "full", "wires": []},
    ]);
    let steps = [
        "wait:window.RED && RED.nodes && RED.nodes.getType('http in') && RED.workspaces.count() > 0",
        &format!("read:(RED.nodes.import({flow}), RED.nodes.dirty(true), RED.actions.invoke('core:deploy-flows'), 0)"),
        "wait:(fetch('/hello').then(it => it.text()).then(it => window.said = it), window.said === 'hello from a flow')",
        "wait:document.querySelector('.red-ui-debug-msg')",
    ];
    world.page("node-red", "1880", &[], "/", &steps)?;
    let said = world.alice.curl(&["http://127.0.0.1:1880/hello"])?.stdout;
    ensure!(said == "hello from a flow", "{said}");
    Ok(())
}

/// A change of a file reaches the page, which is not loaded again for it.
#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn vite() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let _vite = world.alice.vite()?;
    let other = world.alice.curl(&[
        "--header",
        "Host: app.example",
        "--write-out",
        "%{http_code}",
        "http://127.0.0.1:5173/",
    ])?;
    let (refused, status) = other.stdout.split_at(other.stdout.len().saturating_sub(3));
    ensure!(status == "403" && apps::refusal("/", 403, refused).is_some_and(|it| it.who == "Vite"), "{refused}");
    let steps = [
        "wait:document.title === 'connected' && document.querySelector('#text').textContent === 'first, says the worker'",
        "read:(fetch('/change', {method: 'POST'}), window.isFirst = true)",
        "wait:document.querySelector('#text').textContent === 'second, says the worker'",
        "read:window.isFirst",
    ];
    let values = world.page("vite", "5173", &[], "/", &steps)?;
    ensure!(values == [json!(true), json!(true)], "{values:?}");
    Ok(())
}

/// The page for the first user, who is made from it and signs in at the WebSocket.
#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn home_assistant() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let _home = world.alice.home_assistant(&[])?;
    let steps = [
        "wait:document.querySelector('ha-onboarding')?.shadowRoot?.textContent.length > 0",
        FIRST_USER,
        "wait:window.said === 'auth_ok'",
    ];
    world.page("home-assistant", "8123", &["--app", "home-assistant"], "/", &steps)?;
    Ok(())
}

const FIRST_USER: &str = "read:((async () => {
    const client_id = `${location.origin}/`;
    const user = { name: 'Bob', username: 'bob', password: 'a-password', language: 'en', client_id };
    const made = await fetch('/api/onboarding/users', { method: 'POST', body: JSON.stringify(user) });
    const code = (await made.json()).auth_code;
    const body = new URLSearchParams({ grant_type: 'authorization_code', code, client_id });
    const token = await (await fetch('/auth/token', { method: 'POST', body })).json();
    const socket = new WebSocket(`ws://${location.host}/api/websocket`);
    socket.onmessage = message => {
        window.said = JSON.parse(message.data).type;
        if (said === 'auth_required')
            socket.send(JSON.stringify({ type: 'auth', access_token: token.access_token }));
    };
})(), 0)";

/// The folder's files come by a WebSocket.
#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn code_server() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let (_editor, path) = world.alice.code_server()?;
    let steps = ["wait:document.querySelector('.explorer-folders-view [aria-label=\"note.txt\"]')"];
    world.page("code-server", "8080", &["--app", "code-server"], &path, &steps)?;
    Ok(())
}

#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn gitweb() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let _servers = world.alice.gitweb()?;
    // Who has written which line, asked for piece by piece.
    let steps = ["wait:document.querySelector('table.blame .sha1 a')?.textContent.length >= 7"];
    let path = "/?p=project.git;a=blame_incremental;f=README;hb=main";
    world.page("gitweb", "8080", &[], path, &steps)?;
    Ok(())
}

#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn nginx() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let site = "server { listen 127.0.0.1:8080; location / { root site; autoindex on; charset utf-8; } }";
    let folder = world.alice.home().join("nginx/site/ein Ordner");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("Straße & Café.txt"), "An odd name.\n")?;
    let (_nginx, _) = world.alice.nginx(site)?;
    let steps = [
        "wait:document.querySelector('a[href*=\"Ordner\"]')",
        "read:(document.querySelector('a[href*=\"Ordner\"]').click(), 0)",
        "wait:document.querySelector('a[href*=\"Caf\"]')",
        "read:(document.querySelector('a[href*=\"Caf\"]').click(), 0)",
        "wait:document.body.innerText.trim() === 'An odd name.'",
    ];
    world.page("nginx", "8080", &[], "/", &steps)?;
    Ok(())
}

#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn mosquitto() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let _mosquitto = world.alice.mosquitto_with_a_page()?;
    world.page("mosquitto", "9001", &[], "/", &["wait:document.title === 'house/door open'"])?;
    Ok(())
}

/// A calendar is made in the page.
#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn radicale() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let _radicale = world.alice.radicale()?;
    let steps = [
        "wait:document.querySelector('#loadingscene.hidden') && document.querySelector('#loginscene:not(.hidden)')",
        "read:(document.querySelector('#loginscene [data-name=user]').value = 'bob', 0)",
        "read:(document.querySelector('#loginscene button').click(), 0)",
        "wait:document.querySelector('#collectionsscene:not(.hidden)')",
        "read:(document.querySelector('#collectionsscene [data-name=new]').click(), 0)",
        "wait:document.querySelector('#createcollectionscene:not(.hidden)')",
        "read:(document.querySelector('#createcollectionscene [data-name=displayname]').value = 'Friends', 0)",
        "read:(document.querySelector('#createcollectionscene [data-name=submit]').click(), 0)",
        "wait:document.querySelector('#collectionsscene:not(.hidden)')?.innerText.includes('Friends')",
    ];
    world.page("radicale", "5232", &[], "/.web/", &steps)?;
    let kept = world.alice.run("grep", &["-r", "Friends", "collections"])?.success()?.stdout;
    ensure!(kept.contains("VCALENDAR"), "{kept}");
    Ok(())
}

/// A note that is written in the page is kept by the server.
#[test]
#[ignore = "takes minutes to install: cargo xtask test --long"]
fn tiddlywiki() -> Result<()> {
    let Some(world) = World::open()? else { return Ok(()) };
    let _tiddlywiki = world.alice.tiddlywiki()?;
    let note = "/recipes/default/tiddlers/Note";
    let steps = [
        "wait:window.$tw && $tw.syncer && $tw.wiki",
        "read:($tw.wiki.addTiddler(new $tw.Tiddler({title: 'Note', text: 'from the page'})), 0)",
        &format!("wait:(fetch('{note}').then(it => window.answer = it.status), window.answer === 200)"),
    ];
    world.page("tiddlywiki", "8080", &[], "/", &steps)?;
    let kept = fs::read_to_string(world.alice.home().join("wiki/tiddlers/Note.tid"))?;
    ensure!(kept.ends_with("from the page"), "{kept}");
    Ok(())
}
