//! Real browsers, through two daemons, with no resolver set up. The screenshots land in
//! `target/lab/screenshots`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use hardline_lab::{Hardline, Host, Lab, Process, screenshots};
use serde_json::json;

#[test]
fn chromium_opens_a_site_and_a_folder() -> Result<()> {
    a_browser_opens_a_site_and_a_folder("chromium")
}

#[test]
fn firefox_opens_a_site_and_a_folder() -> Result<()> {
    a_browser_opens_a_site_and_a_folder("firefox-esr")
}

fn a_browser_opens_a_site_and_a_folder(browser: &str) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    make_folder(&alice.home().join("holiday"))?;
    let target = backend.address.to_string();
    let services =
        format!("[[service]]\ntarget = \"{target}\"\ntitle = \"A small site\"\n[[service]]\ntarget = \"./holiday\"\n");
    let publisher = configured(&alice, &services)?;
    let _gateway = bob.hardline(&[])?;

    let links = links(&publisher)?;
    let values = bob.browse(
        browser,
        &[
            &format!("open:{}", links[0]),
            "wait:document.title === 'done'",
            "read:[...document.querySelectorAll('dd')].map(dd => dd.id + ' ' + dd.textContent)",
            &shot(browser, "site"),
            &format!("open:{}", links[1]),
            "wait:document.body.innerText.includes('notes.txt')",
            "read:document.body.innerText.includes('Straße & Café.txt')",
            &shot(browser, "folder"),
            &format!("open:{}notes.txt", links[1]),
            "wait:document.body.innerText",
            "read:document.body.innerText.trim()",
        ],
    )?;
    assert_eq!(values[0], json!(["fetch ok", "websocket ok", "events ok", "secure ok"]));
    assert_eq!(values[1], true, "the listing shows a name with odd letters");
    assert_eq!(values[2], "Bring the tent.");
    Ok(())
}

#[test]
fn chromium_shows_every_page_of_the_gateway_s_own() -> Result<()> {
    every_page_of_the_gateway_s_own("chromium")
}

#[test]
fn firefox_shows_every_page_of_the_gateway_s_own() -> Result<()> {
    every_page_of_the_gateway_s_own("firefox-esr")
}

/// Each page says in words what is wrong; how it looks is for people to judge by the screenshots.
fn every_page_of_the_gateway_s_own(browser: &str) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    make_folder(&alice.home().join("holiday"))?;
    let services = "[[service]]\ntarget = \"./holiday\"\n[[service]]\ntarget = \"127.0.0.1:9\"\ntitle = \"Down\"\n";
    let publisher = configured(&alice, services)?;
    let links = links(&publisher)?;
    let _impostor = impostor(&alice, 7444)?;
    let pretended = "00112233445566778899aabbccddeeff00112233";
    let peer = format!("[[peer]]\nlink = \"{pretended}\"\naddresses = [\"192.168.77.1:7444\"]\n");
    let _gateway = configured(&bob, &peer)?;

    let unknown = "http://router.localhost:7009/";
    let absent = "http://ffeeddccbbaa99887766554433221100ffeeddcc.localhost:7009/";
    let pretended = format!("http://{pretended}.localhost:7009/");
    let pages = [
        ("first-page", "http://localhost:7009/", "holiday"),
        ("unknown-name", unknown, "not a hardline link"),
        ("not-found", absent, "was not found"),
        ("wrong-certificate", &pretended, "somebody else answers"),
        ("backend-down", &links[1], "behind this service does not answer"),
    ];
    for (name, url, words) in pages {
        let wait = format!("wait:document.body.innerText.toLowerCase().includes('{words}')");
        let steps = [format!("open:{url}"), wait, shot(browser, name), "read:document.body.innerText".to_owned()];
        let text = bob.browse(browser, &steps.each_ref().map(String::as_str)).context(name)?;
        println!("---- {name}\n{}", text[0].as_str().unwrap_or_default());
    }
    Ok(())
}

#[test]
fn chromium_keeps_a_hostile_page_out() -> Result<()> {
    a_hostile_page_is_kept_out("chromium")
}

#[test]
fn firefox_keeps_a_hostile_page_out() -> Result<()> {
    a_hostile_page_is_kept_out("firefox-esr")
}

/// A page of one service reads neither another service nor the gateway's own pages. A link on it
/// may lead there.
fn a_hostile_page_is_kept_out(browser: &str) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    make_folder(&alice.home().join("holiday"))?;
    let services = format!("[[service]]\ntarget = \"{}\"\n[[service]]\ntarget = \"./holiday\"\n", backend.address);
    let publisher = configured(&alice, &services)?;
    let links = links(&publisher)?;
    let _gateway = bob.hardline(&[])?;

    let fetch = |url: &str| {
        format!("read:fetch('{url}').then(() => window.verdict = 'read', () => window.verdict = 'refused') && 0")
    };
    let (own, other) = (fetch("http://localhost:7009/"), fetch(&links[1]));
    let page = format!("open:{}", links[0]);
    let values = bob.browse(
        browser,
        &[
            &page,
            "wait:document.title === 'done'",
            &own,
            "wait:window.verdict",
            "read:window.verdict",
            "read:(window.verdict = '') + 'again'",
            &other,
            "wait:window.verdict",
            "read:window.verdict",
            "read:(location = 'http://localhost:7009/') && 0",
            "wait:document.title.includes('Services')",
            "read:document.querySelectorAll('a').length > 0",
        ],
    )?;
    assert_eq!(values, [json!(0), json!("refused"), json!("again"), json!(0), json!("refused"), json!(0), json!(true)]);
    Ok(())
}

/// Chromium asks no proxy for names below localhost, whatever the script says, and opens the link
/// all the same.
#[test]
fn chromium_opens_a_link_with_the_gateway_s_proxy_script() -> Result<()> {
    a_browser_opens_by_the_proxy_script("chromium", ":7009")
}

/// Firefox asks the proxy that the script names, so it needs no port: nobody listens at port 80.
#[test]
fn firefox_opens_a_service_through_the_proxy_that_the_script_names() -> Result<()> {
    a_browser_opens_by_the_proxy_script("firefox-esr", "")
}

fn a_browser_opens_by_the_proxy_script(browser: &str, port: &str) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    make_folder(&alice.home().join("holiday"))?;
    let publisher = configured(&alice, "[[service]]\ntarget = \"./holiday\"\n")?;
    let key = publisher.ready["services"][0]["key"].as_str().context("a key")?.to_owned();
    let _gateway = bob.hardline(&[])?;
    // What the script does not name is asked for directly: the script's own place, for one.
    let values = bob.browse(
        browser,
        &[
            "pac:http://localhost:7009/proxy.pac",
            &format!("open:http://{key}.localhost{port}/notes.txt"),
            "wait:document.body.innerText",
            "read:document.body.innerText.trim()",
            "open:http://localhost:7009/",
            "wait:document.title.includes('Services')",
            "read:location.host",
        ],
    )?;
    assert_eq!(values, [json!("Bring the tent."), json!("localhost:7009")]);
    Ok(())
}

/// A TLS server that takes every name, with a certificate of its own.
fn impostor(host: &Host, port: u16) -> Result<Process> {
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout k.pem -out c.pem";
    host.run("openssl", &request.split(' ').collect::<Vec<_>>())?.success()?;
    let mut command = host.command("openssl");
    command.args(["s_server", "-accept", &port.to_string(), "-key", "k.pem", "-cert", "c.pem", "-www"]);
    let server = host.spawn("impostor", &mut command)?;
    server.wait_for_line("ACCEPT")?;
    Ok(server)
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("photos"))?;
    fs::write(folder.join("notes.txt"), "Bring the tent.\n")?;
    fs::write(folder.join("Straße & Café.txt"), "An odd name.\n")?;
    Ok(fs::write(folder.join("map.pdf"), vec![0; 123_456])?)
}

fn configured(host: &Host, toml: &str) -> Result<Hardline> {
    fs::write(host.home().join("hardline.toml"), toml)?;
    host.hardline(&["--config", "hardline.toml"])
}

fn links(publisher: &Hardline) -> Result<Vec<String>> {
    let services = publisher.ready["services"].as_array().context("services")?;
    let links = services.iter().map(|service| service["link_elsewhere"].as_str().map(str::to_owned));
    links.collect::<Option<_>>().context("a link for each service")
}

fn shot(browser: &str, name: &str) -> String {
    format!("shot:{}", screenshots().join(format!("{browser}-{name}.png")).display())
}
