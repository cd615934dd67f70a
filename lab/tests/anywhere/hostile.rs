//! A stranger writes into the DHT what he likes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Host, IMPOSTOR_PORT, Lab, Mapping};
use hardline_node::proto::hosts::HostList;
use hardline_node::proto::sealed::{Home, SealedRecord, Signature, envelope, seal};
use hardline_node::proto::{KeyHash, dht_key};

use crate::measure::{first_tries, new_gateway};
use crate::world::{TwoHomes, sealed_key, texts, today};

/// Plain values at the service's keys.
const PLAIN_VALUES: u16 = 200;

/// ECDSA with P-256 and SHA-256 in TLS (RFC 8446, section 4.2.3).
const ECDSA_P256: u16 = 0x0403;

#[test]
fn scenario_11_a_hostile_dht() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let certificate = lab.dir().join("service.cert");
    let service = world.publish_as(&certificate)?;
    let key: KeyHash = service.key.parse()?;
    let at = sealed_key(&service.key)?;
    let old = world.dht.wait_for_value(at, |_| true)?;

    // Alice's address is another one from now on, and the old one is the stranger's.
    world.home.move_to(25)?;
    let mallory = lab.host("mallory")?;
    mallory.join(&world.internet, "eth0", 5)?;
    let impostor = mallory.impostor()?;
    world.dht.wait_for_value(at, |value| value != old)?;

    let forger = Forger { host: &mallory, certificate: &certificate };
    for (id, value) in (1000..).zip([forger.expired()?, forger.badly_signed()?, forger.by_a_stranger(key)?, old]) {
        for copy in 0..8 {
            world.dht.put_as_a_stranger(at, id * 10 + copy, &value)?;
        }
    }
    for number in 0..PLAIN_VALUES {
        let lie = format!("203.0.113.5:{}", IMPOSTOR_PORT + number);
        for at in [dht_key::plain(&key), dht_key::rolling(&key, today()?)] {
            world.dht.put_as_a_stranger(at, u64::from(number) + 1, lie.as_bytes())?;
        }
    }

    for at in [dht_key::plain(&key), dht_key::rolling(&key, today()?)] {
        let stored = world.dht.values(at)?.len();
        ensure!(stored >= usize::from(PLAIN_VALUES), "{stored} values were stored");
    }
    let options = world.dht.options();
    first_tries("11, 200 plain and 32 bad sealed values by a stranger", |number| {
        let gateway = new_gateway(&world.bob, number, &texts(&options))?;
        world.bob.first_byte(&gateway, &service.key)
    })?;
    impostor.was_sent_nothing()
}

/// Makes sealed records that nobody should believe; all of them lead to the stranger.
struct Forger<'a> {
    host: &'a Host,
    /// The service's, with the private key beside it.
    certificate: &'a Path,
}

impl Forger<'_> {
    /// By the right key, but long ago.
    fn expired(&self) -> Result<Vec<u8>> {
        let ago = Duration::from_secs(3 * 3600);
        let key = PathBuf::from(format!("{}.private", self.certificate.display()));
        self.seal(self.certificate, ago, |bytes| self.sign(bytes, &key).ok())
    }

    /// With the right certificate, by another key.
    fn badly_signed(&self) -> Result<Vec<u8>> {
        let key = self.host.home().join("key.pem");
        self.seal(self.certificate, Duration::ZERO, |bytes| self.sign(bytes, &key).ok())
    }

    /// All in order, but another identity's, encrypted for this one.
    fn by_a_stranger(&self, key: KeyHash) -> Result<Vec<u8>> {
        let (own, private) = (self.host.home().join("cert.pem"), self.host.home().join("key.pem"));
        let sealed = self.seal(&own, Duration::ZERO, |bytes| self.sign(bytes, &private).ok())?;
        let plaintext = envelope::decrypt(&sealed, &KeyHash::of_certificate(&self.der(&own)?), today()?)?;
        Ok(envelope::encrypt(&plaintext, &key, today()?, [3; 24]))
    }

    fn seal(
        &self,
        certificate: &Path,
        ago: Duration,
        sign: impl FnOnce(&[u8]) -> Option<Signature>,
    ) -> Result<Vec<u8>> {
        let issued = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)? - ago;
        let issued_ms = u64::try_from(issued.as_millis())?;
        let record = SealedRecord {
            addresses: HostList::parse_lenient(&format!("203.0.113.5:{IMPOSTOR_PORT}")),
            relays: HostList::default(),
            home: Home::default(),
            quic: Vec::new(),
            punch: Vec::new(),
            issued_ms,
            expires_ms: issued_ms + 3_600_000,
            // Higher than any honest one.
            sequence: u64::MAX,
            publisher: 1,
            tunnels: vec![1],
        };
        Ok(seal(&record, &self.der(certificate)?, today()?, [7; 24], sign)?)
    }

    fn sign(&self, bytes: &[u8], key: &Path) -> Result<Signature> {
        let (file, signature) = (self.host.home().join("statement"), self.host.home().join("signature"));
        std::fs::write(&file, bytes)?;
        let [key, file, out] = [key, &file, &signature].map(|path| path.to_str().context("a path"));
        self.host.run("openssl", &["dgst", "-sha256", "-sign", key?, "-out", out?, file?])?.success()?;
        Ok(Signature { scheme: ECDSA_P256, bytes: std::fs::read(signature)? })
    }

    fn der(&self, certificate: &Path) -> Result<Vec<u8>> {
        let der = self.host.home().join("certificate.der");
        let [from, to] = [certificate, &der].map(|path| path.to_str().context("a path"));
        self.host.run("openssl", &["x509", "-in", from?, "-outform", "der", "-out", to?])?.success()?;
        Ok(std::fs::read(der)?)
    }
}
