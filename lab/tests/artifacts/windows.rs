//! The program for Windows, under Wine: with Linux in both roles, over TCP and QUIC, stopped,
//! killed and started again.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Hardline, Host, Lab, artifact};
use serde_json::Value;

use crate::wine::Windows;

/// Bytes that go each way.
const MUCH: u64 = 100_000_000;

const STOP_LIMIT: Duration = Duration::from_secs(40);

/// A folder with a file of which no two parts are alike; returns the file's hash.
fn make_site(folder: &Path, length: u64) -> Result<String> {
    fs::create_dir_all(folder)?;
    let path = folder.join("big");
    std::io::copy(&mut File::open("/dev/urandom")?.take(length), &mut File::create(&path)?)?;
    let mut file = File::open(path)?;
    hash(&mut file)
}

fn hash(from: &mut impl std::io::Read) -> Result<String> {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(data_encoding::HEXLOWER.encode(&hash.finalize())),
            length => hash.update(&piece[..length]),
        }
    }
}

/// The hash of what a gateway of this computer answers for `/big`. On a busy machine the first
/// search may end without it; then it is asked for again, as a page does by itself.
fn download(host: &Host, gateway: SocketAddr, name: &str) -> Result<String> {
    let (header, url) = (format!("Host: {name}"), format!("http://{gateway}/big"));
    let file = host.home().join("downloaded");
    let path = file.to_string_lossy();
    let patient = ["--fail-with-body", "--retry", "3", "--max-time", "300"];
    let output = host.curl(&[&patient[..], &["--header", &header, "--output", &path, &url]].concat())?;
    output.success().with_context(|| {
        let said = fs::read(&file).unwrap_or_default();
        let said = String::from_utf8_lossy(&said[..said.len().min(1000)]).into_owned();
        format!("{name} at {gateway}: {said}")
    })?;
    hash(&mut File::open(file)?)
}

/// A second `hardline` beside a gateway, with ports and a folder of its own.
fn share_beside(host: &Host, target: &str) -> Result<Hardline> {
    host.hardline(&["share", target, "--no-dht", "--data-dir", "second", "--gateway-port", "0", "--p2p-port", "7010"])
}

/// How the only other computer that is connected is reached.
fn transport(host: &Host, program: &Hardline) -> Result<Value> {
    let mut status = host.status(program)?;
    Ok(status["peers"][0]["path"]["transport"].take())
}

fn stop(mut program: Hardline) -> Result<()> {
    // Wine makes Windows' CTRL_C_EVENT of it. Who does not handle that ends with another code.
    let status = program.process.interrupt(STOP_LIMIT)?;
    ensure!(status.code() == Some(0), "after Ctrl-C: {status}");
    Ok(())
}

/// Found by multicast, in both roles; Windows' gateway at both loopbacks.
#[test]
fn a_hundred_megabytes_go_both_ways_between_windows_and_linux() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let windows = Windows::new(&alice)?;
    let (of_windows, of_linux) = (make_site(&windows.path("site"), MUCH)?, make_site(&bob.home().join("site"), MUCH)?);
    let on_windows = windows.hardline(&["share", r"C:\hardline\site", "--no-dht"])?;
    let on_linux = bob.hardline(&["--no-dht"])?;
    ensure!(download(&bob, on_linux.gateway()?, &on_windows.service_name()?)? == of_windows, "from Windows");
    let shared = share_beside(&bob, "site")?;
    for loopback in ["127.0.0.1:7009", "[::1]:7009"] {
        let got = download(&alice, loopback.parse()?, &shared.service_name()?)?;
        ensure!(got == of_linux, "by the gateway at {loopback}");
    }
    stop(on_windows)
}

/// As in `EVERY_CHECK`, with fewer at once: the program is unoptimised, and Wine has one server for
/// all its system calls.
const CHECKS: &[&str] = &[
    "get:0",
    "get:65536",
    "chunked:300000",
    "post:0",
    "post:300000",
    "keepalive:10",
    "parallel:8:10000",
    "events",
    "websocket",
];

#[test]
fn every_exchange_works_with_windows_in_both_roles() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let windows = Windows::new(&alice)?;
    let (near, far) = (alice.backend("127.0.0.1:0")?, bob.backend("127.0.0.1:0")?);
    let on_windows = windows.hardline(&["share", &near.address.to_string(), "--no-dht"])?;
    let on_linux = bob.hardline(&["--no-dht"])?;
    bob.check_site(on_linux.gateway()?, &on_windows.service_name()?, CHECKS)?;
    let shared = share_beside(&bob, &far.address.to_string())?;
    alice.check_site(on_windows.gateway()?, &shared.service_name()?, CHECKS)
}

/// A configuration in which the service of `key` is reached over QUIC alone.
fn by_quic(folder: &Path, name: &str, address: &str) -> Result<()> {
    let peer = format!("[[peer]]\nlink = \"http://{name}/\"\naddresses = [\"quic://{address}\"]\n");
    Ok(fs::write(folder.join("quic.toml"), peer)?)
}

/// By a plain socket: Wine has no marks of congestion, as Windows 10 had none before version 2004.
#[test]
fn quic_goes_both_ways_with_windows_and_survives_a_strangers_datagram() -> Result<()> {
    const SOME: u64 = 2_000_000;
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let windows = Windows::new(&alice)?;
    let (of_windows, of_linux) = (make_site(&windows.path("site"), SOME)?, make_site(&bob.home().join("site"), SOME)?);
    let linux_share = share_beside(&bob, "site")?;
    by_quic(&windows.path(""), &linux_share.service_name()?, "192.168.77.2:7010")?;
    let only_quic = ["--no-dht", "--set", "lan.enabled=false", "--config"];
    let arguments = [&["share", r"C:\hardline\site"], &only_quic[..], &[r"C:\hardline\quic.toml"]].concat();
    let on_windows = windows.hardline(&arguments)?;
    // Longer than any packet of QUIC's: Windows tells of such a one by an error.
    bob.run("bash", &["-c", "head -c 9000 /dev/zero > /dev/udp/192.168.77.1/7008"])?.success()?;
    by_quic(bob.home(), &on_windows.service_name()?, "192.168.77.1:7008")?;
    let on_linux = bob.hardline(&[&only_quic[..], &["quic.toml"]].concat())?;
    ensure!(download(&bob, on_linux.gateway()?, &on_windows.service_name()?)? == of_windows, "from Windows");
    ensure!(transport(&bob, &on_linux)? == "quic", "Linux dials {}", bob.status(&on_linux)?);
    ensure!(download(&alice, on_windows.gateway()?, &linux_share.service_name()?)? == of_linux, "from Linux");
    ensure!(transport(&alice, &on_windows)? == "quic", "Windows dials {}", alice.status(&on_windows)?);
    Ok(())
}

/// The default folders, below the user's `AppData`.
#[test]
fn keys_and_addresses_outlive_ctrl_c_and_a_hard_kill() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let windows = Windows::new(&alice)?;
    make_site(&windows.path("site"), 1000)?;
    let of_linux = make_site(&bob.home().join("site"), 1000)?;
    let shared = share_beside(&bob, "site")?;
    let share = ["share", r"C:\hardline\site", "--no-dht"];
    let program = windows.hardline(&share)?;
    let name = program.service_name()?;
    ensure!(download(&alice, program.gateway()?, &shared.service_name()?)? == of_linux, "found by multicast");
    stop(program)?;
    // What is remembered is all that leads there from now on.
    let share = [&share[..], &["--set", "lan.enabled=false"]].concat();
    for way in ["Ctrl-C", "a hard kill"] {
        let mut program = windows.hardline(&share)?;
        ensure!(program.service_name()? == name, "another key after {way}");
        let got =
            download(&alice, program.gateway()?, &shared.service_name()?).with_context(|| format!("after {way}"))?;
        ensure!(got == of_linux, "another page after {way}");
        program.process.kill()?;
    }
    let data = windows
        .root()
        .join("users")
        .read_dir()?
        .filter_map(Result::ok)
        .map(|user| user.path().join("AppData/Roaming/hardline/data/store.sqlite3"));
    ensure!(data.filter(|store| store.exists()).count() == 1, "the store is below AppData");
    Ok(())
}

#[test]
fn doctor_speaks_in_sentences_that_help_on_windows() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, host) = lab.lone_host("alice")?;
    let windows = Windows::new(&host)?;
    let said = windows.run(&["doctor", "--no-dht"])?.success()?.stdout;
    for sentence in [
        r"The data folder C:\users\",
        "Port 7009, where browsers connect, is free.",
        "the gateway takes both halves of its port",
        "Discovery works on eth0 (192.168.77.1).",
        "Addresses of this computer: 192.168.77.1 (eth0, local network)",
    ] {
        ensure!(said.contains(sentence), "no {sentence:?} in {said}");
    }
    for foreign in ["libnss", "systemd", "Success", r"\\?\", "WRONG"] {
        ensure!(!said.contains(foreign), "{foreign:?} in {said}");
    }
    Ok(())
}

/// What docs/platforms.md lists as not seen under Wine, with the call that shows whose fault it is.
/// A newer Wine that can do more fails here, and its line goes from the list.
#[test]
fn what_wine_cannot_do_it_refuses_to_others_too() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, host) = lab.lone_host("alice")?;
    let windows = Windows::new(&host)?;
    windows.compile("refusals.c", "refusals.exe", &["-lws2_32", "-liphlpapi"])?;
    let refusals = || Ok::<_, anyhow::Error>(windows.output(r"C:\hardline\refusals.exe", &[])?.success()?.stdout);
    // WSAENOPROTOOPT is 10042; ERROR_INVALID_ACCESS 12, there is no console.
    let expected = "IP_DONTFRAGMENT 0\nIP_PKTINFO 0\nIP_RECVECN 10042\nIPV6_RECVECN 10042\nTCP_KEEPIDLE 10042\n\
                    TCP_KEEPINTVL 10042\nTCP_KEEPCNT 10042\nCTRL_BREAK_EVENT 12\n";
    let said = refusals()?;
    ensure!(said == format!("{expected}GetAdaptersAddresses 0\n"), "{said}");
    // ERROR_INVALID_DATA is 13.
    host.ip("route replace default dev eth0")?;
    let said = refusals()?;
    ensure!(said == format!("{expected}GetAdaptersAddresses 13\n"), "a route without a router: {said}");
    // What the program does then: it takes the address that it sends from.
    let said = windows.run(&["doctor", "--no-dht"])?.success()?.stdout;
    ensure!(said.contains("Discovery works on default (192.168.77.1)."), "{said}");
    // Windows' own lists the rights; Wine's takes every word and does nothing.
    let icacls = windows.output("icacls", &[r"C:\hardline\refusals.exe"])?.success()?;
    ensure!(!icacls.stdout.contains("refusals.exe"), "Wine's icacls works now: {}", icacls.stdout);
    Ok(())
}

/// By the script in the archive: for one user, again over a program that runs, and undone. What
/// `PowerShell` does in it is left out: Wine has none.
#[test]
fn the_archive_installs_updates_and_takes_itself_away() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, host) = lab.lone_host("alice")?;
    let windows = Windows::new(&host)?;
    let name = concat!("hardline-", env!("CARGO_PKG_VERSION"), "-x86_64-pc-windows-gnu");
    let zip = artifact(&format!("{name}.zip"))?;
    let unpacked = windows.path("unpacked");
    host.run("python3", &["-m", "zipfile", "-e", &zip.to_string_lossy(), &unpacked.to_string_lossy()])?.success()?;
    let mut files: Vec<_> = fs::read_dir(unpacked.join(name))?.map(|it| Ok(it?.file_name())).collect::<Result<_>>()?;
    files.sort();
    for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "hardline.toml.example", "install.cmd", "completions"] {
        ensure!(files.contains(&file.into()), "no {file} in {files:?}");
    }
    let script = format!(r"C:\hardline\unpacked\{name}\install.cmd");
    let install = |arguments: &[&str]| windows.output("cmd", &[&["/c", &script], arguments].concat());
    let run = || windows.output("reg", &["query", r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run"]);
    let said = install(&[])?.success()?.stdout;
    ensure!(said.contains("add C:\\users\\") && said.contains("to it by hand"), "the search path under Wine: {said}");
    ensure!(run()?.stdout.contains(r#"\Programs\Hardline\hardline.exe""#), "not started at log-in");

    let user = fs::read_dir(windows.root().join("users"))?
        .filter_map(|it| Some(it.ok()?.path()))
        .find(|user| user.join("AppData/Local/Programs/Hardline").exists())
        .context("the user's programs")?;
    let installed = user.join("AppData/Local/Programs/Hardline/hardline.exe");
    fs::copy(windows.path("bcryptprimitives.dll"), installed.with_file_name("bcryptprimitives.dll"))?;
    let program = format!(
        r"C:\users\{}\AppData\Local\Programs\Hardline\hardline.exe",
        user.file_name().context("a user")?.display()
    );
    let said = windows.output(&program, &["--version"])?.success()?.stdout;
    ensure!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    let running =
        Hardline::started(host.spawn("the installed one", &mut windows.command(&program, &["--json", "--no-dht"]))?)?;
    install(&[])?.success().context("over a program that runs")?;
    let refused = install(&["/wrong"])?;
    ensure!(refused.status.code() == Some(2), "{}", refused.stdout);
    stop(running)?;

    let said = install(&["/undo"])?.success()?.stdout;
    ensure!(said.contains("Hardline is removed"), "{said}");
    ensure!(!installed.exists() && !run()?.stdout.contains("Hardline"), "something of it stays");
    ensure!(user.join("AppData/Roaming/hardline").exists(), "what is remembered stays");
    Ok(())
}
