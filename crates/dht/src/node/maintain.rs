//! Getting into the network and staying there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom as _;

use super::Node;
use crate::address::{Family, canonical, is_martian};
use crate::external_addr::Outcome;
use crate::hash::InfoHash;
use crate::limits::{
    BOOTSTRAP_RETRY_MAX, BOOTSTRAP_RETRY_MIN, DOUBT_INTERVAL, MAX_BOOTSTRAP, REPLICATION, WANTED_SIGHTINGS,
};
use crate::message::{Reply, Request, Want};
use crate::operation::Event;
use crate::request::Purpose;
use crate::time::Time;

/// Time after joining in which the table is filled quickly.
const SETTLING: Duration = Duration::from_secs(60);

/// Time between looks into a bucket with few good nodes.
const POOR_INTERVAL: Duration = Duration::from_secs(2 * 60);

/// Time between looks around our own id.
const NEIGHBOURHOOD_INTERVAL: Duration = Duration::from_secs(4 * 60);

impl Node {
    /// Adds addresses to start from: well-known hosts, or nodes that were good last time. They are
    /// asked until one answers, with growing pauses, and again whenever no good node is left.
    pub fn bootstrap(&mut self, now: Time, addrs: &[SocketAddr]) {
        let are_told = !addrs.is_empty() && std::mem::take(&mut self.config.bootstrap_follows);
        for addr in addrs.iter().copied().map(canonical) {
            let known = self.bootstrap.contains(&addr);
            if !known && !is_martian(&addr) && self.bootstrap.len() < MAX_BOOTSTRAP {
                self.bootstrap.push(addr);
            }
        }
        for family in Family::ALL {
            let wanted = self.bootstrap.iter().any(|addr| Family::of(addr) == family);
            let link = self.link_mut(family);
            if wanted && link.enabled && !link.connected {
                link.bootstrap_wait = BOOTSTRAP_RETRY_MIN;
                self.ask_bootstrap_hosts(now, family);
            } else if are_told {
                // Nobody of this family is to be expected.
                self.feed_searches(now, family);
            }
        }
    }

    /// Tells the node that this computer's addresses or its line have changed: every node has to
    /// prove itself again.
    pub fn network_changed(&mut self, now: Time) {
        self.failed.clear();
        self.tables.iter_mut().for_each(|link| link.sightings.clear());
        self.next_maintenance = now + Duration::from_micros(1);
        for family in Family::ALL {
            let due: Vec<_> = self.link(family).table.entries().map(|entry| entry.node).take(REPLICATION).collect();
            due.into_iter().for_each(|node| self.verify(now, node));
        }
        let addrs = self.bootstrap.clone();
        self.bootstrap(now, &addrs);
    }

    /// Asks one of the nodes near us where it sees us. If that is elsewhere than before, the others
    /// are asked, too, and whoever tells us of values is told where we are. For whom it matters
    /// soon: without it the next answer to anything else tells.
    pub fn check_address(&mut self, now: Time) {
        for family in Family::ALL {
            let near = self.link(family).table.closest(&self.id, REPLICATION, |entry| entry.is_good(now));
            if let Some(node) = near.choose(&mut self.rng) {
                self.verify(now, *node);
            }
        }
    }

    /// Takes note that `from` sees us at `ip`.
    pub(super) fn seen_at(&mut self, now: Time, from: SocketAddr, ip: IpAddr) {
        let family = Family::of(&from);
        let link = self.link_mut(family);
        match link.external_addr.add(from, ip) {
            Outcome::Same => {}
            Outcome::Elected(elected) => {
                // They were of the address before.
                link.sightings.clear();
                self.events.push_back(Event::PublicAddress(elected));
            }
            Outcome::Doubt if now < link.believed_until => {}
            Outcome::Doubt => {
                link.believed_until = now + DOUBT_INTERVAL;
                self.ask_whether_we_moved(now, family);
            }
        }
    }

    /// Asks nodes near us where they see us, and begins to listen anew: what is pushed to an
    /// address that is not ours any more is lost.
    fn ask_whether_we_moved(&mut self, now: Time, family: Family) {
        let near = self.link(family).table.closest(&self.id, REPLICATION, |entry| entry.is_good(now));
        near.into_iter().for_each(|node| self.verify(now, node));
        let listening = self.searches.iter().filter(|(_, (_, of, _))| *of == family).map(|(id, _)| *id);
        let listening: Vec<_> = listening.collect();
        for id in listening {
            self.with_search(now, id, |search, _| search.listen_anew(now));
        }
    }

    pub(super) fn bootstrap_if_due(&mut self, now: Time) {
        for family in Family::ALL {
            if self.link(family).next_bootstrap.is_some_and(|at| at <= now) {
                self.ask_bootstrap_hosts(now, family);
            }
        }
    }

    /// A good node of this family has answered.
    pub(super) fn note_connected(&mut self, now: Time, family: Family) {
        let own_id = self.id;
        let link = self.link_mut(family);
        if link.connected {
            return;
        }
        link.connected = true;
        link.next_bootstrap = None;
        self.joined = Some(now);
        self.next_maintenance = self.next_maintenance.min(now + Duration::from_secs(2));
        self.events.push_back(Event::Connected(family));
        self.explore(now, family, own_id);
        self.feed_searches(now, family);
    }

    pub(super) fn maintain_if_due(&mut self, now: Time) {
        if now < self.next_maintenance {
            return;
        }
        let settling = self.joined.is_some_and(|joined| now.since(joined) < SETTLING);
        let pause = if settling { 3_000..=5_000 } else { 20_000..=40_000 };
        let poor_interval = if settling { SETTLING / 20 } else { POOR_INTERVAL };
        self.next_maintenance = now + Duration::from_millis(self.rng.random_range(pause));
        self.failed.retain(|_, until| *until > now);
        for family in Family::ALL {
            if !self.link(family).enabled {
                continue;
            }
            self.notice_disconnection(now, family);
            self.refresh_buckets(now, family, poor_interval);
            self.ask_where_we_are(now, family);
            let due: Vec<_> = self.link(family).table.due(now).take(REPLICATION).collect();
            due.into_iter().for_each(|node| self.verify(now, node));
        }
        if now >= self.next_neighbourhood {
            self.next_neighbourhood = now + NEIGHBOURHOOD_INTERVAL;
            self.look_around(now);
        }
    }

    /// Makes the acquaintance of nodes that a maintenance reply names, where the table has room.
    pub(super) fn get_to_know(&mut self, now: Time, namer: SocketAddr, reply: &Reply<'_>) {
        for node in self.named_nodes(now, namer, reply) {
            if self.link(Family::of(&node.addr)).table.has_room_for(&node.id) {
                self.verify(now, node);
            }
        }
    }

    fn ask_bootstrap_hosts(&mut self, now: Time, family: Family) {
        let hosts: Vec<_> = self.bootstrap.iter().copied().filter(|addr| Family::of(addr) == family).collect();
        for addr in hosts {
            let asked =
                self.requests.iter().any(|(_, pending)| pending.to == addr && pending.purpose == Purpose::Bootstrap);
            if !asked {
                self.request(now, addr, None, Purpose::Bootstrap, 3, Request::Ping);
            }
        }
        let link = self.link_mut(family);
        link.next_bootstrap = Some(now + link.bootstrap_wait);
        link.bootstrap_wait = (link.bootstrap_wait * 2).min(BOOTSTRAP_RETRY_MAX);
    }

    /// When no good node is left, all that were ever known are asked, beside the bootstrap hosts.
    fn notice_disconnection(&mut self, now: Time, family: Family) {
        let link = self.link_mut(family);
        if !link.connected || link.table.good(now).next().is_some() {
            return;
        }
        link.connected = false;
        link.bootstrap_wait = BOOTSTRAP_RETRY_MIN;
        let known: Vec<_> = link.table.entries().map(|entry| entry.node).collect();
        self.events.push_back(Event::Disconnected(family));
        known.into_iter().for_each(|node| self.verify(now, node));
        self.ask_bootstrap_hosts(now, family);
    }

    /// Looks for a random id in each bucket that has been silent for long, or that has few good
    /// nodes.
    fn refresh_buckets(&mut self, now: Time, family: Family, poor_interval: Duration) {
        if !self.link(family).connected {
            return;
        }
        let table = &mut self.tables[usize::from(family == Family::V6)].table;
        for stale in table.stale(now, poor_interval, &mut self.rng) {
            // Neighbours of a poor bucket tend to miss the same nodes: as often as not somebody far
            // away is asked.
            let is_far = stale.is_poor && self.rng.random();
            let near = if is_far { self.id.random_sharing(0, &mut self.rng) } else { stale.target };
            self.ask_near(now, family, &near, stale.target);
        }
    }

    /// Looks for newcomers near our own id.
    fn look_around(&mut self, now: Time) {
        for family in Family::ALL {
            if self.link(family).connected {
                let target = self.id.random_sharing(InfoHash::BITS - 8, &mut self.rng);
                self.ask_near(now, family, &target, target);
            }
        }
    }

    /// Asks a node that has not told for those near our own id, of which we are the first, until
    /// enough have named us.
    ///
    /// Only one that takes part learns it. Behind a NAT it costs others some waits, for those whom
    /// it has not sent to cannot reach it; a client would spare them that. But a released node
    /// names none but those that have answered it, a client answers nothing but pings, and its flag
    /// keeps it out of every table. Whoever publishes lives long, answers those it has sent to, and
    /// has to know at which port it is seen; whoever only asks is gone before anybody would name
    /// it, and stays a client.
    fn ask_where_we_are(&mut self, now: Time, family: Family) {
        let link = self.link(family);
        if self.config.client || link.sightings.fresh(now).count() >= WANTED_SIGHTINGS {
            return;
        }
        let silent = link.table.good(now).filter(|entry| !link.sightings.has_told(now, entry.node.addr));
        let silent: Vec<_> = silent.map(|entry| entry.node).collect();
        if let Some(node) = silent.choose(&mut self.rng) {
            let request = Request::Find { target: self.id, want: None };
            self.request(now, node.addr, Some(node.id), Purpose::Maintain, 3, request);
        }
    }

    /// Asks one good node near `near` for nodes around `target`, of all families we have.
    fn ask_near(&mut self, now: Time, family: Family, near: &InfoHash, target: InfoHash) {
        let nearest = self.link(family).table.closest(near, REPLICATION, |entry| entry.is_good(now));
        if nearest.is_empty() {
            return;
        }
        let node = nearest[self.rng.random_range(0..nearest.len())];
        let (v4, v6) = (self.link(Family::V4).enabled, self.link(Family::V6).enabled);
        let want = (v4 && v6).then_some(Want { v4, v6 });
        self.request(now, node.addr, Some(node.id), Purpose::Maintain, 3, Request::Find { target, want });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::node::Config;

    const MINE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

    /// A node that says another thing each time has us ask the others once in five seconds.
    #[test]
    fn doubts_about_our_address_are_followed_now_and_then() {
        let config = Config { families: vec![Family::V4], ..Config::default() };
        let (mut node, start) = (Node::new(Time::ZERO, config, StdRng::seed_from_u64(1)), Time::from_secs(1));
        let voter = |n: u8| SocketAddr::from(([192, 0, n, 1], 4222));
        for n in 1..=5 {
            node.seen_at(start, voter(n), MINE);
        }
        let mut followed = BTreeSet::new();
        for ms in (0..12_000).step_by(100) {
            for claimed in [ELSEWHERE, MINE] {
                node.seen_at(start + Duration::from_millis(ms), voter(1), claimed);
            }
            followed.insert(node.link(Family::V4).believed_until);
        }
        assert_eq!(followed.len(), 3);
        assert_eq!(node.public_address(Family::V4), Some(MINE));
    }
}
