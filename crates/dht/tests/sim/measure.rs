//! What a network is like to its users: how lookups end, and what taking part costs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hardline_dht::{Counters, InfoHash, Value, ValueType};

use super::{HostId, Sim};

/// What series of lookups gave.
#[derive(Debug, Default)]
pub struct Lookups {
    /// Those that found what had been put, of all.
    pub found: usize,
    /// Hops, sorted.
    pub hops: Vec<u32>,
    /// Times, sorted.
    pub times: Vec<Duration>,
    /// Requests sent by all of them.
    pub requests: u64,
}

impl Lookups {
    /// Share of the lookups that found what had been put.
    pub fn share_found(&self) -> f64 {
        self.found as f64 / self.hops.len() as f64
    }

    /// Adds another series.
    pub fn merge(&mut self, other: Self) {
        self.found += other.found;
        self.requests += other.requests;
        self.hops.extend(other.hops);
        self.times.extend(other.times);
        self.hops.sort_unstable();
        self.times.sort_unstable();
    }
}

/// Puts `count` values from anywhere and gets each from anywhere.
pub fn put_and_get(sim: &mut Sim, count: usize) -> Lookups {
    let mut puts = Vec::new();
    for number in 0..count {
        let (host, key) = (sim.anyone(), InfoHash::of(format!("key {number}").as_bytes()));
        sim.watched.push(host);
        puts.push((host, sim.put(host, key, value_for(&key, 1), false), key));
    }
    for (host, op, _) in &puts {
        sim.finish(*host, *op);
    }
    let mut gets = Vec::new();
    for (publisher, _, key) in &puts {
        // The publisher itself would find its own copy.
        let host = std::iter::repeat_with(|| sim.anyone()).find(|host| host != publisher).unwrap();
        sim.watched.push(host);
        gets.push((host, sim.get(host, *key), *key));
    }
    let mut lookups = Lookups::default();
    for (host, op, key) in &gets {
        let (summary, _) = sim.finish(*host, *op);
        lookups.hops.push(summary.hops);
        lookups.times.push(summary.elapsed);
        lookups.requests += u64::from(summary.requests);
        let values = sim.found.get(&(*host, *op));
        if values.is_some_and(|values| values.iter().any(|value| value.data() == key.0)) {
            lookups.found += 1;
        }
    }
    lookups.hops.sort_unstable();
    lookups.times.sort_unstable();
    sim.watched.clear();
    lookups
}

/// A value whose content tells its key.
pub fn value_for(key: &InfoHash, id: u64) -> Value {
    Value::new(id, ValueType::USER_DATA, &key.0, "").unwrap()
}

/// What nodes sent and received in an hour, those that were there for the whole of it.
pub struct Traffic {
    pub messages_out: Spread,
    pub bytes_out: Spread,
    pub messages_in: Spread,
    pub bytes_in: Spread,
}

/// How a figure differs between nodes.
pub struct Spread(Vec<u64>);

impl Traffic {
    /// What was counted between `before` and `after`.
    pub fn between(before: &BTreeMap<HostId, Counters>, after: &BTreeMap<HostId, Counters>) -> Self {
        let spread = |figure: fn(&Counters) -> u64| {
            let stayed = after.iter().filter_map(|(id, after)| Some(figure(after) - figure(before.get(id)?)));
            let mut figures: Vec<u64> = stayed.collect();
            figures.sort_unstable();
            Spread(figures)
        };
        Self {
            messages_out: spread(|counters| counters.datagrams_out),
            bytes_out: spread(|counters| counters.bytes_out),
            messages_in: spread(|counters| counters.datagrams_in),
            bytes_in: spread(|counters| counters.bytes_in),
        }
    }
}

impl Spread {
    /// The figure that `percent` of the nodes do not exceed.
    pub fn percentile(&self, percent: usize) -> u64 {
        self.0[(self.0.len() - 1) * percent / 100]
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, median, high, most] = [5, 50, 95, 100].map(|percent| self.percentile(percent));
        write!(f, "{median} ({low} to {high}, most {most})")
    }
}
