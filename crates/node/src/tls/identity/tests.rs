//! What becomes of every set of files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hardline_proto::KeyHash;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::files::Files;
use super::{Identity, IdentityError, IdentityNotice, complete, create};
use crate::access::Access;

#[test]
fn the_first_use_makes_certificate_key_and_hash_and_the_second_finds_them() {
    let place = Place::new();
    let (made, notices) = Identity::load_or_create(&place.name()).unwrap();
    assert_eq!(notices, [IdentityNotice::Created]);
    assert_eq!(place.file_names(), ["service", "service.hash", "service.private"]);
    assert_eq!(place.text("service.hash"), made.key.to_string());
    assert_eq!(KeyHash::of_certificate(&made.certified.cert[0]), made.key);

    let before = place.contents();
    let (found, notices) = Identity::load_or_create(&place.name()).unwrap();
    assert_eq!((found.key, found.access, notices), (made.key, Access::Open, vec![]));
    assert_eq!(place.contents(), before);
}

#[cfg(unix)]
#[test]
fn new_files_and_folders_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let name = place.0.path().join("a/b/service");
    Identity::load_or_create(&name).unwrap();
    let mode = |path: &str| fs::metadata(place.0.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("a/b")), (0o700, 0o700));
    for file in ["a/b/service", "a/b/service.private", "a/b/service.hash"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_used_and_told_of() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    Identity::load_or_create(&place.name()).unwrap();
    for (mode, is_open) in [(0o600, false), (0o700, false), (0o400, false), (0o640, true), (0o604, true), (0o602, true)]
    {
        fs::set_permissions(place.path("service.private"), fs::Permissions::from_mode(mode)).unwrap();
        let (_, notices) = Identity::load_or_create(&place.name()).unwrap();
        let expected = IdentityNotice::KeyReadableByOthers { path: place.path("service.private") };
        assert_eq!(notices, if is_open { vec![expected] } else { vec![] }, "{mode:o}");
    }
}

#[test]
fn a_missing_hash_file_is_made_again() {
    let place = Place::new();
    let (made, _) = Identity::load_or_create(&place.name()).unwrap();
    fs::remove_file(place.path("service.hash")).unwrap();
    let (found, notices) = Identity::load_or_create(&place.name()).unwrap();
    assert_eq!((found.key, notices), (made.key, vec![]));
    assert_eq!(place.text("service.hash"), made.key.to_string());
}

/// A folder that only root can write, and root neither.
#[cfg(target_os = "linux")]
#[test]
fn an_identity_works_where_no_hash_file_can_be_written() {
    let place = Place::new();
    let (made, _) = Identity::load_or_create(&place.name()).unwrap();
    let files = Files { hash: PathBuf::from("/proc/hardline/service.hash"), ..Files::new(&place.name()) };
    let (found, notices) = complete(&files).unwrap();
    assert_eq!(found.key, made.key);
    assert!(
        matches!(&notices[..], [IdentityNotice::HashNotWritten { path, .. }] if *path == files.hash),
        "{notices:?}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let error = Identity::load_or_create(Path::new("/proc/hardline/service")).unwrap_err();
    assert!(matches!(&error, IdentityError::Write { path, .. } if path == Path::new("/proc/hardline/service.private")));
}

#[test]
fn text_in_front_of_the_hash_is_the_password() {
    let place = Place::new();
    let (made, _) = Identity::load_or_create(&place.name()).unwrap();
    let hash = made.key.to_string();
    for (text, password) in [
        (format!("abc123-{hash}"), Some("abc123")),
        (format!("abc123-{hash}\r\n"), Some("abc123")),
        (format!("two-words-{hash}"), Some("two")),
        (format!("-{hash}"), None),
        (format!("{}\n", hash.to_uppercase()), None),
    ] {
        place.write("service.hash", &text);
        let (found, _) = Identity::load_or_create(&place.name()).unwrap();
        assert_eq!((found.key, found.access.password()), (made.key, password), "{text:?}");
    }
}

#[test]
fn a_file_that_holds_certificate_and_key_is_enough() {
    let place = Place::new();
    let (made, _) = Identity::load_or_create(&place.name()).unwrap();
    for order in [["service", "service.private"], ["service.private", "service"]] {
        let both = Place::new();
        both.write("service", &(place.text(order[0]) + &place.text(order[1])));
        let (found, _) = Identity::load_or_create(&both.name()).unwrap();
        assert_eq!(found.key, made.key);
        assert_eq!(both.file_names(), ["service", "service.hash"]);
    }
}

#[test]
fn the_first_certificate_of_several_counts() {
    let (place, other) = (Place::made(), Place::made());
    let first = place.text("service");
    place.write("service", &format!("some text\r\n{first}\n{}", other.text("service")));
    let (found, _) = Identity::load_or_create(&place.name()).unwrap();
    assert_eq!(found.key.to_string(), place.text("service.hash"));
}

#[test]
fn what_does_not_fit_together_is_refused_by_name_and_left_as_it_is() {
    use IdentityError as E;
    let (place, other) = (Place::made(), Place::made());
    let [certificate, key, hash] = ["service", "service.private", "service.hash"].map(|name| place.text(name));
    let (other_key, other_hash) = (other.text("service.private"), other.text("service.hash"));
    let damaged = certificate.replace("M", "!");
    let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let truncated = &key[..key.len() / 2];
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n";
    let garbage_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let huge = "x".repeat(2 * 1024 * 1024);
    let (c, k, h) = (Some(&*certificate), Some(&*key), Some(&*hash));

    check([c, None, h], |error| matches!(error, E::MissingKey { .. }));
    check([c, None, None], |error| matches!(error, E::MissingKey { .. }));
    check([None, k, h], |error| matches!(error, E::MissingCertificateOfHash { .. }));
    check([None, None, h], |error| matches!(error, E::MissingCertificateOfHash { .. }));
    check([None, Some(sec1), None], |error| matches!(error, E::MissingCertificate { .. }));
    check([None, Some(garbage_key), None], |error| matches!(error, E::MissingCertificate { .. }));
    check([None, Some(&encrypted), None], |error| matches!(error, E::EncryptedKey { .. }));
    check([c, Some(&other_key), h], |error| matches!(error, E::KeyDoesNotFit { .. }));
    check([c, Some(&encrypted), h], |error| matches!(error, E::EncryptedKey { .. }));
    check([c, Some(old_encrypted), h], |error| matches!(error, E::EncryptedKey { .. }));
    check([c, Some(garbage_key), h], |error| matches!(error, E::UnusableKey { .. }));
    check([c, Some(truncated), h], |error| matches!(error, E::BadPem { .. }));
    check([c, Some(""), h], |error| matches!(error, E::NoKey { .. }));
    check([c, c, h], |error| matches!(error, E::NoKey { .. }));
    check([k, k, h], |error| matches!(error, E::NoCertificate { .. }));
    check([Some(""), k, h], |error| matches!(error, E::NoCertificate { .. }));
    check([Some("\u{30}\u{3}\u{1}"), k, h], |error| matches!(error, E::NoCertificate { .. }));
    check([Some(&damaged), k, h], |error| matches!(error, E::BadPem { .. }));
    check([Some(not_x509), k, h], |error| matches!(error, E::Certificate { .. }));
    check([Some(&huge), k, h], |error| matches!(error, E::TooLarge { .. }));
    check([c, k, Some(&other_hash)], |error| matches!(error, E::HashContradicts { .. }));
    check([c, k, Some("")], |error| matches!(error, E::BadHash { .. }));
    check([c, k, Some("password-")], |error| matches!(error, E::BadHash { .. }));
    check([c, k, Some("no hash at all")], |error| matches!(error, E::BadHash { .. }));

    #[track_caller]
    fn check(files: [Option<&str>; 3], is_expected: impl Fn(&IdentityError) -> bool) {
        let place = Place::new();
        for (name, text) in ["service", "service.private", "service.hash"].iter().zip(files) {
            text.inspect(|text| place.write(name, text));
        }
        let before = place.contents();
        let error = Identity::load_or_create(&place.name()).unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        assert!(error.to_string().contains(place.name().to_str().unwrap()), "{error}");
        assert!(!error.remedy().is_empty());
        let said = format!("{error} {error:?} {}", error.remedy());
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert!(cause.is_none_or(|cause| !error.to_string().contains(&cause)), "the cause is told twice: {said}");
        for line in files[1].unwrap_or_default().lines().filter(|line| line.len() > 20 && !line.contains("---")) {
            assert!(!said.contains(line), "the key appears in {said}");
        }
        assert!(place.contents() == before, "a file was touched");
    }
}

#[test]
fn a_folder_where_a_file_should_be_is_refused() {
    for name in ["service", "service.private", "service.hash"] {
        let place = Place::new();
        fs::create_dir(place.path(name)).unwrap();
        let error = Identity::load_or_create(&place.name()).unwrap_err();
        assert!(matches!(&error, IdentityError::Read { path, .. } if *path == place.path(name)), "{error:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_nowhere_is_not_replaced() {
    let place = Place::new();
    std::os::unix::fs::symlink("nowhere", place.path("service.private")).unwrap();
    let error = Identity::load_or_create(&place.name()).unwrap_err();
    assert!(matches!(error, IdentityError::Unsettled { .. }), "{error:?}");
    assert_eq!(place.file_names(), ["service.private"]);
}

#[test]
fn neither_key_nor_password_appears_in_debug_output() {
    let place = Place::made();
    place.write("service.hash", &format!("opensesame-{}", place.text("service.hash")));
    let (identity, _) = Identity::load_or_create(&place.name()).unwrap();
    assert_eq!(identity.access.password(), Some("opensesame"));
    let said = format!("{identity:?}");
    assert_eq!(said, format!("Identity {{ key: KeyHash({}), .. }}", identity.key));
}

#[test]
fn a_key_alone_gets_a_certificate() {
    let place = Place::new();
    place.write("service.private", std::str::from_utf8(&create::key().unwrap()).unwrap());
    let key = place.text("service.private");
    let (_, notices) = Identity::load_or_create(&place.name()).unwrap();
    assert_eq!(notices.first(), Some(&IdentityNotice::Created));
    assert_eq!(place.text("service.private"), key);
    assert_eq!(place.file_names(), ["service", "service.hash", "service.private"]);
}

#[test]
fn a_certificate_whose_hash_tls_cannot_carry_is_thrown_away() {
    let hashes = [[0x12; 20], [0x99; 20], [0xab; 20], [0xcd; 20]].map(KeyHash::from_bytes);
    let mut made = hashes.iter();
    let kept = create::nameable(|| Ok(*made.next().unwrap()), |hash| *hash).unwrap();
    assert_eq!(kept, hashes[2]);
}

#[test]
fn ephemeral_identities_differ() {
    assert_ne!(Identity::ephemeral().unwrap().key, Identity::ephemeral().unwrap().key);
}

#[test]
fn many_who_make_the_same_identity_at_once_get_the_same_one() {
    let place = Place::new();
    let name = place.name();
    let keys: Vec<KeyHash> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| Identity::load_or_create(&name).unwrap().0.key)).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(place.file_names(), ["service", "service.hash", "service.private"]);
}

/// Kills a process that makes one identity after the other, at a different moment each time.
#[test]
fn a_process_killed_at_any_moment_leaves_what_the_next_start_can_use() {
    if let Some(folder) = std::env::var_os(MAKE_IN) {
        make_identities_until_killed(Path::new(&folder));
    }
    for round in 0..24 {
        let place = Place::new();
        let this_test = "tls::identity::tests::a_process_killed_at_any_moment_leaves_what_the_next_start_can_use";
        let mut maker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this_test, "--nocapture"])
            .env(MAKE_IN, place.0.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(maker.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut made: Vec<_> = lines.by_ref().filter(|line| line.starts_with("made ")).take(1 + round % 3).collect();
        // Not a wait for anything: it spreads the kill over the few milliseconds that one identity
        // takes.
        std::thread::sleep(Duration::from_micros(197) * u32::try_from(round).unwrap());
        maker.kill().unwrap();
        maker.wait().unwrap();
        made.extend(lines.filter(|line| line.starts_with("made ")));

        for (number, line) in made.iter().enumerate() {
            let (folder, key) = line.strip_prefix("made ").unwrap().split_once(' ').unwrap();
            assert_eq!(folder, number.to_string());
            let (found, notices) = Identity::load_or_create(&place.path(folder).join("service")).unwrap();
            assert_eq!((found.key.to_string().as_str(), notices), (key, vec![]), "what was acknowledged is lost");
        }
        let unfinished = place.path(&made.len().to_string());
        Identity::load_or_create(&unfinished.join("service")).unwrap();
    }
}

/// Tells the victim process where to make identities.
const MAKE_IN: &str = "HARDLINE_TEST_MAKE_IDENTITIES_IN";

fn make_identities_until_killed(folder: &Path) -> ! {
    for number in 0_u64.. {
        let name = folder.join(number.to_string()).join("service");
        println!("\nmade {number} {}", Identity::load_or_create(&name).unwrap().0.key);
    }
    unreachable!("the numbers do not end before the kill")
}

/// What a killed process may leave behind, one state after the other.
#[test]
fn every_half_made_identity_is_completed() {
    let whole = Place::made();
    let key = whole.text("service.private");
    for (left_behind, keeps_key) in [
        (vec![(".hardline-abc", "")], false),
        (vec![(".hardline-abc", &key[..40])], false),
        (vec![("service.private", &key[..])], true),
        (vec![("service.private", &key[..]), (".hardline-abc", "-----BEGIN CERT")], true),
        (vec![("service.private", &key[..]), ("service", &whole.text("service")[..])], true),
    ] {
        let place = Place::new();
        for (name, text) in &left_behind {
            place.write(name, text);
        }
        let (made, _) = Identity::load_or_create(&place.name()).unwrap();
        assert_eq!(place.text("service.private") == key, keeps_key);
        assert_eq!(place.text("service.hash"), made.key.to_string());
    }
}

#[test]
fn a_given_certificate_may_be_of_any_age() {
    let place = Place::new();
    let key = KeyPair::generate().unwrap();
    for (from, to) in [((1990, 1, 1), (1991, 1, 1)), ((3000, 1, 1), (3001, 1, 1)), ((3001, 1, 1), (1990, 1, 1))] {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        place.write("service", &params.self_signed(&key).unwrap().pem());
        place.write("service.private", &key.serialize_pem());
        Identity::load_or_create(&place.name()).unwrap();
        fs::remove_file(place.path("service.hash")).unwrap();
    }
}

/// A folder of its own, for the files of one identity named `service`.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn made() -> Self {
        let place = Self::new();
        Identity::load_or_create(&place.name()).unwrap();
        place
    }

    fn name(&self) -> PathBuf {
        self.path("service")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn file_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
