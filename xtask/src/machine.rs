//! What the tests and the comparison need from the machine, and how it comes there.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::dist::has_library;
use crate::steps::{run, succeeds};

/// Something that is used, and Debian's package of it.
pub(crate) struct Need {
    package: &'static str,
    why: &'static str,
    is_there: fn() -> bool,
}

/// For the tests.
pub(crate) const TESTS: &[Need] = &[
    Need { package: "iproute2", why: "several computers in one: network namespaces", is_there: || program("ip", "-V") },
    Need { package: "nftables", why: "routers, lost and counted packets", is_there: || program("nft", "--version") },
    Need { package: "iputils-ping", why: "round trips of the lab's networks", is_there: || program("ping", "-V") },
    Need { package: "yggdrasil", why: "a real mesh", is_there: || program("yggdrasil", "-version") },
    Need { package: "procps", why: "looking at running programs", is_there: || program("ps", "--version") },
    Need { package: "curl", why: "asking the gateway as a program does", is_there: || program("curl", "--version") },
    Need { package: "openssl", why: "TLS with every kind of certificate", is_there: || program("openssl", "version") },
    Need { package: "python3", why: "the released Python program", is_there: || program("python3", "--version") },
    Need { package: "python3-venv", why: "the Python program's own environments", is_there: has_venv },
    Need { package: "chromium", why: "a real browser", is_there: || program("chromium", "--version") },
    Need { package: "firefox-esr", why: "another real browser", is_there: || program("firefox-esr", "--version") },
    Need { package: "dhtnode", why: "released nodes of the DHT", is_there: || program("dhtnode", "--version") },
    Need { package: "python3-opendht", why: "another kind of released node", is_there: has_opendht },
    Need {
        package: "conntrack",
        why: "routers that forget connections",
        is_there: || program("conntrack", "--version"),
    },
    Need {
        package: "miniupnpd-nftables",
        why: "a real router's port mapping",
        is_there: || exists("/usr/sbin/miniupnpd"),
    },
    Need {
        package: "miniupnpc",
        why: "another computer that maps a port by UPnP",
        is_there: || exists("/usr/bin/upnpc"),
    },
    Need { package: "natpmpc", why: "the same by NAT-PMP", is_there: || exists("/usr/bin/natpmpc") },
    Need {
        package: "nginx-light",
        why: "a site with a name of its own, and HTTPS",
        is_there: || exists("/usr/sbin/nginx"),
    },
    Need {
        package: "transmission-daemon",
        why: "a program that refuses other names",
        is_there: || program("transmission-daemon", "--version"),
    },
    Need {
        package: "rclone",
        why: "a program that resolves names by itself, and WebDAV",
        is_there: || program("rclone", "version"),
    },
    Need { package: "git", why: "a program for links: git over HTTP", is_there: || program("git", "--version") },
    Need { package: "fcgiwrap", why: "git's server behind nginx", is_there: || exists("/usr/sbin/fcgiwrap") },
    Need { package: "openssh-server", why: "a program to connect to: ssh", is_there: || exists("/usr/sbin/sshd") },
    Need { package: "openssh-client", why: "the same", is_there: || program("ssh", "-V") },
    Need { package: "rsync", why: "the same", is_there: || program("rsync", "--version") },
    Need { package: "postgresql", why: "a program to forward: a database", is_there: has_postgres },
    Need { package: "mosquitto", why: "a program to forward: MQTT", is_there: || exists("/usr/sbin/mosquitto") },
    Need { package: "mosquitto-clients", why: "the same", is_there: || exists("/usr/bin/mosquitto_pub") },
    Need { package: "syncthing", why: "another program that refuses names", is_there: || exists("/usr/bin/syncthing") },
    Need { package: "bind9-dnsutils", why: "asking our DNS server as others do", is_there: || program("dig", "-v") },
    Need { package: "dnsmasq-base", why: "a DNS server behind a service", is_there: || exists("/usr/sbin/dnsmasq") },
    Need { package: "wireguard-tools", why: "WireGuard behind a service", is_there: || program("wg", "--version") },
    Need {
        package: "wireguard-go",
        why: "the same where the kernel has none",
        is_there: || program("wireguard-go", "--version"),
    },
    Need { package: "faketime", why: "a computer whose clock is wrong", is_there: || program("faketime", "--version") },
    Need { package: "fonts-dejavu-core", why: "legible screenshots", is_there: has_fonts },
];

/// For the tests that take minutes, beside those.
pub(crate) const LONG_TESTS: &[Need] = &[
    Need {
        package: "qemu-user-static",
        why: "the programs for ARM",
        is_there: || program("qemu-aarch64-static", "--version"),
    },
    Need { package: "nodejs", why: "programs with pages", is_there: || program("node", "--version") },
    Need { package: "npm", why: "the same", is_there: || program("npm", "--version") },
    Need { package: "build-essential", why: "a part of one in C", is_there: || program("make", "--version") },
    Need { package: "libnode-dev", why: "the same", is_there: || exists("/usr/include/node/node.h") },
    Need { package: "gitweb", why: "the same", is_there: || exists("/usr/share/gitweb/gitweb.cgi") },
    Need { package: "radicale", why: "the same", is_there: || program("radicale", "--version") },
];

/// For the comparison with other tunnels.
pub(crate) const PEERS: &[Need] = &[
    Need { package: "iproute2", why: "network namespaces", is_there: || program("ip", "-V") },
    Need { package: "openssl", why: "certificates for the peers", is_there: || program("openssl", "version") },
    Need { package: "stunnel4", why: "a peer", is_there: || program("stunnel", "-version") },
    Need { package: "haproxy", why: "a peer", is_there: || program("/usr/sbin/haproxy", "-v") },
    Need { package: "socat", why: "a peer", is_there: || program("socat", "-V") },
    Need { package: "libssl-dev", why: "building rathole, a peer", is_there: has_openssl_headers },
    Need { package: "pkg-config", why: "the same", is_there: || program("pkg-config", "--version") },
    Need { package: "python3-venv", why: "the released Python program, a peer", is_there: has_venv },
];

/// For running here what is built for other systems, and for looking at packages.
pub(crate) const ARTIFACTS: &[Need] = &[
    Need { package: "lintian", why: "what Debian expects of a package", is_there: || program("lintian", "--version") },
    Need { package: "debootstrap", why: "a Debian to install it in", is_there: || program("debootstrap", "--version") },
    Need { package: "skopeo", why: "reading container images", is_there: || program("skopeo", "--version") },
    Need { package: "umoci", why: "unpacking them", is_there: || program("umoci", "--version") },
    Need { package: "docker-compose", why: "reading compose.yaml", is_there: || program("docker-compose", "version") },
    Need { package: "shellcheck", why: "faults of install.sh", is_there: || program("shellcheck", "--version") },
    Need { package: "busybox", why: "a computer with little else", is_there: || program("busybox", "--list") },
    Need { package: "dash", why: "Debian's shell", is_there: || exists("/usr/bin/dash") },
    Need { package: "wget", why: "fetching without curl", is_there: || program("wget", "--version") },
    Need { package: "wine", why: "running the program for Windows", is_there: || program("wine", "--version") },
    Need { package: "wine64", why: "the same, on 64 bits", is_there: || exists("/usr/lib/wine/wine64") },
];

/// For building on this system what runs on others.
pub(crate) const CROSS: &[Need] = &[
    Need { package: "gcc-mingw-w64-x86-64", why: "programs for Windows", is_there: has_mingw },
    Need { package: "build-essential", why: "parts of the program in C", is_there: || program("make", "--version") },
    Need { package: "python3-venv", why: "fetching zig, which compiles C", is_there: has_venv },
    Need { package: "libz3-4", why: "a library of the compiler", is_there: || has_library("libz3.so.4") },
    Need { package: "libedit2", why: "the same", is_there: || has_library("libedit.so.2") },
    Need { package: "libxml2", why: "the same", is_there: || has_library("libxml2.so.2") },
];

/// For the Android app: building it and looking at it.
pub(crate) const ANDROID: &[Need] = &[
    Need { package: "default-jdk-headless", why: "compiling Java", is_there: || program("javac", "--version") },
    Need {
        package: "libasm-java",
        why: "reading what it made",
        is_there: || exists("/usr/share/java/asm-analysis.jar"),
    },
    Need { package: "libsmali-java", why: "making Android's bytecode", is_there: || program("smali", "--version") },
    Need { package: "aapt", why: "the app's manifest and resources", is_there: || program("aapt", "version") },
    Need { package: "android-framework-res", why: "the names in them", is_there: has_framework },
    Need { package: "zipalign", why: "looking where the app's files lie", is_there: || exists("/usr/bin/zipalign") },
    Need { package: "apksigner", why: "signing the app", is_there: || program("apksigner", "version") },
    Need { package: "dexdump", why: "looking at the bytecode", is_there: || exists("/usr/bin/dexdump") },
    Need { package: "enjarify", why: "reading it back, to run it here", is_there: || exists("/usr/bin/enjarify") },
    Need { package: "libandroid-json-org-java", why: "Android's JSON on a computer", is_there: has_json },
    Need { package: "junit4", why: "tests in Java", is_there: || exists("/usr/share/java/junit4.jar") },
];

/// Runs a command during which packages start no services (Debian's `policy-rc.d`), and where
/// systemd is, leaves those that came with it switched off, also at the next start.
const NO_SERVICES: &str = r#"
units() { systemctl list-unit-files --no-legend --state=enabled 2>/dev/null | cut -d ' ' -f 1 | sort; }
policy=/usr/sbin/policy-rc.d
before=$(units)
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh
exit 101
' > "$policy" && chmod 755 "$policy"
fi
"$@" || exit
for unit in $(units); do
    printf '%s
' "$before" | grep -qxF "$unit" || systemctl --quiet disable "$unit"
done
"#;

/// Installs what is missing with apt-get; says what and why.
///
/// # Errors
/// If something is missing and cannot be installed, or is missing still afterwards.
pub(crate) fn prepare(purpose: &str, needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        println!("Everything the {purpose} need is already installed.");
        return Ok(());
    }
    println!("The {purpose} need some of Debian's packages, which are installed now:");
    for need in &missing {
        println!("  {:18} {}", need.package, need.why);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    run(apt_get()?.args(["update", "--quiet"])).context("reading the list of packages")?;
    let mut install = as_root();
    // The tests start the programs that they need by themselves, and nothing else shall.
    install.args(["sh", "-c", NO_SERVICES, "sh", "apt-get", "install", "--quiet", "--yes", "--no-install-recommends"]);
    run(install.args(&packages))?;
    let still: Vec<&str> = missing.iter().filter(|need| !(need.is_there)()).map(|need| need.package).collect();
    if !still.is_empty() {
        bail!("installed, but still not usable: {}", still.join(", "));
    }
    Ok(())
}

/// Whether this process may do as it likes.
pub(crate) fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"))
}

fn apt_get() -> Result<Command> {
    if !program("apt-get", "--version") {
        bail!("no apt-get here: install the packages above by your system's own means and run this again");
    }
    let mut command = as_root();
    command.arg("apt-get");
    Ok(command)
}

fn as_root() -> Command {
    let mut command = Command::new(if is_root() { "env" } else { "sudo" });
    command.arg("DEBIAN_FRONTEND=noninteractive");
    command
}

fn program(name: &str, version_flag: &str) -> bool {
    succeeds(name, &[version_flag])
}

fn has_framework() -> bool {
    exists("/usr/share/android-framework-res/framework-res.apk")
}

fn has_json() -> bool {
    exists("/usr/share/java/json-android.jar")
}

fn has_mingw() -> bool {
    program("x86_64-w64-mingw32-gcc", "--version")
}

fn has_openssl_headers() -> bool {
    succeeds("pkg-config", &["--exists", "openssl"])
}

fn has_venv() -> bool {
    succeeds("python3", &["-c", "import venv, ensurepip"])
}

fn has_postgres() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    versions.is_ok_and(|mut it| it.any(|version| version.is_ok_and(|it| it.path().join("bin/initdb").exists())))
}

fn has_opendht() -> bool {
    succeeds("/usr/bin/python3", &["-c", "import opendht"])
}

fn has_fonts() -> bool {
    exists("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
}

fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
