//! Programs that are no pages, with their own clients: each works as it is, over a link, a
//! forwarded port or a connection by name.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Hardline, Host, Lab, Output, hardline_program};

/// Bytes of which no two parts are alike.
fn write_random(path: &Path, length: u64) -> Result<()> {
    std::io::copy(&mut File::open("/dev/urandom")?.take(length), &mut File::create(path)?)?;
    Ok(())
}

/// Makes the service at `link` a port of this host.
fn forward(host: &Host, link: &str, port: &str) -> Result<Hardline> {
    host.hardline(&["forward", link, "--local", port])
}

#[test]
fn git_clones_over_http_and_pushes_fifty_megabytes() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let _server = alice.git_server()?;
    let sharing = alice.hardline(&["share", "8080"])?;
    let _gateway = bob.hardline(&[])?;
    let url = format!("http://{}/project.git", sharing.service_name()?);
    let git = |arguments: &[&str]| Ok::<_, anyhow::Error>(bob.run("git", arguments)?.success()?.stdout);

    git(&["clone", "--quiet", &url, "mine"])?;
    ensure!(fs::read_to_string(bob.home().join("mine/README"))? == "A project.\n", "what is cloned");
    write_random(&bob.home().join("mine/big.bin"), 50_000_000)?;
    git(&["-C", "mine", "add", "big.bin"])?;
    git(&["-C", "mine", "-c", "user.name=Bob", "-c", "user.email=bob@example.org", "commit", "-qm", "much"])?;
    git(&["-C", "mine", "push", "--quiet", "origin", "main"])?;
    let object = git(&["-C", "mine", "rev-parse", "main:big.bin"])?;
    let there = ["--git-dir=repositories/project.git", "rev-parse", "main:big.bin"];
    ensure!(alice.run("git", &there)?.success()?.stdout == object, "what is pushed");

    git(&["clone", "--quiet", &url, "again"])?;
    git(&["-C", "again", "fsck", "--full", "--strict"])?;
    ensure!(git(&["-C", "again", "hash-object", "big.bin"])? == object, "what is cloned again");
    Ok(())
}

#[test]
fn ssh_runs_rsync_and_forwards_ports_both_ways() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    // The server drops root for what it hears before it knows who asks.
    if !lab.has_users()? {
        return Ok(());
    }
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let _sshd = alice.sshd(&bob.ssh_key("key")?)?;
    let sharing = alice.hardline(&["share", "2222"])?;
    let link = sharing.service_name()?;
    let known = "-F none -i key -o IdentitiesOnly=yes -o UserKnownHostsFile=known -o StrictHostKeyChecking=accept-new";
    let (hardline, home) = (hardline_program()?.display(), bob.home().display());
    let known = known.replace("key ", &format!("{home}/key ")).replace("=known", &format!("={home}/known"));
    let ssh = format!("ssh {known} -o ProxyCommand='{hardline} connect {link}'");
    let shell = |script: &str| -> Result<Output> { bob.run("sh", &["-c", script])?.success() };

    ensure!(shell(&format!("echo there and back | {ssh} root@home cat"))?.stdout == "there and back\n", "ssh");
    rsync_carries_a_folder(&alice, &bob, &ssh)?;

    // -L for a program of alice's, -R for one of bob's.
    let (hers, his) = (alice.backend("127.0.0.1:0")?, bob.backend("127.0.0.1:0")?);
    let script = format!(
        "exec {ssh} -v -N -o ExitOnForwardFailure=yes -L 9001:{} -R 9002:{} root@home",
        hers.address, his.address
    );
    let forwarding = bob.spawn("ssh", bob.command("sh").args(["-c", &script]))?;
    forwarding.wait_for_line("remote forward success for: listen 9002")?;
    let checks = ["get:300000", "post:300000", "websocket"];
    bob.check_site("127.0.0.1:9001".parse()?, "localhost", &checks)?;
    alice.check_site("127.0.0.1:9002".parse()?, "localhost", &checks)?;

    let _forward = forward(&bob, &link, "2200")?;
    ensure!(shell(&format!("ssh {known} -p 2200 root@127.0.0.1 echo by port"))?.stdout == "by port\n", "forward");
    Ok(())
}

/// Twice: the second time only what has changed.
fn rsync_carries_a_folder(alice: &Host, bob: &Host, ssh: &str) -> Result<()> {
    let (here, there) = (bob.home().join("papers"), alice.home().join("papers"));
    fs::create_dir_all(here.join("ein Ordner"))?;
    write_random(&here.join("ein Ordner/groß.bin"), 20_000_000)?;
    fs::write(here.join("note.txt"), "first")?;
    let target = format!("root@home:{}/", there.display());
    let rsync = || bob.run("rsync", &["-a", "--itemize-changes", "-e", ssh, "papers/", &target])?.success();
    rsync()?;
    fs::write(here.join("note.txt"), "second")?;
    let changed = rsync()?.stdout;
    ensure!(changed.lines().count() == 1 && changed.contains("note.txt"), "{changed}");
    let compared = alice.run("diff", &["-r", &here.to_string_lossy(), &there.to_string_lossy()])?;
    compared.success().context("what rsync has carried")?;
    Ok(())
}

#[test]
fn a_database_of_postgres_is_filled_dumped_and_restored_through_a_forwarded_port() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let (_postgres, url) = alice.postgres()?;
    let sharing = alice.hardline(&["share", "5432"])?;
    let _forward = forward(&bob, &sharing.service_name()?, "5433")?;
    let at = |database: &str| format!("{url}127.0.0.1:5433/{database}");
    let psql = |database: &str, arguments: &[&str]| -> Result<String> {
        let database = at(database);
        let options = ["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", &database];
        Ok(bob.run("psql", &[&options, arguments].concat())?.success()?.stdout)
    };
    let fill = "create table numbers as select n, md5(n::text) as digest from generate_series(1, 300000) as n";
    psql("postgres", &["-c", fill])?;
    psql("postgres", &["-c", "create database other"])?;
    bob.run("pg_dump", &["--file=dump.sql", &at("postgres")])?.success()?;
    psql("other", &["-f", "dump.sql"])?;
    let digest = "select count(*), md5(string_agg(digest, '' order by n)) from numbers";
    let (first, second) = (psql("postgres", &["-c", digest])?, psql("other", &["-c", digest])?);
    ensure!(first == second && first.starts_with("300000|"), "{first} {second}");
    let refused = bob.run("psql", &[&at("postgres").replace("a-password", "another"), "-c", "select 1"])?;
    ensure!(refused.stderr.contains("password authentication failed"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn mosquitto_carries_messages_between_websocket_and_a_forwarded_port() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let _mosquitto = alice.mosquitto()?;
    let services =
        "[[service]]\nname = \"websocket\"\ntarget = \"9001\"\n[[service]]\nname = \"mqtt\"\ntarget = \"1883\"\n";
    fs::write(alice.home().join("hardline.toml"), services)?;
    let publisher = alice.hardline(&["--config", "hardline.toml"])?;
    let link = |index: usize| publisher.ready["services"][index]["link_elsewhere"].as_str().context("a link");
    let name = link(0)?.trim_start_matches("http://").trim_end_matches('/');
    let _gateway = bob.hardline(&[])?;
    let _forward = forward(&bob, link(1)?, "1884")?;

    let mut command = bob.python_client_program("mqtt_over_websocket.py")?;
    let subscriber = bob.spawn("a subscriber", command.args(["subscribe", "7009", name, "house/#"]))?;
    subscriber.wait_for_line("subscribed")?;
    let mut command = bob.command("stdbuf");
    command.args(["-oL", "mosquitto_sub", "-d", "-p", "1884", "-q", "1", "-t", "house/#"]);
    let other = bob.spawn("mosquitto_sub", &mut command)?;
    other.wait_for_line("Subscribed (mid")?;

    bob.run("mosquitto_pub", &["-p", "1884", "-q", "1", "-t", "house/door", "-m", "open"])?.success()?;
    subscriber.wait_for_line("message 4 open")?;
    let mut command = bob.python_client_program("mqtt_over_websocket.py")?;
    let long = "warm".repeat(20_000);
    command.args(["publish", "7009", name, "house/stove", &long]);
    let mut publishing = bob.spawn("a publisher", &mut command)?;
    subscriber.wait_for_line("message 80000 warm")?;
    other.wait_for_line(&long)?;
    ensure!(publishing.wait(std::time::Duration::from_secs(30))?.success(), "{:?}", publishing.stderr());
    Ok(())
}

#[test]
fn grpc_calls_and_streams_through_a_forwarded_port() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let _echo = alice.grpc_echo()?;
    let sharing = alice.hardline(&["share", "50051"])?;
    let _forward = forward(&bob, &sharing.service_name()?, "50052")?;
    let mut command = bob.python_client_program("grpc_echo.py")?;
    let mut asking = bob.spawn("grpc", command.args(["ask", "127.0.0.1:50052"]))?;
    asking.wait_for_line("refused")?;
    ensure!(asking.wait(std::time::Duration::from_secs(60))?.success(), "{:?}", asking.stderr());
    let expected = ["said True 20080000", "talked True", "refused NOT_FOUND nothing of that name"];
    ensure!(asking.stdout() == expected, "{:?}", asking.stdout());
    Ok(())
}
