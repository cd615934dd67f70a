//! Two homes, the internet between them, and the DHT.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use hardline_lab::{DhtNetwork, Host, Lab, Mapping, Router, Service, Switch};
use hardline_node::proto::KeyHash;
use hardline_node::proto::dht_key;
use hardline_node::proto::rolling::Day;

/// Between any two computers on the internet.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(40);

/// Nodes of the DHT.
const NODES: u8 = 6;

/// Alice's home is 203.0.113.5, and Bob is a guest in another one, 203.0.113.6, whose router maps
/// no ports.
pub(crate) struct TwoHomes {
    pub(crate) dht: DhtNetwork,
    pub(crate) home: Router,
    pub(crate) away: Router,
    /// 192.168.5.2.
    pub(crate) alice: Host,
    /// 192.168.6.2.
    pub(crate) bob: Host,
    pub(crate) internet: Switch,
}

impl TwoHomes {
    /// Alice's router maps ports as `mapping` says.
    pub(crate) fn new(lab: &Lab, mapping: Mapping) -> Result<Self> {
        Self::at(lab, mapping, ROUND_TRIP)
    }

    /// The same, with this round trip between any two computers on the internet.
    pub(crate) fn at(lab: &Lab, mapping: Mapping, round_trip: Duration) -> Result<Self> {
        let internet = lab.slow_internet(round_trip)?;
        let dht = lab.dht(&internet, NODES)?;
        let (home, away) = (lab.home(&internet, 5, mapping)?, lab.home(&internet, 6, Mapping::None)?);
        let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
        home.connect(&alice, 2)?;
        away.connect(&bob, 2)?;
        Ok(Self { dht, home, away, alice, bob, internet })
    }

    /// Publishes a service at Alice's and waits until it stands in the DHT.
    pub(crate) fn publish(&self, options: &[&str]) -> Result<Service> {
        let dht = self.dht.options();
        self.published(self.alice.service(&[&texts(&dht), options].concat())?)
    }

    /// The same, with the identity in `certificate`.
    pub(crate) fn publish_as(&self, certificate: &Path) -> Result<Service> {
        self.published(self.alice.service_with_identity(certificate, &texts(&self.dht.options()))?)
    }

    fn published(&self, service: Service) -> Result<Service> {
        self.dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
        Ok(service)
    }
}

/// Where a service's sealed record is today.
pub(crate) fn sealed_key(key: &str) -> Result<[u8; 20]> {
    let key: KeyHash = key.parse()?;
    Ok(dht_key::sealed(&key, today()?))
}

pub(crate) fn today() -> Result<Day> {
    Ok(Day::from_unix_seconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs()))
}

/// Options as our program's launcher takes them.
pub(crate) fn texts(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}
