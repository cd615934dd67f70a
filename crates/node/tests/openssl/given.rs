//! Certificates and keys made by `openssl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::program::{openssl, try_openssl};

/// Kinds of key, with how `openssl genpkey` makes them.
pub(crate) const KEYS: [(&str, &str); 6] = [
    ("rsa2048", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
    ("rsa3072", "-algorithm RSA -pkeyopt rsa_keygen_bits:3072"),
    ("rsa4096", "-algorithm RSA -pkeyopt rsa_keygen_bits:4096"),
    ("p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
    ("p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
    ("ed25519", "-algorithm ED25519"),
];

/// Certificates beside the plain ones: what is odd about it, key, arguments of `openssl x509`,
/// extensions.
const ODD: [(&str, &str, &str, &str); 5] = [
    ("as-0.0.12", "rsa4096", "-sha512 -set_serial 0 -days 36500", ""),
    ("as-0.21.1", "rsa2048", "-sha256 -set_serial 1000 -days 3650", AS_0_21_1),
    ("expired", "p256", "-days -1", "basicConstraints=CA:FALSE"),
    ("unknown-critical-extension", "p256", "-days 30", "1.2.3.4.5=critical,ASN1:UTF8String:hello"),
    (
        "not-for-servers",
        "p384",
        "-days 30",
        "extendedKeyUsage=critical,emailProtection\nkeyUsage=critical,digitalSignature",
    ),
];

const AS_0_21_1: &str = "basicConstraints=CA:TRUE,pathlen:0\nsubjectAltName=DNS:nonsense.example";

/// A folder of identities, shared by the tests that run at the same time, and gone after the last.
pub(crate) struct Given {
    folder: TempDir,
    /// The certificates' paths. The key is beside each, with `.private`, as PKCS#8.
    pub(crate) identities: Vec<PathBuf>,
}

impl Given {
    /// Makes them, or finds them made.
    pub(crate) fn all() -> Arc<Self> {
        static MADE: Mutex<Weak<Given>> = Mutex::new(Weak::new());
        let mut made = MADE.lock().unwrap();
        made.upgrade().unwrap_or_else(|| {
            let given = Arc::new(Self::make());
            *made = Arc::downgrade(&given);
            given
        })
    }

    fn make() -> Self {
        let mut given = Self { folder: tempfile::tempdir().unwrap(), identities: Vec::new() };
        for (key, arguments) in KEYS {
            openssl(given.folder.path(), &format!("genpkey {arguments} -out {key}.key"));
            given.add(&format!("v1-{key}"), key, "-days 30", "");
            given.add(&format!("v3-{key}"), key, "-days 30", "basicConstraints=CA:FALSE");
        }
        for (name, key, arguments, extensions) in ODD {
            given.add(name, key, arguments, extensions);
        }
        given.add_not_yet_valid();
        given
    }

    /// Adds a certificate for a key that is there. Without extensions it is of version 1.
    fn add(&mut self, name: &str, key: &str, arguments: &str, extensions: &str) {
        let folder = self.folder.path();
        certify(folder, key, name, arguments, extensions);
        fs::copy(folder.join(format!("{key}.key")), folder.join(format!("{name}.private"))).unwrap();
        self.identities.push(folder.join(name));
    }

    /// Older versions of the program cannot date a certificate into the future, its library can.
    fn add_not_yet_valid(&mut self) {
        let key = rcgen::KeyPair::from_pem(&fs::read_to_string(self.path("v3-p256.private")).unwrap()).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2999, 1, 1);
        params.not_after = rcgen::date_time_ymd(2999, 1, 2);
        let path = self.path("not-yet-valid");
        fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::copy(self.path("v3-p256.private"), self.path("not-yet-valid.private")).unwrap();
        self.identities.push(path);
    }

    /// A file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Makes the certificate `name` for `key.key`, of version 1 when it has no extensions.
pub(crate) fn certify(folder: &Path, key: &str, name: &str, arguments: &str, extensions: &str) {
    let version = if extensions.is_empty() {
        certify_version_1(folder, key, name, arguments);
        "Version: 1 ("
    } else {
        fs::write(folder.join(format!("{name}.ext")), extensions).unwrap();
        sign_request(folder, key, name, &format!("{arguments} -extfile {name}.ext"));
        "Version: 3 ("
    };
    let text = String::from_utf8(openssl(folder, &format!("x509 -in {name} -noout -text"))).unwrap();
    assert!(text.contains(version), "openssl made no {version}): {text}");
}

/// Since OpenSSL 3.2 this takes an option of `req`; before, a request without extensions came out
/// as version 1.
fn certify_version_1(folder: &Path, key: &str, name: &str, arguments: &str) {
    fs::write(folder.join("no-extensions.cnf"), "[req]\ndistinguished_name = empty\n[empty]\n").unwrap();
    let request =
        format!("req -x509 -x509v1 -config no-extensions.cnf -key {key}.key {SUBJECT} {arguments} -out {name}");
    if try_openssl(folder, &request).is_err() {
        sign_request(folder, key, name, arguments);
    }
}

fn sign_request(folder: &Path, key: &str, name: &str, arguments: &str) {
    openssl(folder, &format!("req -new -key {key}.key {SUBJECT} -out {name}.csr"));
    openssl(folder, &format!("x509 -req -in {name}.csr -signkey {key}.key {arguments} -out {name}"));
}

/// Means nothing to us.
const SUBJECT: &str = "-subj /CN=somebody";
