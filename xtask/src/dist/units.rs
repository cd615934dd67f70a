//! systemd's units for a program that lies where a package puts it.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// A user's service.
pub(super) const USER: &str = "packaging/systemd/user/hardline.service";

/// The whole computer's.
pub(super) const SYSTEM: &str = "packaging/systemd/system/hardline.service";

/// A unit whose program is this one.
///
/// # Errors
/// If it cannot be read, or does not start the program exactly once.
pub(super) fn for_program(unit: &str, program: &str) -> Result<String> {
    let text = std::fs::read_to_string(Path::new(unit)).with_context(|| format!("reading {unit}"))?;
    with_program(&text, program).with_context(|| format!("the unit {unit}"))
}

/// The text as it is in the repository is for a program that cargo installed.
fn with_program(text: &str, program: &str) -> Result<String> {
    let (mut changed, mut starts) = (String::new(), 0);
    for line in text.lines().filter(|line| !line.starts_with("# Where `cargo install`")) {
        if let Some(command) = line.strip_prefix("ExecStart=") {
            starts += 1;
            let arguments = command.split_once(' ').map(|(_, rest)| format!(" {rest}")).unwrap_or_default();
            changed += &format!("ExecStart={program}{arguments}\n");
        } else {
            changed += line;
            changed.push('\n');
        }
    }
    if starts != 1 {
        bail!("one line ExecStart= was expected, and there are {starts}");
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(unit: &str) -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(unit)).unwrap()
    }

    #[test]
    fn a_packages_unit_starts_the_packages_program_with_the_same_words() {
        let user = with_program(&read(USER), "/usr/bin/hardline").unwrap();
        assert!(user.contains("\nExecStart=/usr/bin/hardline\n"), "{user}");
        assert!(!user.contains("cargo"), "{user}");
        let system = with_program(&read(SYSTEM), "/usr/bin/hardline").unwrap();
        let start = "\nExecStart=/usr/bin/hardline --config /etc/hardline/hardline.toml --data-dir %S/hardline\n";
        assert!(system.contains(start), "{system}");
    }

    #[test]
    fn the_rest_of_a_unit_stays() {
        let text = read(USER);
        let kept = |text: &str| -> Vec<String> {
            let other = |line: &&str| !line.starts_with("ExecStart=") && !line.contains("`cargo install`");
            text.lines().filter(other).map(str::to_owned).collect()
        };
        assert_eq!(kept(&with_program(&text, "/usr/bin/hardline").unwrap()), kept(&text));
    }

    #[test]
    fn a_unit_that_starts_nothing_is_refused() {
        assert!(with_program("[Service]\nType=notify\n", "/usr/bin/hardline").is_err());
    }
}
