//! Our identities loaded from files that OpenSSL made.

use std::fs;
use std::path::Path;

use hardline_node::tls::CertificateError;
use hardline_node::tls::identity::{Identity, IdentityError};

use crate::given::{Given, KEYS, certify};
use crate::program::{key_hash, openssl};

#[test]
fn every_kind_of_certificate_is_taken_as_it_is() {
    let given = Given::all();
    assert_eq!(given.identities.len(), 2 * KEYS.len() + 6);
    for path in &given.identities {
        let own = tempfile::tempdir().unwrap();
        let name = own.path().join("service");
        fs::copy(path, &name).unwrap();
        fs::copy(path.with_file_name(format!("{}.private", file_name(path))), own.path().join("service.private"))
            .unwrap();
        let (identity, _) = Identity::load_or_create(&name).unwrap();
        assert_eq!(identity.key, key_hash(path), "{}", path.display());
        assert_eq!(fs::read_to_string(own.path().join("service.hash")).unwrap(), identity.key.to_string());
    }
}

#[test]
fn every_encoding_of_every_kind_of_key_is_read() {
    let given = Given::all();
    for (key, _) in KEYS {
        let traditional = |from: &str| openssl(given.path("").as_path(), &format!("pkey -in {from}.key -traditional"));
        let pkcs8 = fs::read(given.path(&format!("{key}.key"))).unwrap();
        let encodings = match key {
            "p256" | "p384" => {
                let curve = if key == "p256" { "prime256v1" } else { "secp384r1" };
                let parameters = openssl(&given.path(""), &format!("ecparam -name {curve}"));
                vec![
                    ("-----BEGIN PRIVATE KEY", pkcs8),
                    ("-----BEGIN EC PRIVATE KEY", traditional(key)),
                    ("-----BEGIN EC PARAMETERS", [parameters, traditional(key)].concat()),
                ]
            }
            "ed25519" => vec![("-----BEGIN PRIVATE KEY", pkcs8)],
            _ => vec![("-----BEGIN PRIVATE KEY", pkcs8), ("-----BEGIN RSA PRIVATE KEY", traditional(key))],
        };
        for (label, text) in encodings {
            assert!(text.starts_with(label.as_bytes()), "{key} in the encoding {label}");
            for version in ["v1", "v3"] {
                let certificate = fs::read(given.path(&format!("{version}-{key}"))).unwrap();
                let loaded = load(&certificate, &text);
                assert_eq!(loaded.unwrap().key, key_hash(&given.path(&format!("{version}-{key}"))), "{key} {label}");
            }
        }
    }
}

#[test]
fn a_key_alone_gets_a_certificate_when_it_is_pkcs8() {
    let given = Given::all();
    for (key, _) in KEYS {
        let own = tempfile::tempdir().unwrap();
        fs::copy(given.path(&format!("{key}.key")), own.path().join("service.private")).unwrap();
        let (identity, _) = Identity::load_or_create(&own.path().join("service")).unwrap();
        assert_eq!(identity.key, key_hash(&own.path().join("service")), "{key}");
    }
}

#[test]
fn the_certificate_we_make_is_one_for_openssl_too() {
    let own = tempfile::tempdir().unwrap();
    Identity::load_or_create(&own.path().join("service")).unwrap();
    let text = String::from_utf8(openssl(own.path(), "x509 -in service -noout -text")).unwrap();
    assert!(text.contains("Version: 3 (") && text.contains("prime256v1"), "{text}");
    let public = openssl(own.path(), "x509 -in service -noout -pubkey");
    assert_eq!(openssl(own.path(), "pkey -in service.private -pubout"), public);
    openssl(own.path(), "verify -CAfile service service");
}

#[test]
fn an_encrypted_key_is_refused_with_the_command_that_helps() {
    let given = Given::all();
    let certificate = fs::read(given.path("v3-rsa2048")).unwrap();
    for how in ["pkey -aes256", "rsa -traditional -aes256"] {
        let key = openssl(&given.path(""), &format!("{how} -passout pass:secret -in rsa2048.key"));
        let error = load(&certificate, &key).unwrap_err();
        assert!(matches!(error, IdentityError::EncryptedKey { .. }), "{how}: {error:?}");
        assert!(error.remedy().contains("openssl pkey -in "), "{}", error.remedy());
    }
}

#[test]
fn kinds_whose_signatures_nobody_here_can_verify_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, kind) in [
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "an ECDSA key on the curve P-521"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "an ECDSA key on another curve"),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
            "an ECDSA key on another curve",
        ),
        ("-algorithm ED448", "a public key of another kind (object identifier 1.3.101.113)"),
        ("-algorithm RSA-PSS", "a public key of another kind (object identifier 1.2.840.113549.1.1.10)"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "an RSA key of 1024 bits"),
    ] {
        openssl(folder.path(), &format!("genpkey {arguments} -out odd.key"));
        certify(folder.path(), "odd", "odd", "-days 30", "");
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        match load(&read("odd"), &read("odd.key")) {
            Err(IdentityError::Certificate { source: CertificateError::UnsupportedKey { kind: named }, .. }) => {
                assert_eq!(named, kind);
            }
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[test]
fn an_elliptic_key_without_its_public_part_is_refused_with_the_command_that_helps() {
    let given = Given::all();
    let certificate = fs::read(given.path("v3-p256")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = given.path("p256.key");
    openssl(folder.path(), &format!("ec -in {} -no_public -out half", key.display()));
    let error = load(&certificate, &fs::read(folder.path().join("half")).unwrap()).unwrap_err();
    assert!(matches!(error, IdentityError::UnusableKey { .. }), "{error:?}");
    assert!(error.remedy().contains("openssl ec -in "), "{}", error.remedy());
    openssl(folder.path(), "ec -in half -out half.whole");
    load(&certificate, &fs::read(folder.path().join("half.whole")).unwrap()).unwrap();
}

#[test]
fn files_in_der_are_refused_with_the_command_that_helps() {
    let given = Given::all();
    let der = openssl(&given.path(""), "x509 -in v3-p256 -outform DER");
    let error = load(&der, &fs::read(given.path("p256.key")).unwrap()).unwrap_err();
    assert!(matches!(error, IdentityError::NoCertificate { .. }) && error.remedy().contains("x509 -inform DER"));
    let der = openssl(&given.path(""), "pkey -in p256.key -outform DER");
    let error = load(&fs::read(given.path("v3-p256")).unwrap(), &der).unwrap_err();
    assert!(matches!(error, IdentityError::NoKey { .. }) && error.remedy().contains("pkey -inform DER"));
}

#[test]
fn the_key_of_another_certificate_is_refused_whatever_its_kind() {
    let given = Given::all();
    for (key, _) in KEYS {
        let other = if key == "p256" { "rsa2048" } else { "p256" };
        let certificate = fs::read(given.path(&format!("v1-{key}"))).unwrap();
        let error = load(&certificate, &fs::read(given.path(&format!("{other}.key"))).unwrap()).unwrap_err();
        assert!(matches!(error, IdentityError::KeyDoesNotFit { .. }), "{key}: {error:?}");
    }
}

/// The identity of a certificate and key, in files of their own.
fn load(certificate: &[u8], key: &[u8]) -> Result<Identity, IdentityError> {
    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("service"), certificate).unwrap();
    fs::write(own.path().join("service.private"), key).unwrap();
    Identity::load_or_create(&own.path().join("service")).map(|(identity, _)| identity)
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}
