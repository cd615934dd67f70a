//! `hardline id` and `hardline key`.

use std::os::unix::fs::PermissionsExt as _;

use crate::common::{Program, key_of};

#[test]
fn a_new_identity_has_its_files_and_its_link() {
    let program = Program::new();
    let made = program.run(["key", "new", "pictures", "--json"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let identity = &made.events()[0];
    let certificate = program.home().join("identities/pictures");
    let hash = std::fs::read_to_string(certificate.with_extension("hash")).unwrap();
    assert_eq!(identity["key"], hash.trim());
    let mode = std::fs::metadata(certificate.with_extension("private")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(identity["files"].as_array().unwrap().len(), 3);

    let shared = program.start(["share", "8080", "--name", "pictures"]);
    assert_eq!(key_of(&shared.link()), identity["key"]);
}

#[test]
fn an_identity_is_never_made_twice() {
    let program = Program::new();
    assert_eq!(program.run(["key", "new", "a"]).code, Some(0));
    let again = program.run(["key", "new", "a"]);
    assert_eq!(again.code, Some(7));
    assert!(again.stderr.contains("already"), "{}", again.stderr);
}

#[test]
fn a_name_that_is_no_file_name_is_refused_with_2() {
    for name in ["../escape", "a/b", ".hidden", "x.private", "with space"] {
        assert_eq!(Program::new().run(["key", "new", name]).code, Some(2), "{name}");
    }
}

#[test]
fn identities_are_shown_by_name_by_file_and_all_together() {
    let program = Program::new();
    for name in ["b", "a"] {
        assert_eq!(program.run(["key", "new", name]).code, Some(0));
    }
    let all = program.run(["id", "--json"]).events();
    assert_eq!(all.iter().map(|identity| identity["name"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(program.run(["id", "a", "--json"]).events(), all[..1]);
    let file = program.home().join("identities/a");
    assert_eq!(program.run(["id", file.to_str().unwrap(), "--json"]).events(), all[..1]);
    assert_eq!(program.run(["key", "list", "--json"]).events(), all);
}

#[test]
fn certificates_of_the_configuration_are_listed_too() {
    let program = Program::new();
    let file = program.home().join("hardline.toml");
    std::fs::write(&file, "[[service]]\ntarget = 8080\ncertfile = \"nas.cert\"\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(program.run(["--config", file, "id", "--json"]).stdout, "");
    let running = program.start(["--config", file]);
    let listed = program.run(["--config", file, "id", "--json"]).events();
    assert_eq!(listed[0]["key"], key_of(&running.link()));
}

#[test]
fn an_identity_that_is_absent_or_broken_ends_with_7() {
    let program = Program::new();
    let absent = program.run(["id", "absent"]);
    assert_eq!(absent.code, Some(7));
    assert!(absent.stderr.contains("hardline key new"), "{}", absent.stderr);

    assert_eq!(program.run(["key", "new", "good"]).code, Some(0));
    assert_eq!(program.run(["key", "new", "broken"]).code, Some(0));
    std::fs::write(program.home().join("identities/broken"), "garbage").unwrap();
    let listed = program.run(["id"]);
    assert_eq!(listed.code, Some(7), "{}", listed.stderr);
    assert!(listed.stdout.contains("good") && listed.stderr.contains("broken"), "{listed:?}");
    assert_eq!(program.run(["share", "8080", "--name", "broken"]).code, Some(7));
}
