//! Names and targets → identity files in the data folder.

use std::path::{Path, PathBuf};

/// Folder of the identities inside the data folder.
const FOLDER: &str = "identities";

/// Longest name, in characters: readable in a table, and within every file system's limit with the
/// suffixes.
const MAX_NAME: usize = 64;

/// Endings of the files beside a certificate.
const SUFFIXES: [&str; 2] = [".private", ".hash"];

/// Name of the relay's identity.
pub(crate) const RELAY: &str = "relay";

/// The platform's data folder for this user, if it has one.
pub(crate) fn platform_data_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "hardline").map(|dirs| dirs.data_dir().to_owned())
}

/// The platform's configuration file for this user, if it has a place.
pub(crate) fn platform_config_file() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "hardline").map(|dirs| dirs.config_dir().join("hardline.toml"))
}

/// The certificate of the identity `name`.
pub(crate) fn path(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(FOLDER).join(name)
}

/// Whether `name` is the name of an identity: one plain file name on every platform.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if let Some(odd) = name.chars().find(|c| !is_allowed(*c)) {
        return Err(format!("found {odd:?} in {name:?}"));
    }
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("found {} characters", name.len()));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || name.ends_with('.') {
        return Err(format!("found {name:?}"));
    }
    match SUFFIXES.into_iter().find(|suffix| name.to_ascii_lowercase().ends_with(suffix)) {
        Some(suffix) => Err(format!("found the ending {suffix}, which other files of an identity have")),
        None => Ok(()),
    }
}

/// Names of the identities in the data folder, sorted. An absent folder has none.
pub(crate) fn names(data_dir: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(data_dir.join(FOLDER)) {
        Ok(entries) => entries,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(err),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| check_name(name).is_ok() && private_key(&path(data_dir, name)).is_file())
        .collect();
    names.sort();
    Ok(names)
}

/// The key beside a certificate.
pub(crate) fn private_key(certificate: &Path) -> PathBuf {
    beside(certificate, SUFFIXES[0])
}

/// The hash beside a certificate.
pub(crate) fn hash_file(certificate: &Path) -> PathBuf {
    beside(certificate, SUFFIXES[1])
}

fn beside(certificate: &Path, suffix: &str) -> PathBuf {
    let mut name = certificate.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_file_names() {
        for good in ["pictures", "localhost-8080", "192.168.1.5-80", "a_b", "A"] {
            assert_eq!(check_name(good), Ok(()));
        }
        let too_long = "a".repeat(MAX_NAME + 1);
        for bad in
            ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "-x", "x.private", "x.HASH", "x.", "a b", "ä", &too_long]
        {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identities_are_listed_by_name_and_other_files_are_not() {
        let data_dir = tempfile::tempdir().unwrap();
        assert_eq!(names(data_dir.path()).unwrap(), Vec::<String>::new());
        std::fs::create_dir(data_dir.path().join(FOLDER)).unwrap();
        for name in ["b", "b.private", "b.hash", "a", "a.private", "alone", ".tmp", ".tmp.private"] {
            std::fs::write(data_dir.path().join(FOLDER).join(name), "").unwrap();
        }
        assert_eq!(names(data_dir.path()).unwrap(), ["a", "b"]);
    }
}
