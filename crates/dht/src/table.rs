//! The routing table of one address family.

use std::net::SocketAddr;
use std::time::Duration;

use rand::{Rng, RngExt};

use crate::hash::InfoHash;
use crate::limits::{BUCKET_STALE, GOOD_AFTER_HEARD, GOOD_AFTER_REPLY, KEEP_FRESH_AFTER, REPLICATION};
use crate::message::NodeAddr;
use crate::time::Time;

/// A node that has been heard of directly: it sent us something.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) node: NodeAddr,
    pub(crate) heard: Time,
    /// Its last answer to a request of ours. Only nodes that have answered are named to others.
    pub(crate) replied: Option<Time>,
    /// A request to it went unanswered; anything from it clears the mark.
    pub(crate) expired: bool,
}

impl Entry {
    pub(crate) fn is_good(&self, now: Time) -> bool {
        !self.expired
            && now.since(self.heard) <= GOOD_AFTER_HEARD
            && self.replied.is_some_and(|at| now.since(at) <= GOOD_AFTER_REPLY)
    }
}

/// Nodes that share exactly as many leading bits with our id as the bucket's index says; those in
/// the last bucket share at least as many.
#[derive(Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    /// A newcomer that waits for a place.
    candidate: Option<NodeAddr>,
    /// The last reply from any node in it, or the last time we looked for one.
    refreshed: Time,
    /// The last time we looked for nodes in it.
    looked_into: Time,
}

/// A bucket to be looked into.
#[derive(Debug)]
pub(crate) struct Stale {
    /// An id in it.
    pub(crate) target: InfoHash,
    /// Whether there are few good nodes in it.
    pub(crate) is_poor: bool,
}

/// What to do with a node that was heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is known, or there is no room for it.
    Nothing,
    /// It is new in the table and should be asked something.
    New,
    /// It waits for a place; ask this dubious node whether it still lives.
    Doubt(NodeAddr),
}

/// Buckets of eight; only the bucket that holds our own id is split.
#[derive(Debug)]
pub(crate) struct Table {
    id: InfoHash,
    buckets: Vec<Bucket>,
}

impl Table {
    pub(crate) fn new(id: InfoHash) -> Self {
        Self { id, buckets: vec![Bucket::default()] }
    }

    /// Notes a datagram from `node`; `replied` when it answered a request of ours.
    pub(crate) fn heard(&mut self, now: Time, node: NodeAddr, replied: bool) -> Heard {
        if node.id == self.id {
            return Heard::Nothing;
        }
        loop {
            let (index, last) = (self.index(&node.id), self.buckets.len() - 1);
            let bucket = &mut self.buckets[index];
            if replied {
                bucket.refreshed = now;
            }
            if let Some(entry) = bucket.entries.iter_mut().find(|entry| entry.node.id == node.id) {
                return update(entry, now, node, replied);
            }
            let entry = Entry { node, heard: now, replied: replied.then_some(now), expired: false };
            if bucket.entries.len() < REPLICATION {
                bucket.entries.push(entry);
                return Heard::New;
            }
            if let Some(dead) = bucket.entries.iter_mut().find(|entry| entry.expired) {
                *dead = entry;
                return Heard::New;
            }
            if index == last && last < InfoHash::BITS - 1 {
                self.split_last();
                continue;
            }
            bucket.candidate = Some(node);
            let dubious = bucket.entries.iter().filter(|entry| !entry.is_good(now)).min_by_key(|entry| entry.heard);
            return dubious.map_or(Heard::Nothing, |entry| Heard::Doubt(entry.node));
        }
    }

    /// Notes that `id` left a request unanswered. Returns a node that waited for its place, to be
    /// asked.
    pub(crate) fn failed(&mut self, id: &InfoHash) -> Option<NodeAddr> {
        let index = self.index(id);
        let bucket = &mut self.buckets[index];
        let entry = bucket.entries.iter_mut().find(|entry| entry.node.id == *id)?;
        entry.expired = true;
        bucket.candidate.take()
    }

    /// Up to `count` nodes nearest to `target` for which `pick` holds, the nearest first.
    pub(crate) fn closest(&self, target: &InfoHash, count: usize, pick: impl Fn(&Entry) -> bool) -> Vec<NodeAddr> {
        let mut found: Vec<((u64, u64, u32), NodeAddr)> = Vec::with_capacity(count + REPLICATION);
        let collect = |bucket: &Bucket, found: &mut Vec<_>| {
            let picked = bucket.entries.iter().filter(|entry| pick(entry));
            found.extend(picked.map(|entry| (target.xor(&entry.node.id), entry.node)));
        };
        let home = self.index(target);
        // Nodes of the target's bucket differ from it later than all others; those of the buckets
        // beyond differ from it at one bit, the same for all; each bucket before differs one bit
        // earlier.
        collect(&self.buckets[home], &mut found);
        if found.len() < count {
            self.buckets[home + 1..].iter().for_each(|bucket| collect(bucket, &mut found));
        }
        for bucket in self.buckets[..home].iter().rev() {
            if found.len() >= count {
                break;
            }
            collect(bucket, &mut found);
        }
        found.sort_unstable_by_key(|(distance, _)| *distance);
        found.truncate(count);
        found.into_iter().map(|(_, node)| node).collect()
    }

    /// Good nodes.
    pub(crate) fn good(&self, now: Time) -> impl Iterator<Item = &Entry> {
        self.entries().filter(move |entry| entry.is_good(now))
    }

    /// Nodes known.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    /// Whether a node with this id would find a place.
    pub(crate) fn has_room_for(&self, id: &InfoHash) -> bool {
        let index = self.index(id);
        let bucket = &self.buckets[index];
        *id != self.id
            && bucket.entries.iter().all(|entry| entry.node.id != *id)
            && (bucket.entries.len() < REPLICATION
                || index == self.buckets.len() - 1
                || bucket.entries.iter().any(|entry| entry.expired))
    }

    /// The address and mark of a node.
    pub(crate) fn get(&self, id: &InfoHash) -> Option<&Entry> {
        self.buckets[self.index(id)].entries.iter().find(|entry| entry.node.id == *id)
    }

    /// Nodes that should be asked now lest they become dubious: not expired, silent for some time.
    pub(crate) fn due(&self, now: Time) -> impl Iterator<Item = NodeAddr> {
        let due = move |entry: &&Entry| !entry.expired && now.since(entry.heard) >= KEEP_FRESH_AFTER;
        self.entries().filter(due).map(|entry| entry.node)
    }

    /// A random id in each bucket that has not had a reply for long, or that has few good nodes and
    /// has not been looked into for `poor_interval`. Marks these buckets as refreshed.
    pub(crate) fn stale(&mut self, now: Time, poor_interval: Duration, rng: &mut impl Rng) -> Vec<Stale> {
        let last = self.buckets.len() - 1;
        let mut targets = Vec::new();
        for (index, bucket) in self.buckets.iter_mut().enumerate() {
            let good = bucket.entries.iter().filter(|entry| entry.is_good(now)).count();
            let is_poor = good < REPLICATION / 2 && (index < last || last == 0);
            let silent = now.since(bucket.refreshed);
            if silent >= BUCKET_STALE || is_poor && now.since(bucket.looked_into) >= poor_interval {
                (bucket.refreshed, bucket.looked_into) = (now, now);
                let bits = if index == last { index + rng.random_range(0..4) } else { index };
                targets.push(Stale { target: self.id.random_sharing(bits, rng), is_poor });
            }
        }
        targets
    }

    /// Number of buckets.
    pub(crate) fn depth(&self) -> usize {
        self.buckets.len()
    }

    /// Nodes there are in the network, judged from how near the nearest of them are.
    pub(crate) fn network_size(&self, now: Time) -> u64 {
        let nearest = self.closest(&self.id, REPLICATION, |entry| entry.is_good(now));
        let Some(last) = nearest.last() else { return 1 };
        if nearest.len() < REPLICATION {
            return nearest.len() as u64 + 1;
        }
        let span = self.id.xor(&last.id).0.max(1) as f64;
        (REPLICATION as f64 * (u64::MAX as f64 / span)) as u64
    }

    fn index(&self, id: &InfoHash) -> usize {
        self.id.common_bits(id).min(self.buckets.len() - 1)
    }

    fn split_last(&mut self) {
        let index = self.buckets.len() - 1;
        let bucket = &mut self.buckets[index];
        let id = self.id;
        let (deeper, stay) = bucket.entries.drain(..).partition(|entry| id.common_bits(&entry.node.id) > index);
        bucket.entries = stay;
        let (refreshed, looked_into) = (bucket.refreshed, bucket.looked_into);
        self.buckets.push(Bucket { entries: deeper, candidate: None, refreshed, looked_into });
    }

    /// What must hold after every step.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (index, bucket) in self.buckets.iter().enumerate() {
            let last = index == self.buckets.len() - 1;
            if bucket.entries.len() > REPLICATION {
                return Err(format!("bucket {index} holds {}", bucket.entries.len()));
            }
            for entry in &bucket.entries {
                let bits = self.id.common_bits(&entry.node.id);
                if bits != index && !(last && bits > index) {
                    return Err(format!("{} shares {bits} bits but is in bucket {index}", entry.node.id));
                }
            }
        }
        Ok(())
    }
}

/// A node that comes back from another address under its old id is believed only when it answers
/// from there, or when nothing is known to be at the old one.
fn update(entry: &mut Entry, now: Time, node: NodeAddr, replied: bool) -> Heard {
    let moved = entry.node.addr != node.addr;
    if moved && !replied && entry.is_good(now) {
        return Heard::Nothing;
    }
    if moved {
        *entry = Entry { node, heard: now, replied: replied.then_some(now), expired: false };
        return if replied { Heard::Nothing } else { Heard::New };
    }
    entry.heard = now;
    entry.expired = false;
    if replied {
        entry.replied = Some(now);
    }
    Heard::Nothing
}

/// The address of a node named by its table entry, for tests and lists.
impl From<&Entry> for SocketAddr {
    fn from(entry: &Entry) -> Self {
        entry.node.addr
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn node(rng: &mut StdRng, port: u16) -> NodeAddr {
        NodeAddr { id: InfoHash::random(rng), addr: ([192, 0, 2, 1], port).into() }
    }

    fn filled(count: u16, seed: u64) -> (Table, Vec<NodeAddr>) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut table = Table::new(InfoHash::random(&mut rng));
        let nodes: Vec<_> = (1..=count).map(|port| node(&mut rng, port)).collect();
        for node in &nodes {
            table.heard(Time::ZERO, *node, true);
        }
        (table, nodes)
    }

    #[test]
    fn a_node_is_good_only_after_it_has_answered() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut table = Table::new(InfoHash::random(&mut rng));
        let node = node(&mut rng, 1);
        assert_eq!(table.heard(Time::ZERO, node, false), Heard::New);
        assert_eq!(table.good(Time::ZERO).count(), 0);
        table.heard(Time::ZERO, node, true);
        assert_eq!(table.good(Time::ZERO).count(), 1);
        assert_eq!(table.good(Time::ZERO + GOOD_AFTER_HEARD + Duration::from_secs(1)).count(), 0);
    }

    #[test]
    fn an_expired_node_gives_its_place_to_a_newcomer() {
        let (mut table, nodes) = filled(1000, 2);
        let full = table.buckets[0].entries[0].node;
        let mut rng = StdRng::seed_from_u64(3);
        let newcomer = NodeAddr { id: table.id.random_sharing(0, &mut rng), addr: nodes[0].addr };
        assert_eq!(table.heard(Time::ZERO, newcomer, true), Heard::Nothing);
        assert_eq!(table.failed(&full.id), Some(newcomer));
        assert_eq!(table.heard(Time::ZERO, newcomer, true), Heard::New);
        assert!(table.get(&full.id).is_none());
    }

    #[test]
    fn an_id_cannot_be_taken_away_by_a_request_from_elsewhere() {
        let (mut table, nodes) = filled(1, 4);
        let thief = NodeAddr { id: nodes[0].id, addr: ([203, 0, 113, 1], 1).into() };
        table.heard(Time::ZERO, thief, false);
        assert_eq!(table.get(&nodes[0].id).unwrap().node, nodes[0]);
        table.heard(Time::ZERO, thief, true);
        assert_eq!(table.get(&nodes[0].id).unwrap().node, thief);
    }

    #[test]
    fn a_full_table_knows_its_neighbourhood() {
        let (table, mut nodes) = filled(2000, 5);
        nodes.sort_by(|a, b| table.id.cmp_distance(&a.id, &b.id));
        assert_eq!(table.closest(&table.id, 8, |_| true), nodes[..8]);
        assert!((500..8000).contains(&table.network_size(Time::ZERO)), "{}", table.network_size(Time::ZERO));
    }

    #[test]
    fn every_bucket_is_refreshed_after_its_time_and_only_then() {
        let (mut table, _) = filled(500, 6);
        let depth = table.depth();
        let mut rng = StdRng::seed_from_u64(6);
        let mut stale = |at| table.stale(Time::from_secs(at), BUCKET_STALE, &mut rng).len();
        assert_eq!(stale(599), 0);
        assert_eq!(stale(600), depth);
        assert_eq!(stale(700), 0);
    }

    #[test]
    fn a_bucket_with_few_good_nodes_is_looked_into_more_often() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut table = Table::new(InfoHash::random(&mut rng));
        for port in 1..=3 {
            table.heard(Time::ZERO, node(&mut rng, port), true);
        }
        let minute = Duration::from_secs(60);
        assert_eq!(table.stale(Time::from_secs(59), minute, &mut rng).len(), 0);
        assert!(table.stale(Time::from_secs(60), minute, &mut rng)[0].is_poor);
        assert_eq!(table.stale(Time::from_secs(61), minute, &mut rng).len(), 0);
    }

    proptest! {
        #[test]
        fn closest_is_what_sorting_everything_gives(count in 0u16..400, seed: u64, target: [u8; 20], near in 0usize..30) {
            let (table, _) = filled(count, seed);
            table.check().unwrap();
            let random = InfoHash(target);
            let close = table.id.random_sharing(near, &mut StdRng::seed_from_u64(seed));
            for target in [random, close, table.id] {
                let mut all: Vec<_> = table.entries().map(|entry| entry.node).collect();
                all.sort_by(|a, b| target.cmp_distance(&a.id, &b.id));
                all.truncate(8);
                prop_assert_eq!(table.closest(&target, 8, |_| true), all);
            }
        }
    }
}
