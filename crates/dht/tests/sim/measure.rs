//! What a network is like to its users: how lookups end, and what taking part costs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hardline_dht::{Config, Counters, InfoHash, Value, ValueType};

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

/// How long it takes to reach a listener.
pub struct Calls {
    /// Time until each was heard, sorted.
    pub heard: Vec<Duration>,
    /// Calls that nobody heard.
    pub lost: usize,
    /// Time until each put was done, sorted.
    pub done: Vec<Duration>,
    /// Requests of each put, sorted.
    pub requests: Vec<u32>,
    /// Nodes that store each value afterwards among the eight nearest that can be reached, summed.
    pub stored: usize,
}

/// Puts `count` values, each under a key that somebody has listened to for some time. Callers have
/// been in the network for a while or, when `fresh`, come for the call.
pub fn call(sim: &mut Sim, count: usize, fresh: bool) -> Calls {
    let mut listeners = Vec::new();
    for number in 0..count {
        let (host, key) = (sim.anyone(), InfoHash::of(format!("call {number}").as_bytes()));
        sim.watched.push(host);
        listeners.push((host, sim.listen(host, key), key));
    }
    sim.run_for(Duration::from_secs(60));
    let mut calls = Calls { heard: Vec::new(), lost: 0, done: Vec::new(), requests: Vec::new(), stored: 0 };
    for (listener, listening, key) in listeners {
        let config = Config { client: true, ..Config::default() };
        let caller = if fresh {
            sim.join(config)
        } else {
            std::iter::repeat_with(|| sim.anyone()).find(|host| *host != listener).unwrap()
        };
        let put = sim.put(caller, key, value_for(&key, 1), false);
        match sim.hear(listener, listening, Duration::from_secs(30)) {
            Some(time) => calls.heard.push(time),
            None => calls.lost += 1,
        }
        let (summary, _) = sim.finish(caller, put);
        calls.done.push(summary.elapsed);
        calls.requests.push(summary.requests);
        calls.stored += sim.storing_among_nearest(&key);
        if fresh {
            sim.leave(caller);
        }
    }
    calls.heard.sort_unstable();
    calls.done.sort_unstable();
    calls.requests.sort_unstable();
    sim.watched.clear();
    calls
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100].as_millis();
        let [heard, done] = [&self.heard, &self.done]
            .map(|times| format!("{} / {} / {} ms", at(times, 50), at(times, 95), at(times, 100)));
        let (requests, count) = (self.requests[self.requests.len() / 2], self.requests.len());
        let stored = self.stored as f64 / count as f64;
        write!(f, "heard {heard}, {} lost; done {done}; {requests} requests, {stored:.2} copies", self.lost)
    }
}

/// What many who call at once are to a network.
pub struct Crowd {
    /// Time until each call was heard, sorted.
    pub heard: Vec<Duration>,
    /// Calls that nobody heard within [`HEARING`].
    pub lost: usize,
    /// What nodes sent in an hour while somebody listened and nobody called.
    pub quiet: Spread,
    /// The same while they called.
    pub calling: Spread,
}

/// Time that a call has to be heard: a page waits no longer.
pub const HEARING: Duration = Duration::from_secs(10);

/// Time for which messages are counted, with calls and without.
const COUNTED: Duration = Duration::from_secs(120);

/// Has `listeners` listen, each under a key of its own, and `rate` calls made to them in a second,
/// by anybody. Listeners, and callers until they are heard, stay whatever churn there is.
pub fn crowd(sim: &mut Sim, listeners: usize, rate: u32) -> Crowd {
    let mut listening = Vec::new();
    for number in 0..listeners {
        let (host, key) = (sim.anyone(), InfoHash::of(format!("listener {number}").as_bytes()));
        sim.watched.push(host);
        listening.push((host, sim.listen(host, key), key));
        sim.run_for(Duration::from_millis(20));
    }
    sim.run_for(Duration::from_secs(60));
    let an_hour = |traffic: Traffic| traffic.messages_out.times(3600.0 / COUNTED.as_secs_f64());
    let before = sim.counters();
    sim.run_for(COUNTED);
    let quiet = an_hour(Traffic::between(&before, &sim.counters()));

    let (before, mut made) = (sim.counters(), Vec::new());
    for number in 0..u64::from(rate) * COUNTED.as_secs() {
        let (listener, op, key) = listening[number as usize % listening.len()];
        let caller = std::iter::repeat_with(|| sim.anyone()).find(|host| *host != listener).unwrap();
        sim.watched.push(caller);
        sim.put(caller, key, value_for(&key, number + 1), false);
        made.push(((listener, op, number + 1), sim.now()));
        sim.run_for(Duration::from_secs(1) / rate);
        if sim.watched.len() > listeners + HEARING.as_secs() as usize * rate as usize {
            sim.watched.remove(listeners);
        }
    }
    let calling = an_hour(Traffic::between(&before, &sim.counters()));
    sim.run_for(HEARING);
    let times = made.iter().map(|(call, at)| Some(sim.each_heard_at.get(call)?.since(*at)));
    let mut heard: Vec<_> = times.flatten().filter(|time| *time <= HEARING).collect();
    heard.sort_unstable();
    sim.watched.clear();
    Crowd { lost: made.len() - heard.len(), heard, quiet, calling }
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
    fn times(self, factor: f64) -> Self {
        Self(self.0.into_iter().map(|figure| (figure as f64 * factor) as u64).collect())
    }

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
