//! Java → Android's bytecode. Debian has no compiler for it, but an assembler, smali; a translator
//! of our own stands between javac and that.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{MIN_SDK, Work};
use crate::steps::run;

/// Debian's place for Java's libraries.
const JARS: &str = "/usr/share/java";

impl Work {
    /// Compiles the app and says where `classes.dex` is.
    ///
    /// # Errors
    /// If the compiler, the translator or the assembler refuses.
    pub(super) fn compile(&self) -> Result<PathBuf> {
        self.javac("api", "api", &[])?;
        self.javac("src", "classes", &[self.folder.join("api"), jar("json-android")])?;
        let mut translate = java(&[jar("asm"), jar("asm-tree"), jar("asm-analysis")]);
        translate.arg(self.sources.join("ToSmali.java"));
        run(translate.arg(self.folder.join("classes")).arg(self.folder.join("smali")))?;
        let code = self.folder.join("classes.dex");
        let mut assemble = Command::new("smali");
        // One job: several write what they finish in their own order.
        assemble.args(["assemble", "--jobs", "1", "--api", &MIN_SDK.to_string(), "--output"]).arg(&code);
        run(assemble.arg(self.folder.join("smali")))?;
        Ok(code)
    }

    /// Compiles the Java files of a folder of sources into one of classes. Java 8 is what the
    /// translator knows.
    ///
    /// # Errors
    /// If they do not compile.
    pub(super) fn javac(&self, from: &str, into: &str, path: &[PathBuf]) -> Result<()> {
        let release = if from == "test" { "17" } else { "8" };
        let mut command = Command::new("javac");
        command.args(["-Xlint:-options", "-encoding", "UTF-8", "--release", release, "-d"]);
        command.arg(self.folder.join(into));
        if !path.is_empty() {
            command.arg("-classpath").arg(joined(path)?);
        }
        let sources = java_files(&self.sources.join(from))?;
        // Their names on the command line would hide what is of interest.
        let list = self.folder.join(format!("{into}.sources"));
        let lines = sources.iter().map(|path| format!("\"{}\"\n", path.display())).collect::<String>();
        std::fs::write(&list, lines)?;
        let mut argument = std::ffi::OsString::from("@");
        argument.push(list);
        run(command.arg(argument))
    }
}

/// A library of Debian's.
pub(super) fn jar(name: &str) -> PathBuf {
    Path::new(JARS).join(format!("{name}.jar"))
}

/// The virtual machine with these libraries.
pub(super) fn java(path: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xverify:all", "-XX:TieredStopAtLevel=1", "-classpath"]);
    command.arg(joined(path).unwrap_or_default());
    command
}

fn joined(path: &[impl AsRef<OsStr>]) -> Result<std::ffi::OsString> {
    std::env::join_paths(path.iter().map(AsRef::as_ref)).context("a folder with a colon in its name")
}

/// Every Java file below a folder, sorted.
fn java_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "java") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
