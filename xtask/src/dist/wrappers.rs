//! The scripts that stand before the compilers.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Debian's compiler, with its own libraries and sources.
pub(super) fn rustc(root: &Path) -> String {
    format!(
        "#!/bin/sh\nroot={}\nLD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu exec \"$root/usr/bin/rustc\" --sysroot \
         \"$root/usr\" \"$@\"\n",
        quoted(root)
    )
}

/// zig as archiver.
pub(super) fn ar(zig: &Path) -> String {
    format!("#!/bin/sh\nexec {} ar \"$@\"\n", quoted(zig))
}

/// zig as C compiler and linker. cargo's helpers name the target in words of gcc and clang, which
/// zig does not know, and gcc's library, which it replaces. Without being told it would trap
/// undefined behaviour where nothing is optimised.
pub(super) fn cc(zig: &Path, target: &str) -> String {
    format!(
        "#!/bin/sh
for word; do
    shift
    case $word in
        --target=* | -march=* | -lgcc_s | -lgcc | -lgcc_eh) ;;
        *) set -- \"$@\" \"$word\" ;;
    esac
done
exec {} cc {target} -fno-sanitize=undefined \"$@\"
",
        quoted(zig)
    )
}

/// Writes one where it has changed: a build looks at the time of its compiler.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

/// A path as one word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::*;

    #[test]
    fn the_c_compiler_gets_every_word_it_knows_as_it_was() {
        let folder = std::env::temp_dir().join(format!("hardline wrapper's {}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let zig = folder.join("zig");
        write(&zig, "#!/bin/sh\nprintf '<%s>' \"$@\"\n").unwrap();
        let compiler = folder.join("cc");
        write(&compiler, &cc(&zig, "-target x-y")).unwrap();
        let words = ["-c", "a file.c", "--target=x86_64-unknown-linux-musl", "-lgcc_s", "-DNAME=\"$HOME\"", "-lm"];
        let output = Command::new(compiler).args(words).output().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "<cc><-target><x-y><-fno-sanitize=undefined><-c><a file.c><-DNAME=\"$HOME\"><-lm>"
        );
    }
}
