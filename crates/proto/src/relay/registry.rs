//! A relay's books: who holds which name, which data connections wait, which clients are joined.
//!
//! Pure: connections are values of the caller's types, `S` for a data connection that waits for a
//! client and `W` for a client that waits for a data connection.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Id, Name};
use crate::admission::counted;

/// Data connections kept waiting for a publisher at rest. One is for the next client, the second
/// for the browser's next connection right behind it.
pub const AHEAD: usize = 2;

/// Data connections kept waiting for a publisher in demand: about what a browser opens at once.
pub const MAX_AHEAD: usize = 16;

/// Time without a client after which a publisher counts as at rest again.
pub const DEMAND: Duration = Duration::from_secs(60);

/// Time that a publisher has to open a data connection it was asked for. Afterwards it is asked
/// again.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How much a relay carries, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayLimits {
    /// Publishers registered at once with one token.
    pub registrations_per_token: usize,
    /// Clients that wait for a data connection at once.
    pub waiting: usize,
    /// Connections joined at once.
    pub joined: usize,
    /// Of them, to one name.
    pub joined_per_name: usize,
    /// Of them, from one source address.
    pub joined_per_address: usize,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            // A household's computers, and room for one that comes back under another address.
            registrations_per_token: 16,
            // Each is a descriptor and some hundred bytes, for the seconds until it is joined.
            waiting: 1024,
            // Two descriptors each; 20,000 descriptors are a common hard limit.
            joined: 8192,
            joined_per_name: 2048,
            // A mobile carrier's customers may share one address.
            joined_per_address: 1024,
        }
    }
}

/// The limit that refused a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayLimit {
    /// [`RelayLimits::registrations_per_token`].
    RegistrationsPerToken,
    /// [`RelayLimits::waiting`].
    Waiting,
    /// [`RelayLimits::joined`].
    Joined,
    /// [`RelayLimits::joined_per_name`].
    JoinedPerName,
    /// [`RelayLimits::joined_per_address`].
    JoinedPerAddress,
    /// How often and by how many services may be called ([`callers`](super::callers)).
    Calls,
}

/// One registration of one publisher, for as long as its control connection lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registration(u64);

/// A client that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaitId(u64);

/// A place among the joined connections; give it back with [`Registry::ended`].
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    name: Name,
    addr: IpAddr,
}

/// What came of [`Registry::register`].
#[derive(Debug, PartialEq, Eq)]
pub struct Registered {
    /// The new registration.
    pub registration: Registration,
    /// The same publisher's earlier one, which is gone: end its control connection.
    pub replaced: Option<Registration>,
    /// Names that another token holds.
    pub refused: Vec<Name>,
}

/// What becomes of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<S, W> {
    /// Join it with this data connection.
    Joined {
        /// The data connection.
        slot: S,
        /// The client, given back.
        client: W,
        /// Its place.
        place: Place,
        /// Whose client it is.
        registration: Registration,
    },
    /// It waits until its publisher has opened a data connection.
    Waiting {
        /// To take it back.
        wait: WaitId,
        /// Whose client it is.
        registration: Registration,
    },
    /// Nobody holds the name.
    Unknown(W),
    /// There are too many.
    Refused(W, RelayLimit),
}

/// What becomes of a data connection.
#[derive(Debug, PartialEq, Eq)]
pub enum DataArrival<S, W> {
    /// It waits for a client.
    Idle,
    /// Join it with this client.
    Joined {
        /// The data connection, given back.
        slot: S,
        /// The client.
        client: W,
        /// Its place.
        place: Place,
        /// Whose client it is.
        registration: Registration,
    },
    /// Nobody asked for it.
    Unknown(S),
}

/// The books.
#[derive(Debug)]
pub struct Registry<S, W> {
    limits: RelayLimits,
    publishers: BTreeMap<Registration, Publisher<S, W>>,
    /// Who holds a name, the one that came last at the end. All of them have one token.
    holders: HashMap<Name, Vec<Registration>>,
    /// Data connections that were asked for.
    asked: HashMap<Id, Registration>,
    waiting: usize,
    joined: usize,
    /// Only names that have some.
    joined_per_name: HashMap<Name, usize>,
    /// Only addresses that have some.
    joined_per_address: HashMap<IpAddr, usize>,
    next: u64,
}

#[derive(Debug)]
struct Publisher<S, W> {
    /// What the token that admitted it is called.
    token: String,
    id: Id,
    names: Vec<Name>,
    /// Data connections that wait, the freshest at the end.
    idle: Vec<S>,
    clients: VecDeque<Waiting<W>>,
    /// Data connections that were asked for and have not come, in order.
    asked: VecDeque<(Id, Instant)>,
    /// Data connections to be kept waiting.
    ahead: usize,
    /// When a client came last.
    wanted: Option<Instant>,
}

#[derive(Debug)]
struct Waiting<W> {
    id: WaitId,
    client: W,
    place: Place,
}

impl<S, W> Registry<S, W> {
    /// Empty books.
    #[must_use]
    pub fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            publishers: BTreeMap::new(),
            holders: HashMap::new(),
            asked: HashMap::new(),
            waiting: 0,
            joined: 0,
            joined_per_name: HashMap::new(),
            joined_per_address: HashMap::new(),
            next: 0,
        }
    }

    /// Registers a publisher that the token called `token` admits.
    ///
    /// A publisher that comes back takes its own place: its earlier registration goes, with all
    /// that waited there. A name that another token holds is not given away. Publishers with one
    /// token share a name; clients go to the one that came last.
    ///
    /// # Errors
    /// [`RelayLimit::RegistrationsPerToken`].
    pub fn register(&mut self, token: &str, id: Id, names: &[Name]) -> Result<Registered, RelayLimit> {
        let mut same_token = self.publishers.iter().filter(|(_, publisher)| publisher.token == token);
        let replaced =
            same_token.clone().find(|(_, publisher)| publisher.id == id).map(|(registration, _)| *registration);
        let others = same_token.by_ref().filter(|(_, publisher)| publisher.id != id).count();
        if others >= self.limits.registrations_per_token {
            return Err(RelayLimit::RegistrationsPerToken);
        }
        if let Some(replaced) = replaced {
            self.leave(replaced);
        }
        let registration = Registration(self.number());
        let publisher = Publisher {
            token: token.to_owned(),
            id,
            names: Vec::new(),
            idle: Vec::new(),
            clients: VecDeque::new(),
            asked: VecDeque::new(),
            ahead: AHEAD,
            wanted: None,
        };
        self.publishers.insert(registration, publisher);
        let refused = self.rename(registration, names);
        Ok(Registered { registration, replaced, refused })
    }

    /// Gives `registration` these names instead of those that it has. Returns those that another
    /// token holds.
    pub fn rename(&mut self, registration: Registration, names: &[Name]) -> Vec<Name> {
        let Some(publisher) = self.publishers.get_mut(&registration) else { return names.to_vec() };
        let (token, before) = (publisher.token.clone(), std::mem::take(&mut publisher.names));
        self.give_up(registration, &before);
        let is_free = |name: &&Name| {
            let holder = self.holders.get(*name).and_then(|holders| holders.first());
            holder.and_then(|holder| self.publishers.get(holder)).is_none_or(|holder| holder.token == token)
        };
        let (granted, refused): (Vec<Name>, Vec<Name>) = names.iter().partition(is_free);
        for name in &granted {
            let holders = self.holders.entry(*name).or_default();
            if !holders.contains(&registration) {
                holders.push(registration);
            }
        }
        if let Some(publisher) = self.publishers.get_mut(&registration) {
            publisher.names = granted;
        }
        refused
    }

    /// Forgets a publisher. What waited there is dropped; what is joined goes on.
    pub fn leave(&mut self, registration: Registration) {
        let Some(publisher) = self.publishers.remove(&registration) else { return };
        self.give_up(registration, &publisher.names);
        for (token, _) in publisher.asked {
            self.asked.remove(&token);
        }
        for waiting in publisher.clients {
            self.waiting -= 1;
            self.ended(waiting.place);
        }
    }

    fn give_up(&mut self, registration: Registration, names: &[Name]) {
        for name in names {
            if let Some(holders) = self.holders.get_mut(name) {
                holders.retain(|holder| *holder != registration);
                if holders.is_empty() {
                    self.holders.remove(name);
                }
            }
        }
    }

    /// Registrations that the token called `token` admitted.
    pub fn of_token<'a>(&'a self, token: &'a str) -> impl Iterator<Item = Registration> + 'a {
        self.publishers
            .iter()
            .filter(move |(_, publisher)| publisher.token == token)
            .map(|(registration, _)| *registration)
    }

    /// What the token of `registration` is called.
    #[must_use]
    pub fn token(&self, registration: Registration) -> Option<&str> {
        self.publishers.get(&registration).map(|publisher| publisher.token.as_str())
    }

    /// Data connections that `registration` should be asked for, now; tell each with
    /// [`ask`](Self::ask).
    pub fn wanted(&mut self, now: Instant, registration: Registration) -> usize {
        let Some(publisher) = self.publishers.get_mut(&registration) else { return 0 };
        while publisher.asked.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) >= CONNECT_LIMIT) {
            if let Some((token, _)) = publisher.asked.pop_front() {
                self.asked.remove(&token);
            }
        }
        if publisher.wanted.is_none_or(|at| now.saturating_duration_since(at) >= DEMAND) {
            publisher.ahead = AHEAD;
        }
        let target = publisher.ahead + publisher.clients.len();
        target.saturating_sub(publisher.idle.len() + publisher.asked.len())
    }

    /// Notes that `registration` is asked for a data connection with `token`, which is random.
    pub fn ask(&mut self, now: Instant, registration: Registration, token: Id) {
        if let Some(publisher) = self.publishers.get_mut(&registration) {
            publisher.asked.push_back((token, now));
            self.asked.insert(token, registration);
        }
    }

    /// When to look at [`wanted`](Self::wanted) again, though nothing happened.
    #[must_use]
    pub fn poll_timeout(&self, registration: Registration) -> Option<Instant> {
        let (_, at) = self.publishers.get(&registration)?.asked.front()?;
        Some(*at + CONNECT_LIMIT)
    }

    /// A client from `addr` says hello to `name`. `is_alive` looks whether a data connection that
    /// has waited is still there.
    pub fn client(
        &mut self,
        now: Instant,
        name: Name,
        addr: IpAddr,
        client: W,
        mut is_alive: impl FnMut(&mut S) -> bool,
    ) -> Arrival<S, W> {
        let Some(holders) = self.holders.get(&name) else { return Arrival::Unknown(client) };
        let Some(last) = holders.last().copied() else { return Arrival::Unknown(client) };
        let holders: Vec<_> = holders.iter().rev().copied().collect();
        let place = match self.enter(name, addr) {
            Ok(place) => place,
            Err(limit) => return Arrival::Refused(client, limit),
        };
        for registration in holders {
            let Some(publisher) = self.publishers.get_mut(&registration) else { continue };
            publisher.wanted = Some(now);
            // The freshest first: a router on the way forgets the oldest.
            while let Some(mut slot) = publisher.idle.pop() {
                if is_alive(&mut slot) {
                    return Arrival::Joined { slot, client, place, registration };
                }
            }
            publisher.ahead = (2 * publisher.ahead).min(MAX_AHEAD);
        }
        if self.waiting >= self.limits.waiting {
            self.ended(place);
            return Arrival::Refused(client, RelayLimit::Waiting);
        }
        let id = WaitId(self.number());
        if let Some(publisher) = self.publishers.get_mut(&last) {
            publisher.clients.push_back(Waiting { id, client, place });
            self.waiting += 1;
        }
        Arrival::Waiting { wait: id, registration: last }
    }

    /// Takes back a client that waits no longer; `None` if it has been joined, or its publisher is
    /// gone.
    pub fn take_back(&mut self, registration: Registration, wait: WaitId) -> Option<W> {
        let clients = &mut self.publishers.get_mut(&registration)?.clients;
        let at = clients.iter().position(|waiting| waiting.id == wait)?;
        let Waiting { client, place, .. } = clients.remove(at)?;
        self.waiting -= 1;
        self.ended(place);
        Some(client)
    }

    /// A data connection began with `token`.
    pub fn data(&mut self, token: &Id, slot: S) -> DataArrival<S, W> {
        let Some(registration) = self.asked.remove(token) else { return DataArrival::Unknown(slot) };
        let Some(publisher) = self.publishers.get_mut(&registration) else { return DataArrival::Unknown(slot) };
        publisher.asked.retain(|(asked, _)| asked != token);
        match publisher.clients.pop_front() {
            Some(Waiting { client, place, .. }) => {
                self.waiting -= 1;
                DataArrival::Joined { slot, client, place, registration }
            }
            None => {
                publisher.idle.push(slot);
                DataArrival::Idle
            }
        }
    }

    fn enter(&mut self, name: Name, addr: IpAddr) -> Result<Place, RelayLimit> {
        let addr = counted(addr);
        let to_name = self.joined_per_name.get(&name).copied().unwrap_or(0);
        let from_addr = self.joined_per_address.get(&addr).copied().unwrap_or(0);
        if self.joined >= self.limits.joined {
            return Err(RelayLimit::Joined);
        }
        if to_name >= self.limits.joined_per_name {
            return Err(RelayLimit::JoinedPerName);
        }
        if from_addr >= self.limits.joined_per_address {
            return Err(RelayLimit::JoinedPerAddress);
        }
        self.joined += 1;
        self.joined_per_name.insert(name, to_name + 1);
        self.joined_per_address.insert(addr, from_addr + 1);
        Ok(Place { name, addr })
    }

    /// Gives a place back.
    #[allow(clippy::needless_pass_by_value, reason = "a place is given back once")]
    pub fn ended(&mut self, place: Place) {
        self.joined -= 1;
        count_down(&mut self.joined_per_name, &place.name);
        count_down(&mut self.joined_per_address, &place.addr);
    }

    /// Whether somebody holds `name`.
    #[must_use]
    pub fn is_known(&self, name: &Name) -> bool {
        self.holders.contains_key(name)
    }

    /// Who holds `name`, that came last.
    #[must_use]
    pub fn holder(&self, name: &Name) -> Option<Registration> {
        self.holders.get(name)?.last().copied()
    }

    /// Publishers registered now.
    #[must_use]
    pub fn publishers(&self) -> usize {
        self.publishers.len()
    }

    /// Clients joined, or waiting to be, now.
    #[must_use]
    pub const fn clients(&self) -> usize {
        self.joined
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn count_down<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
            if counts.is_empty() {
                counts.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Books = Registry<&'static str, u32>;

    const A: Name = [1; 20];
    const B: Name = [2; 20];

    fn id(byte: u8) -> Id {
        Id::from_bytes([byte; Id::LEN])
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn books(limits: RelayLimits) -> Books {
        Registry::new(limits)
    }

    fn registered(books: &mut Books, token: &str, publisher: u8, names: &[Name]) -> Registration {
        books.register(token, id(publisher), names).unwrap().registration
    }

    /// Asks for as many data connections as are wanted, with tokens from `first` on.
    fn ask(books: &mut Books, now: Instant, registration: Registration, first: u8) -> Vec<Id> {
        let tokens: Vec<_> = (0..books.wanted(now, registration)).map(|n| id(first + n as u8)).collect();
        tokens.iter().for_each(|token| books.ask(now, registration, *token));
        tokens
    }

    fn client(books: &mut Books, now: Instant, name: Name, number: u32) -> Arrival<&'static str, u32> {
        books.client(now, name, ip(1), number, |_| true)
    }

    fn is_empty(books: &Books) -> bool {
        books.publishers.is_empty()
            && books.holders.is_empty()
            && books.asked.is_empty()
            && (books.waiting, books.joined) == (0, 0)
            && books.joined_per_name.is_empty()
            && books.joined_per_address.is_empty()
    }

    #[test]
    fn a_client_is_joined_at_once_with_a_data_connection_opened_ahead_of_need() {
        let (mut books, now) = (books(RelayLimits::default()), Instant::now());
        let publisher = registered(&mut books, "alice", 1, &[A]);
        let tokens = ask(&mut books, now, publisher, 10);
        assert_eq!(tokens.len(), AHEAD);
        assert_eq!(books.wanted(now, publisher), 0);
        assert_eq!(books.data(&tokens[0], "first"), DataArrival::Idle);
        let Arrival::Joined { slot, client, place, registration } = client(&mut books, now, A, 7) else { panic!() };
        assert_eq!((slot, client, registration), ("first", 7, publisher));
        assert_eq!(books.wanted(now, publisher), 1, "another takes its place");
        books.ended(place);
        books.leave(publisher);
        assert!(is_empty(&books), "{books:?}");
    }

    #[test]
    fn a_client_waits_for_a_data_connection_and_demand_keeps_more_of_them_ready() {
        let (mut books, now) = (books(RelayLimits::default()), Instant::now());
        let publisher = registered(&mut books, "alice", 1, &[A]);
        for number in 0..3 {
            assert!(matches!(client(&mut books, now, A, number), Arrival::Waiting { .. }));
        }
        let tokens = ask(&mut books, now, publisher, 10);
        assert_eq!(tokens.len(), 3 + MAX_AHEAD, "one for each that waits, and some ahead of need");
        for (expected, token) in tokens.iter().take(3).enumerate() {
            let DataArrival::Joined { client, place, .. } = books.data(token, "data") else { panic!() };
            assert_eq!(client as usize, expected, "who came first is served first");
            books.ended(place);
        }
        assert_eq!(books.data(&tokens[3], "data"), DataArrival::Idle);
        assert_eq!(books.wanted(now + DEMAND, publisher), 1, "at rest again");
    }

    #[test]
    fn a_token_is_good_for_one_connection() {
        let (mut books, now) = (books(RelayLimits::default()), Instant::now());
        let publisher = registered(&mut books, "alice", 1, &[A]);
        let tokens = ask(&mut books, now, publisher, 10);
        assert_eq!(books.data(&tokens[0], "first"), DataArrival::Idle);
        assert_eq!(books.data(&tokens[0], "again"), DataArrival::Unknown("again"));
        assert_eq!(books.data(&id(99), "stranger"), DataArrival::Unknown("stranger"));
    }

    #[test]
    fn a_data_connection_that_does_not_come_is_asked_for_again() {
        let (mut books, now) = (books(RelayLimits::default()), Instant::now());
        let publisher = registered(&mut books, "alice", 1, &[A]);
        let tokens = ask(&mut books, now, publisher, 10);
        assert_eq!(books.poll_timeout(publisher), Some(now + CONNECT_LIMIT));
        assert_eq!(books.wanted(now + CONNECT_LIMIT - Duration::from_millis(1), publisher), 0);
        assert_eq!(books.wanted(now + CONNECT_LIMIT, publisher), AHEAD);
        assert_eq!(books.data(&tokens[0], "late"), DataArrival::Unknown("late"));
    }

    #[test]
    fn a_data_connection_that_has_died_is_passed_over() {
        let (mut books, now) = (books(RelayLimits::default()), Instant::now());
        let publisher = registered(&mut books, "alice", 1, &[A]);
        for (token, slot) in ask(&mut books, now, publisher, 10).iter().zip(["alive", "dead"]) {
            books.data(token, slot);
        }
        let arrival = books.client(now, A, ip(1), 7, |slot| *slot == "alive");
        assert!(matches!(arrival, Arrival::Joined { slot: "alive", .. }), "{arrival:?}");
    }

    #[test]
    fn a_publisher_that_comes_back_frees_its_old_place() {
        let limits = RelayLimits { registrations_per_token: 1, ..RelayLimits::default() };
        let (mut books, now) = (books(limits), Instant::now());
        let old = registered(&mut books, "alice", 1, &[A]);
        ask(&mut books, now, old, 10);
        assert!(matches!(client(&mut books, now, A, 1), Arrival::Waiting { .. }));
        let back = books.register("alice", id(1), &[A]).unwrap();
        assert_eq!((back.replaced, back.refused), (Some(old), vec![]));
        assert_eq!((books.publishers(), books.clients()), (1, 0), "who waited there is dropped");
        books.leave(old);
        assert!(matches!(client(&mut books, now, A, 2), Arrival::Waiting { .. }), "the new one stays");
        assert_eq!(books.register("alice", id(2), &[B]), Err(RelayLimit::RegistrationsPerToken));
    }

    #[test]
    fn a_name_that_one_token_holds_is_not_given_to_another() {
        let mut books = books(RelayLimits::default());
        let alice = registered(&mut books, "alice", 1, &[A]);
        let mallory = books.register("mallory", id(2), &[A, B]).unwrap();
        assert_eq!(mallory.refused, [A]);
        let arrival = client(&mut books, Instant::now(), A, 1);
        assert!(matches!(arrival, Arrival::Waiting { registration, .. } if registration == alice));
        books.leave(alice);
        assert!(books.rename(mallory.registration, &[A]).is_empty(), "it is free now");
    }

    #[test]
    fn two_publishers_with_one_identity_share_its_names() {
        let (mut books, now) = (books(RelayLimits::default()), Instant::now());
        let first = registered(&mut books, "alice", 1, &[A]);
        let second = registered(&mut books, "alice", 2, &[A]);
        let arrival = client(&mut books, now, A, 1);
        assert!(matches!(arrival, Arrival::Waiting { registration, .. } if registration == second));
        let token = ask(&mut books, now, first, 10)[0];
        books.data(&token, "of the first");
        let arrival = client(&mut books, now, A, 2);
        assert!(matches!(arrival, Arrival::Joined { registration, .. } if registration == first), "it is ready");
        books.leave(second);
        assert!(
            matches!(client(&mut books, now, A, 3), Arrival::Waiting { registration, .. } if registration == first)
        );
    }

    #[test]
    fn names_change_with_the_day() {
        let mut books = books(RelayLimits::default());
        let publisher = registered(&mut books, "alice", 1, &[A]);
        assert!(books.rename(publisher, &[B]).is_empty());
        assert_eq!(client(&mut books, Instant::now(), A, 1), Arrival::Unknown(1));
        assert!(matches!(client(&mut books, Instant::now(), B, 1), Arrival::Waiting { .. }));
    }

    #[test]
    fn a_client_that_gives_up_leaves_nothing_behind() {
        let mut books = books(RelayLimits::default());
        let publisher = registered(&mut books, "alice", 1, &[A]);
        let Arrival::Waiting { wait, registration } = client(&mut books, Instant::now(), A, 5) else { panic!() };
        assert_eq!(books.take_back(registration, wait), Some(5));
        assert_eq!(books.take_back(registration, wait), None);
        books.leave(publisher);
        assert!(is_empty(&books), "{books:?}");
    }

    #[test]
    fn at_each_limit_the_newcomer_is_refused_and_a_place_given_back_is_free_again() {
        let now = Instant::now();
        let one = RelayLimits { waiting: 1, ..RelayLimits::default() };
        for (limits, limit) in [
            (one, RelayLimit::Waiting),
            (RelayLimits { joined: 1, ..RelayLimits::default() }, RelayLimit::Joined),
            (RelayLimits { joined_per_name: 1, ..RelayLimits::default() }, RelayLimit::JoinedPerName),
            (RelayLimits { joined_per_address: 1, ..RelayLimits::default() }, RelayLimit::JoinedPerAddress),
        ] {
            let mut books = books(limits);
            registered(&mut books, "alice", 1, &[A]);
            let Arrival::Waiting { wait, registration } = client(&mut books, now, A, 1) else { panic!("{limit:?}") };
            assert_eq!(client(&mut books, now, A, 2), Arrival::Refused(2, limit));
            assert_eq!(books.take_back(registration, wait), Some(1));
            assert!(matches!(client(&mut books, now, A, 3), Arrival::Waiting { .. }), "{limit:?}");
        }
    }

    #[test]
    fn who_leaves_is_not_asked_and_gets_nothing() {
        let (mut books, now) = (books(RelayLimits::default()), Instant::now());
        let publisher = registered(&mut books, "alice", 1, &[A, B]);
        let tokens = ask(&mut books, now, publisher, 10);
        books.leave(publisher);
        assert_eq!(books.data(&tokens[0], "late"), DataArrival::Unknown("late"));
        assert_eq!((books.wanted(now, publisher), books.poll_timeout(publisher)), (0, None));
        assert_eq!(client(&mut books, now, A, 1), Arrival::Unknown(1));
        assert!(is_empty(&books), "{books:?}");
    }
}
