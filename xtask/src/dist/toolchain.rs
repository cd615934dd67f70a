//! A compiler for other systems, from registry packages alone: Debian's newest rustc with the
//! library's sources, and zig from PyPI as C compiler and linker. Nothing of it is installed in the
//! system; it lies in `target/dist/toolchain`.
//!
//! Runners-up: rustup's own targets, where their server is reached; `cargo-zigbuild`, which does
//! what the wrappers do and still needs those; Debian's `musl-tools`, for this processor alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::target::Target;
use super::wrappers;
use crate::machine::{self, CROSS};
use crate::steps::{cargo, run};

/// Where it lies. Inside the repository: cargo then names the library's sources by their place in
/// it, and the same commit gives the same program in another folder.
pub(super) const FOLDER: &str = "target/dist/toolchain";

/// Where programs for other systems are built.
const BUILD: &str = "target/dist/build";

/// zig, with its hash.
const ZIG: &str = "ziglang==0.17.1 --hash=sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54\n";

/// Debian's compiler, and the sources of its library. What else they need is asked of apt.
const COMPILER: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Beginnings of the names of packages that the compiler loads from its own folder.
const BESIDE: [&str; 2] = ["libstd-rust-web", "libllvm"];

/// Says of what the folder is filled, once it is.
const STAMP: &str = "complete";

/// Changes with the way the folder is filled.
const RECIPE: u32 = 1;

/// What becomes of warnings about our own code. A release builds also with a newer compiler, which
/// warns of more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warnings {
    Shown,
    Denied,
}

/// The compiler, ready to use.
pub(crate) struct Toolchain {
    repository: PathBuf,
    folder: PathBuf,
}

impl Toolchain {
    /// What of the folder was fetched, and is the same in every repository.
    pub(super) const FETCHED: [&str; 3] = ["rust", "zig", STAMP];

    /// Fetches what is missing.
    ///
    /// # Errors
    /// If a package cannot be had or unpacked, or the machine is no Debian on x86-64.
    pub(crate) fn prepare() -> Result<Self> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            bail!("programs for other systems are built on Debian for x86-64");
        }
        machine::prepare("programs for other systems", CROSS)?;
        let repository = std::env::current_dir()?;
        let toolchain = Self { folder: repository.join(FOLDER), repository };
        let stamp = toolchain.folder.join(STAMP);
        let recipe = format!("{RECIPE} {ZIG}");
        if std::fs::read_to_string(&stamp).is_ok_and(|found| found == recipe) {
            toolchain.write_wrappers()?;
            return Ok(toolchain);
        }
        println!("The compiler for other systems is fetched from Debian and PyPI into {FOLDER}, once.");
        if toolchain.folder.exists() {
            std::fs::remove_dir_all(&toolchain.folder).context("removing an incomplete toolchain")?;
        }
        std::fs::create_dir_all(&toolchain.folder)?;
        toolchain.fetch_compiler()?;
        toolchain.fetch_zig()?;
        toolchain.write_wrappers()?;
        std::fs::write(stamp, recipe)?;
        Ok(toolchain)
    }

    /// A command of cargo for the target, `build` say, with everything set that it takes. It runs
    /// in the repository, and puts what it makes below [`Self::build_folder`].
    pub(crate) fn cargo(&self, target: Target, subcommand: &str, warnings: Warnings) -> Command {
        let mut command = cargo(&[subcommand, "-Zbuild-std=std,panic_unwind", "--locked", "--target", target.triple()]);
        command.current_dir(&self.repository).arg("--target-dir").arg(self.build_folder());
        // Another's settings would make another program.
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOC"]
        {
            command.env_remove(variable);
        }
        // A stable compiler; that it builds its library is an unstable option of cargo.
        command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", self.folder.join("bin/rustc"));
        let mut flags = self.rust_flags(target);
        if warnings == Warnings::Denied {
            // cargo tells the compiler to be lenient with the code of others.
            flags.push("-Dwarnings".into());
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        // Built once, and looked into by no debugger.
        command
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_PROFILE_DEV_STRIP", "symbols")
            .env("CARGO_INCREMENTAL", "false");
        command.env("ZIG_GLOBAL_CACHE_DIR", self.folder.join("zig-cache"));
        command.env("ZIG_LOCAL_CACHE_DIR", self.folder.join("zig-cache"));
        let name = target.triple().replace('-', "_");
        if target.zig().is_some() {
            let compiler = self.folder.join("bin").join(format!("cc-{}", target.triple()));
            command.env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), &compiler);
            command.env(format!("CC_{name}"), compiler);
            command.env(format!("AR_{name}"), self.folder.join("bin/ar"));
        }
        command.env(format!("CFLAGS_{name}"), self.c_flags());
        if target == Target::LinuxArm64 {
            // A kernel's pages have 4, 16 (Raspberry Pi 5, newer phones) or 64 KiB there, and
            // jemalloc works with pages as large as it was told or smaller ones.
            command.env("JEMALLOC_SYS_WITH_LG_PAGE", "16");
        }
        command
    }

    /// Where cargo puts what it makes: `TRIPLE/PROFILE/hardline` below it.
    pub(crate) fn build_folder(&self) -> PathBuf {
        self.repository.join(BUILD)
    }

    /// The sources of Rust's library, with its own crates in `vendor`.
    pub(super) fn library(&self) -> PathBuf {
        self.folder.join("rust/usr/lib/rustlib/src/rust/library")
    }

    /// What Debian says of the licences of the library and its crates.
    pub(super) fn library_copyright(&self) -> PathBuf {
        self.folder.join("rust/usr/share/doc").join(COMPILER[1]).join("copyright")
    }

    /// The version of the compiler.
    ///
    /// # Errors
    /// If it does not tell.
    pub(super) fn rust_version(&self) -> Result<String> {
        let output = Command::new(self.folder.join("bin/rustc")).arg("--version").output().context("asking rustc")?;
        let said = String::from_utf8(output.stdout)?;
        // rustc 1.96.0 (…)
        Ok(said.split(' ').nth(1).with_context(|| format!("a version in {said:?}"))?.to_owned())
    }

    /// zig with the libraries that it links.
    pub(super) fn zig_folder(&self) -> PathBuf {
        self.folder.join("zig/ziglang")
    }

    /// zig's version.
    pub(super) fn zig_version() -> &'static str {
        ZIG.trim_start_matches("ziglang==").split(' ').next().unwrap_or_default()
    }

    /// A folder of this machine → what the program may say of it.
    fn renamed_folders(&self) -> Vec<(PathBuf, &'static str)> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
        let mut folders = vec![
            // The last that fits is taken.
            (self.repository.clone(), "hardline"),
            (self.folder.join("rust/usr/src"), "rust"),
            (self.folder.join("rust/usr/lib/rustlib/src"), "rust"),
        ];
        folders.extend(home.map(|home| (home, "cargo")));
        folders
    }

    fn rust_flags(&self, target: Target) -> Vec<String> {
        let mut flags: Vec<String> = self
            .renamed_folders()
            .iter()
            .map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display()))
            .collect();
        if target.is_linux() {
            // zig brings the start files and the C library.
            flags.extend(["-Clink-self-contained=no".into(), "-Ctarget-feature=+crt-static".into()]);
        }
        flags
    }

    fn c_flags(&self) -> String {
        let mut flags = String::from("-g0");
        for (folder, name) in self.renamed_folders() {
            let _ = write!(flags, " -ffile-prefix-map={}={name}", folder.display());
        }
        flags
    }

    fn fetch_compiler(&self) -> Result<()> {
        let archives = self.folder.join("debian");
        std::fs::create_dir_all(&archives)?;
        run(Command::new("apt-get").arg("download").args(compiler_packages()?).current_dir(&archives))
            .context("fetching Debian's compiler; `apt-get update` helps where the list of packages is old")?;
        let into = self.folder.join("rust");
        for entry in std::fs::read_dir(&archives)? {
            run(Command::new("dpkg-deb").arg("--extract").arg(entry?.path()).arg(&into))?;
        }
        std::fs::remove_dir_all(archives).context("removing the packages")
    }

    fn fetch_zig(&self) -> Result<()> {
        let wanted = self.folder.join("zig.txt");
        std::fs::write(&wanted, ZIG)?;
        // Debian's python3 has no pip, but an environment of one's own has.
        let environment = self.folder.join("python");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]);
        pip.arg("--require-hashes").arg("--requirement").arg(wanted).arg("--target").arg(self.folder.join("zig"));
        run(&mut pip)
    }

    fn write_wrappers(&self) -> Result<()> {
        let bin = self.folder.join("bin");
        std::fs::create_dir_all(&bin)?;
        let zig = self.folder.join("zig/ziglang/zig");
        wrappers::write(&bin.join("rustc"), &wrappers::rustc(&self.folder.join("rust")))?;
        wrappers::write(&bin.join("ar"), &wrappers::ar(&zig))?;
        for target in <Target as clap::ValueEnum>::value_variants() {
            if let Some(words) = target.zig() {
                wrappers::write(&bin.join(format!("cc-{}", target.triple())), &wrappers::cc(&zig, words))?;
            }
        }
        Ok(())
    }
}

/// Debian's names of the compiler's packages, some of which carry a version.
fn compiler_packages() -> Result<Vec<String>> {
    let mut apt = Command::new("apt-cache");
    apt.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks"]);
    let output = apt.args(["--no-replaces", "--no-enhances", COMPILER[0]]).output().context("asking apt-cache")?;
    let packages = pick_packages(&String::from_utf8(output.stdout)?);
    if packages.len() < COMPILER.len() + BESIDE.len() {
        bail!("Debian's list of packages here has no complete {}; `apt-get update` may help", COMPILER[0]);
    }
    Ok(packages)
}

/// The compiler's packages out of the answer of `apt-cache depends`.
fn pick_packages(answer: &str) -> Vec<String> {
    let is_beside = |line: &&str| BESIDE.iter().any(|beginning| line.starts_with(beginning));
    answer.lines().filter(is_beside).chain(COMPILER).map(str::to_owned).collect()
}

/// Whether the system has a library that the compiler loads from it.
pub(crate) fn has_library(name: &str) -> bool {
    Path::new("/usr/lib/x86_64-linux-gnu").join(name).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versioned_packages_are_found_and_the_systems_own_left_out() {
        let answer = "rustc-web\n  Depends: libc6\n  Depends: libstd-rust-web-dev\nlibc6\nlibstd-rust-web-dev\n  \
                      Depends: libstd-rust-web-1.96\nlibstd-rust-web-1.96\n  Depends: libllvm22\nlibllvm22\nzlib1g\n";
        let expected = ["libstd-rust-web-dev", "libstd-rust-web-1.96", "libllvm22", "rustc-web", "rust-web-src"];
        assert_eq!(pick_packages(answer), expected);
    }
}
