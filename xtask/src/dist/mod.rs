//! `cargo xtask dist`: everything that is handed out, in `target/dist`.

mod android;
mod ar;
mod archive;
mod build;
mod deb;
mod notices;
mod oci;
pub(crate) mod quick;
mod release;
mod sums;
mod target;
mod toolchain;
pub(crate) mod twice;
mod units;
mod windows;
mod wrappers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum as _};

use build::Built;
use release::Release;
pub(crate) use target::Target;
use toolchain::Toolchain;
pub(crate) use toolchain::has_library;

/// Where everything lands, the sums among it.
pub(crate) const OUT: &str = "target/dist";

#[derive(Args)]
pub(crate) struct Options {
    /// Only this target; may be repeated
    #[arg(long, value_name = "TRIPLE")]
    target: Vec<Target>,
    /// Only look whether the program compiles, for Windows and macOS too
    #[arg(long)]
    check: bool,
    /// Packs this program, which was built for the one target before, instead of building it
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with = "check")]
    program: Option<PathBuf>,
    /// What `cargo xtask test` takes, unoptimised, into target/artifacts
    #[arg(long, conflicts_with_all = ["target", "check", "program"])]
    quick: bool,
}

/// Makes one kind of file that is handed out, from the program built for one target.
struct Packer {
    /// For which targets it makes one.
    wants: fn(Target) -> bool,
    /// Makes it below [`OUT`] and says where.
    pack: fn(&Release, &Built) -> Result<PathBuf>,
}

/// What is made. A new kind is a line here and a file beside this one.
const PACKERS: &[Packer] = &[
    Packer { wants: Target::is_linux, pack: archive::pack },
    Packer { wants: Target::is_android, pack: android::pack },
    Packer { wants: |target| deb::architecture(target).is_some(), pack: deb::pack },
    Packer { wants: Target::is_windows, pack: windows::pack },
];

/// Makes one file of several targets' programs, where there is one that it is for.
type JointPacker = fn(&Release, &[Built]) -> Result<Option<PathBuf>>;

/// What is made of all programs at once.
const JOINT: &[JointPacker] = &[oci::pack];

/// Builds and packs for the targets asked for, else for all that are handed out, and writes the
/// sums.
///
/// # Errors
/// If something cannot be fetched, built or packed.
pub(crate) fn run_dist(options: &Options) -> Result<ExitCode> {
    if options.check {
        return check(&options.target);
    }
    if options.quick {
        return quick::run().map(|()| ExitCode::SUCCESS);
    }
    let targets = if options.target.is_empty() { Target::HANDED_OUT } else { &options.target };
    targets.iter().try_for_each(|target| target.must_be_packed())?;
    if options.program.is_some() && targets.len() > 1 {
        bail!("--program is the program of one target, and there are several");
    }
    let toolchain = Toolchain::prepare()?;
    let release = Release::prepare(Path::new(OUT))?;
    let mut built = Vec::new();
    for target in targets {
        built.push(match &options.program {
            Some(program) => Built { target: *target, program: program.clone() },
            None => build::release(&toolchain, *target)?,
        });
    }
    for file in pack(&release, &toolchain, &built)? {
        println!("{:10} {}", std::fs::metadata(&file)?.len(), file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes every kind of file from these programs, and the sums; says where they are.
///
/// # Errors
/// If something cannot be packed.
fn pack(release: &Release, toolchain: &Toolchain, built: &[Built]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for built in built {
        notices::write(release, toolchain, built.target)?;
        for packer in PACKERS.iter().filter(|packer| (packer.wants)(built.target)) {
            files.push((packer.pack)(release, built)?);
        }
    }
    for pack in JOINT {
        files.extend(pack(release, built)?);
    }
    sums::write(&release.out)?;
    Ok(files)
}

fn check(asked: &[Target]) -> Result<ExitCode> {
    let targets = if asked.is_empty() { Target::value_variants() } else { asked };
    let toolchain = Toolchain::prepare()?;
    targets.iter().try_for_each(|target| build::check(&toolchain, *target))?;
    Ok(ExitCode::SUCCESS)
}
