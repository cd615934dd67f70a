//! Services by their names in programs that are no browsers.

use std::fs::{self, File};
use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Host, Lab, hardline_program, is_long};

/// What a program of `hardline run` prints.
fn run(host: &Host, command: &[&str]) -> Result<String> {
    Ok(host.run(hardline_program()?, &[&["run", "--"], command].concat())?.success()?.stdout)
}

#[test]
fn rclone_keeps_files_in_a_webdav_folder_of_another_computer() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let folder = alice.home().join("dav");
    fs::create_dir_all(&folder)?;
    let mut server = alice.command("rclone");
    server.args(["serve", "webdav", "--addr", "127.0.0.1:8081", "--config", ""]).arg(&folder);
    let server = alice.spawn("rclone serve", &mut server)?;
    server.wait_for_line("Server started on")?;
    let sharing = alice.hardline(&["share", "8081"])?;
    let _gateway = bob.hardline(&[])?;

    let url = format!("http://{}/", sharing.service_name()?);
    let options = ["--config", "", "--retries", "1", "--low-level-retries", "1", "--webdav-url", &url];
    let direct = bob.run("rclone", &[&["lsf", ":webdav:"][..], &options].concat())?;
    ensure!(!direct.status.success() && direct.stderr.contains("lookup"), "without: {}", direct.stderr);

    let through = |arguments: &[&str]| run(&bob, &[&["rclone"], arguments, &options].concat());
    let payload: Vec<u8> = (0..8_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (out, back) = (bob.home().join("out/ein Ärger.bin"), bob.home().join("back.bin"));
    fs::create_dir_all(bob.home().join("out"))?;
    fs::write(&out, &payload)?;
    through(&["copy", &bob.home().join("out").to_string_lossy(), ":webdav:"])?;
    ensure!(fs::read(folder.join("ein Ärger.bin"))? == payload, "what was put");
    through(&["moveto", ":webdav:ein Ärger.bin", ":webdav:zwei Öfen.bin"])?;
    ensure!(through(&["lsf", ":webdav:"])? == "zwei Öfen.bin\n", "what is listed");
    through(&["copyto", ":webdav:zwei Öfen.bin", &back.to_string_lossy()])?;
    ensure!(fs::read(&back)? == payload, "what was got");
    if is_long() {
        let big = bob.home().join("out/ein Großes.bin");
        std::io::copy(&mut File::open("/dev/urandom")?.take(1 << 30), &mut File::create(&big)?)?;
        through(&["copyto", &big.to_string_lossy(), ":webdav:ein Ordner/ein Großes.bin"])?;
        through(&["copyto", ":webdav:ein Ordner/ein Großes.bin", &back.to_string_lossy()])?;
        bob.run("cmp", &[&big.to_string_lossy(), &back.to_string_lossy()])?
            .success()
            .context("one GiB, there and back")?;
    }
    Ok(())
}

#[test]
fn a_system_that_asks_our_dns_server_knows_names_below_localhost_and_dig_agrees() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let page = alice.home().join("page");
    fs::create_dir_all(&page)?;
    fs::write(page.join("hello.txt"), "hello")?;
    let sharing = alice.hardline(&["share", "./page"])?;
    let gateway = bob.hardline(&["--set", "dns.enabled=true", "--set", "dns.port=53"])?;
    ensure!(gateway.ready["dns"] == serde_json::json!(["127.0.0.1:53", "[::1]:53"]), "{}", gateway.ready);

    let url = format!("http://{}/hello.txt", sharing.service_name()?);
    let name = url["http://".len()..].split(':').next().unwrap_or_default();
    fs::write(bob.home().join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
    fs::write(bob.home().join("no-resolv.conf"), "nameserver 192.0.2.1\noptions timeout:1 attempts:1\n")?;
    // The mount is this program's own: `ip netns exec` gives it a table of its own.
    let asking = |resolv: &str, command: &str| {
        bob.run("sh", &["-c", &format!("mount --bind {resolv} /etc/resolv.conf && exec {command}")])
    };
    let lookup = format!("getent ahosts {name}");
    let without = asking("no-resolv.conf", &lookup)?;
    ensure!(!without.status.success(), "without: {}", without.stdout);
    let with = asking("resolv.conf", &lookup)?.success()?.stdout;
    ensure!(with.contains("127.0.0.1 ") && with.contains("::1 "), "{with}");
    let fetched = asking(
        "resolv.conf",
        &format!("rclone cat --config '' --http-url {} :http:hello.txt", url.trim_end_matches("hello.txt")),
    )?;
    ensure!(fetched.stdout == "hello", "{} {}", fetched.stdout, fetched.stderr);

    let program = hardline_program()?.display();
    let doctor = |resolv: &str, more: &str| -> Result<serde_json::Value> {
        let command = format!("{program} doctor --json --set dns.enabled=true --set dns.port={more}");
        let said = asking(resolv, &command)?.stdout;
        let mut findings = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        findings.find(|finding| finding["about"] == "names").with_context(|| format!("no finding: {said}"))
    };
    let (used, unused, absent) =
        (doctor("resolv.conf", "53")?, doctor("no-resolv.conf", "53")?, doctor("resolv.conf", "7054")?);
    ensure!(used["state"] == "fine" && used["sentence"].to_string().contains("answers DNS at port 53"), "{used}");
    ensure!(unused["state"] == "note" && unused["sentence"].to_string().contains("does not ask there"), "{unused}");
    ensure!(unused["remedy"].to_string().contains("DNS=127.0.0.1:53"), "{unused}");
    ensure!(
        absent["state"] == "note" && absent["sentence"].to_string().contains("no hardline answers DNS"),
        "{absent}"
    );
    let status = bob.status(&gateway)?;
    ensure!(status["dns"] == gateway.ready["dns"], "{status}");
    ensure!(status["sentences"].to_string().contains("looked up at 127.0.0.1:53 and [::1]:53 (DNS)"), "{status}");

    let dig = |server: &str, words: &[&str]| -> Result<String> {
        Ok(bob.run("dig", &[&[server, "+tries=1"], words].concat())?.success()?.stdout)
    };
    ensure!(dig("@127.0.0.1", &["+short", name, "A"])? == "127.0.0.1\n", "A");
    ensure!(dig("@::1", &["+short", name, "AAAA"])? == "::1\n", "AAAA");
    let other = dig("@127.0.0.1", &["example.org", "A"])?;
    ensure!(other.contains("status: REFUSED") && other.contains("ANSWER: 0"), "{other}");
    Ok(())
}
