//! A small Debian in a folder, to install packages in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail};
use hardline_lab::{Host, Lab};

/// Runs a command with this folder as root, and with a /proc, that no other command sees.
const INSIDE: &str = r#"set -eu
root=$1; shift
mount --rbind /proc "$root/proc"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root \
    "$(command -v chroot)" "$root" "$@"
"#;

/// What dpkg and apt note for themselves, and what is not on the disk.
const NOTES: [&str; 5] = ["proc", "var/lib/dpkg", "var/lib/apt", "var/log", "var/cache"];

/// One test's Debian.
pub(crate) struct Debian {
    root: PathBuf,
}

impl Debian {
    /// A copy of the smallest Debian of this machine's own release.
    pub(crate) fn new(lab: &Lab) -> Result<Self> {
        let root = lab.dir().join("debian");
        succeed(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(base()?).arg(&root))?;
        // It need not survive a loss of power.
        std::fs::write(root.join("etc/dpkg/dpkg.cfg.d/unsafe-io"), "force-unsafe-io\n")?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A command on the host with this Debian as its disk, for the caller to add arguments to.
    pub(crate) fn command(&self, host: &Host, program: &str) -> Command {
        let mut command = host.command("sh");
        command.args(["-c", INSIDE, "sh"]).arg(&self.root).arg(program);
        command
    }

    /// Runs a script to its end and gives back what it printed.
    pub(crate) fn sh(&self, host: &Host, script: &str) -> Result<String> {
        succeed(self.command(host, "sh").args(["-euc", script]))
    }

    /// Every file and folder, but for dpkg's and apt's notes.
    pub(crate) fn files(&self) -> Result<BTreeSet<String>> {
        let mut command = Command::new("find");
        command.current_dir(&self.root).args([".", "-mindepth", "1", "("]);
        for (number, folder) in NOTES.iter().enumerate() {
            command.args(if number > 0 { &["-o"][..] } else { &[] }).args(["-path", &format!("./{folder}")]);
        }
        let found = succeed(command.args([")", "-prune", "-o", "-print"]))?;
        Ok(found.lines().map(|line| line.trim_start_matches('.').to_owned()).collect())
    }
}

/// Made once on a machine, by debootstrap.
fn base() -> Result<&'static Path> {
    static BASE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = BASE.get_or_init(|| make_base().map_err(|err| format!("{err:#}")));
    made.as_deref().map_err(|err| anyhow!("no Debian: {err}"))
}

fn make_base() -> Result<PathBuf> {
    let (suite, mirror) = own_mirror()?;
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/lab")).canonicalize()?;
    let base = folder.join(format!("debian-{suite}"));
    if !base.exists() {
        let unfinished = folder.join(format!("debian-{suite}.unfinished"));
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)?;
        }
        succeed(Command::new("debootstrap").args(["--variant=minbase", &suite]).arg(&unfinished).arg(&mirror))?;
        std::fs::rename(&unfinished, &base)?;
    }
    Ok(base)
}

/// This machine's release of Debian, and where its apt gets it.
fn own_mirror() -> Result<(String, String)> {
    let release = std::fs::read_to_string("/etc/os-release")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).context("a Debian")?;
    let format = ["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"];
    let sources = succeed(Command::new("apt-get").args(format))?;
    let mirror = sources.lines().find_map(|line| line.strip_prefix(suite)?.strip_prefix(' '));
    Ok((suite.to_owned(), mirror.with_context(|| format!("where apt gets {suite} from: {sources}"))?.to_owned()))
}

/// Runs a command that must succeed, and gives back what it printed.
pub(crate) fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("{command:?}: {}\n{stdout}{stderr}", output.status);
    }
    Ok(stdout.into_owned())
}
