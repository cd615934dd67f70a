//! What the tests take: the same files from unoptimised programs, and a look at the other systems.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::build::{self, Built};
use super::release::Release;
use super::target::Target;
use super::toolchain::Toolchain;

/// Where it lands: `TRIPLE/hardline`, and what is packed of that.
pub(crate) const OUT: &str = "target/artifacts";

/// What is built. The first runs here and writes the documents for all.
const BUILT: [Target; 2] = [Target::LinuxX86, Target::Windows];

/// What the compiler looks at.
const CHECKED: [Target; 2] = [Target::LinuxArm64, Target::MacArm];

/// Builds, packs and checks.
///
/// # Errors
/// If something fails or warns; what does not depend on it is done all the same.
pub(super) fn run() -> Result<()> {
    let out = Path::new(OUT);
    if out.exists() {
        // Nothing of an earlier build may be tested for this one's.
        std::fs::remove_dir_all(out).context("removing what an earlier run built")?;
    }
    let toolchain = Toolchain::prepare()?;
    let mut failures = Vec::new();
    let built: Vec<Built> = kept(BUILT.map(|target| program(&toolchain, target, out)), &mut failures);
    kept(CHECKED.map(|target| build::check(&toolchain, target)), &mut failures);
    failures.extend(pack(&toolchain, &built, out).err());
    if failures.is_empty() {
        return Ok(());
    }
    let failures: Vec<String> = failures.iter().map(|err| format!("{err:#}")).collect();
    bail!("{}", failures.join("\n"))
}

/// What succeeded; the rest goes to the failures.
fn kept<T>(results: impl IntoIterator<Item = Result<T>>, failures: &mut Vec<anyhow::Error>) -> Vec<T> {
    results.into_iter().filter_map(|result| result.map_err(|err| failures.push(err)).ok()).collect()
}

fn program(toolchain: &Toolchain, target: Target, out: &Path) -> Result<Built> {
    let built = build::program(toolchain, target, "dev")?;
    let folder = out.join(target.triple());
    std::fs::create_dir_all(&folder)?;
    let program = folder.join(target.program());
    std::fs::copy(&built.program, &program).with_context(|| format!("copying {}", built.program.display()))?;
    Ok(Built { program, ..built })
}

fn pack(toolchain: &Toolchain, built: &[Built], out: &Path) -> Result<()> {
    let writer = built.iter().find(|built| built.target == BUILT[0]).context("nothing packed without its documents")?;
    let writer: PathBuf = writer.program.canonicalize()?;
    let release = Release::new(out, &|| Command::new(&writer))?;
    super::pack(&release, toolchain, built).map(drop)
}
