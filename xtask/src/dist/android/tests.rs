//! The app is made as it is handed out, around a program of a hundred bytes, and looked at with
//! Debian's tools.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::*;

/// The app, made once for all tests of a run.
struct App {
    folder: PathBuf,
    program: Vec<u8>,
}

impl App {
    fn get() -> &'static Self {
        static APP: OnceLock<App> = OnceLock::new();
        APP.get_or_init(Self::made)
    }

    fn made() -> Self {
        let app = Self { folder: repository("target/android-tests"), program: elf::tests::program(183, 1, 65_536) };
        let work = Work::new(&app.folder).unwrap();
        let unsigned = work
            .assemble("1.2.3", &app.program, "licences")
            .expect("`cargo xtask test --only machine` installs the tools");
        sign::sign(&unsigned, &app.signed(), &sign::Key::made(&app.folder.join("key.p12")).unwrap()).unwrap();
        app
    }

    fn signed(&self) -> PathBuf {
        self.folder.join("hardline.apk")
    }

    /// What one of aapt's commands tells of it.
    fn dump(&self, what: &[&str]) -> String {
        let (command, rest) = what.split_first().unwrap();
        output(Command::new("aapt").arg("dump").arg(command).arg(self.signed()).args(rest))
    }

    /// The manifest as aapt reads it from the file.
    fn elements(&self) -> Vec<Element> {
        elements(&self.dump(&["xmltree", "AndroidManifest.xml"]))
    }
}

#[test]
fn the_archive_holds_the_program_and_nothing_unknown() {
    let app = App::get();
    let files = package::unpacked(&app.signed()).unwrap();
    assert_eq!(files[package::PROGRAM], app.program);
    assert_eq!(files[package::LICENCES], *b"licences");
    assert_eq!(files["classes.dex"][..8], *b"dex\n039\0");
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = [
        "AndroidManifest.xml",
        package::LICENCES,
        "classes.dex",
        package::PROGRAM,
        "res/drawable/icon.xml",
        "res/xml/network_security.xml",
        "resources.arsc",
    ];
    assert_eq!(names, expected);
}

#[test]
fn permissions_are_those_of_the_documentation() {
    let app = App::get();
    let badging = app.dump(&["badging"]);
    let asked: BTreeSet<&str> =
        badging.lines().filter_map(|line| line.strip_prefix("uses-permission: name='")?.strip_suffix('\'')).collect();
    let page = std::fs::read_to_string(repository("docs/android.md")).unwrap();
    let told: BTreeSet<&str> = page.split('`').filter(|word| word.starts_with("android.permission.")).collect();
    assert_eq!(asked, told);
    assert!(
        badging.starts_with("package: name='hardline.mobile' versionCode='10203' versionName='1.2.3'"),
        "{badging}"
    );
    for line in ["sdkVersion:'29'", "targetSdkVersion:'36'", "native-code: 'arm64-v8a'"] {
        assert!(badging.lines().any(|found| found.trim_end() == line), "{line}: {badging}");
    }
    // A phone without one of these would not be offered the app.
    for feature in ["android.hardware.wifi", "android.hardware.touchscreen"] {
        assert!(badging.contains(&format!("uses-feature-not-required: name='{feature}'")), "{feature}: {badging}");
    }
    assert!(!badging.contains("uses-implied-feature: name='android.hardware.wifi'"), "{badging}");
}

#[test]
fn the_manifest_keeps_keys_and_parts_to_the_app() {
    let app = App::get();
    let elements = app.elements();
    let application = &elements.iter().find(|element| element.tag == "application").unwrap().attributes;
    assert_eq!(application["android:allowBackup"], "(type 0x12)0x0");
    assert_eq!(application["android:extractNativeLibs"], "(type 0x12)0xffffffff");
    let exported: Vec<(&str, &str)> = elements
        .iter()
        .filter_map(|element| Some((element.tag.as_str(), element.attributes.get("android:exported")?.as_str())))
        .collect();
    let expected =
        [("activity", "(type 0x12)0xffffffff"), ("service", "(type 0x12)0x0"), ("receiver", "(type 0x12)0x0")];
    assert_eq!(exported, expected);
    let service = &elements.iter().find(|element| element.tag == "service").unwrap().attributes;
    assert_eq!(service["android:foregroundServiceType"], "(type 0x11)0x40000000");
    let receiver = &elements.iter().find(|element| element.tag == "receiver").unwrap().attributes;
    assert_eq!(receiver["android:enabled"], "(type 0x12)0x0");
    let link = elements.iter().find(|element| element.attributes.contains_key("android:host")).unwrap();
    let parts = ["android:scheme", "android:host", "android:port"].map(|name| link.attributes[name].as_str());
    assert_eq!(parts, ["http", "*.localhost", "7009"]);
}

/// An element of the manifest as aapt shows it.
struct Element {
    tag: String,
    attributes: BTreeMap<String, String>,
}

fn elements(tree: &str) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::new();
    for line in tree.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("E: ") {
            let tag = rest.split(' ').next().unwrap().to_owned();
            elements.push(Element { tag, attributes: BTreeMap::new() });
        } else if let Some((name, value)) = line.strip_prefix("A: ").and_then(|rest| rest.split_once('=')) {
            let name = name.split('(').next().unwrap().to_owned();
            let value = value.strip_prefix('"').map_or(value, |text| text.split('"').next().unwrap());
            elements.last_mut().unwrap().attributes.insert(name, value.to_owned());
        }
    }
    assert!(elements.len() > 10, "{tree}");
    elements
}

#[test]
fn everything_that_the_manifest_names_is_in_the_code() {
    let app = App::get();
    let code = output(Command::new("dexdump").arg(app.folder.join("classes.dex")));
    let classes = classes(&code);
    // The methods that Android calls.
    let called = [
        ("activity", &["<init>", "onCreate", "onNewIntent", "onDestroy", "onCreateOptionsMenu"][..]),
        ("service", &["<init>", "onCreate", "onStartCommand", "onBind", "onDestroy"]),
        ("receiver", &["<init>", "onReceive"]),
    ];
    let elements = app.elements();
    for (tag, methods) in called {
        let element = elements.iter().find(|element| element.tag == tag).unwrap();
        let class = format!("L{};", element.attributes["android:name"].replace('.', "/"));
        let found = classes.get(&class).unwrap_or_else(|| panic!("{class} in {:?}", classes.keys()));
        for method in methods {
            assert!(found.contains(*method), "{class} has {found:?}");
        }
    }
    // What the compiler was told of Android's classes stays out.
    assert!(classes.keys().all(|name| name.starts_with("Lhardline/mobile/")), "{:?}", classes.keys());
}

/// Classes and their methods, as dexdump lists them.
fn classes(code: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut classes = BTreeMap::<String, BTreeSet<String>>::new();
    let mut class = String::new();
    let mut in_methods = false;
    for line in code.lines().map(str::trim) {
        let value = |line: &str| line.split('\'').nth(1).unwrap_or_default().to_owned();
        if line.starts_with("Class descriptor") {
            class = value(line);
            classes.insert(class.clone(), BTreeSet::new());
        } else if line.starts_with("Static fields") || line.starts_with("Instance fields") {
            in_methods = false;
        } else if line.starts_with("Direct methods") || line.starts_with("Virtual methods") {
            in_methods = true;
        } else if in_methods && line.starts_with("name ") {
            classes.get_mut(&class).unwrap().insert(value(line));
        }
    }
    classes
}

#[test]
fn the_logic_passes_its_tests_before_and_after_the_translation() {
    let app = App::get();
    let folder = &app.folder;
    let work = Work { sources: repository("packaging/android"), folder: folder.clone() };
    let (classes, back) = (folder.join("classes"), folder.join("back.jar"));
    let libraries = [dex::jar("junit4"), dex::jar("hamcrest"), dex::jar("json-android")];
    work.javac("test", "tests", &[&[classes.clone()][..], &libraries].concat()).unwrap();
    // Android's bytecode as Java's again, whose verifier looks at it.
    let mut enjarify = Command::new("enjarify");
    // Its shell script takes the first Python it finds, and Debian's has its libraries.
    enjarify.env("PATH", "/usr/bin:/bin").args(["--force", "--output"]).arg(&back);
    output(enjarify.arg(folder.join("classes.dex")));
    for code in [classes, back] {
        let path = [&[code.clone(), folder.join("tests"), folder.join("api")][..], &libraries].concat();
        let told = output(dex::java(&path).args(["org.junit.runner.JUnitCore", "hardline.mobile.LogicTest"]));
        assert!(told.contains("\nOK (8 tests)\n"), "{}: {told}", code.display());
    }
}

#[test]
fn the_same_sources_make_the_same_file() {
    let app = App::get();
    let elsewhere = tempfile::tempdir().unwrap();
    let again = Work::new(elsewhere.path()).unwrap().assemble("1.2.3", &app.program, "licences").unwrap();
    let unsigned = app.folder.join("unsigned.apk");
    assert!(std::fs::read(&again).unwrap() == std::fs::read(&unsigned).unwrap(), "the files differ");
}

#[test]
fn both_signatures_are_verified_and_a_changed_file_is_not() {
    let app = App::get();
    sign::verify(&app.signed()).unwrap();
    let changed = app.folder.join("changed.apk");
    let mut bytes = std::fs::read(app.signed()).unwrap();
    let place = bytes.windows(8).position(|window| window == b"hardline").unwrap();
    bytes[place] = b'H';
    std::fs::write(&changed, bytes).unwrap();
    assert!(sign::verify(&changed).is_err());
}

#[test]
fn later_versions_have_higher_numbers() {
    let numbers =
        ["0.1.0", "0.1.9", "0.2.0-rc.1", "0.10.0", "1.0.0", "12.3.45"].map(|it| package::version_code(it).unwrap());
    assert_eq!(numbers, [100, 109, 200, 1_000, 10_000, 120_345]);
    for odd in ["1.2", "1.100.0", "1.2.x", ""] {
        assert!(package::version_code(odd).is_err(), "{odd}");
    }
}

#[test]
fn f_droid_is_told_this_version_and_what_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let path = fdroid::write(&repository("packaging/android"), folder.path(), "1.2.3").unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    for line in ["    versionCode: 10203", "    commit: v1.2.3", "CurrentVersion: 1.2.3", "CurrentVersionCode: 10203"] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(!text.contains("VERSION"), "{text}");
    assert!(text.contains("    output: target/dist/android/unsigned.apk\n"), "{text}");
}

#[test]
fn a_manifest_with_another_kind_of_service_is_refused() {
    for odd in [&b""[..], b"\x03\0", b"\x03\0\x08\0\0\0\0\0", b"\x03\0\x08\0\0\0\0\0\x02\x01\x10\0\xff\xff\xff\xff"] {
        assert!(manifest::make_special_use(&mut odd.to_vec()).is_err(), "{odd:?}");
    }
}

/// Runs it and returns what it says; both, where it fails.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn repository(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}
