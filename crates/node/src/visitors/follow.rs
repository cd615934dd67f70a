//! The store → who may come in now.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hardline_proto::KeyHash;
use hardline_proto::path::Path;
use hardline_proto::visitors::{Door, Hour, Proof};
use rustls::server::ClientHello;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::list::{Caller, Invited, List, Visitor, now_ms};
use crate::clock;
use crate::services::{Service, Services};
use crate::store::{EnrolledVisitor, Store, StoreError};
use crate::tls::Pass;

/// Time between two looks at the store: a revocation takes effect within so much.
const POLL: Duration = Duration::from_millis(100);

/// Time after which a visitor is noted again, in milliseconds: flash memory wears out.
const NOTED_MS: i64 = 60_000;

/// What this computer is called by its own private services.
const OWN: &str = "this computer";

type Lists = HashMap<KeyHash, Arc<List>>;

/// Who may come in to each private service of this node.
#[derive(Debug)]
pub(crate) struct Enrolled {
    pub(super) store: Store,
    services: Arc<Services>,
    lists: RwLock<Lists>,
    /// What the lists were made of; held while they are made.
    made_of: tokio::sync::Mutex<Option<(i64, u64, Hour)>>,
    /// When the first of them has to go, in Unix milliseconds.
    next_expiry: AtomicI64,
    /// Those who have come in, to be noted in the store.
    seen: Mutex<HashMap<(KeyHash, KeyHash), (SystemTime, String)>>,
    pub(super) tasks: TaskTracker,
}

impl Enrolled {
    /// Reads who may come in to the private ones of `services`, and follows that until `stop`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(crate) async fn start(
        store: &Store,
        services: &Arc<Services>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, StoreError> {
        let this = Arc::new(Self {
            store: store.clone(),
            services: Arc::clone(services),
            lists: RwLock::default(),
            made_of: tokio::sync::Mutex::default(),
            next_expiry: AtomicI64::new(i64::MAX),
            seen: Mutex::default(),
            tasks: tasks.clone(),
        });
        this.load().await?;
        tasks.spawn(Arc::clone(&this).run(stop.clone()));
        Ok(this)
    }

    /// Who says hello to the private `service`, if that may be answered at all.
    pub(crate) fn caller(&self, service: &KeyHash, hello: &ClientHello<'_>) -> Option<Caller> {
        let proof = hello.alpn()?.find_map(Proof::parse)?;
        self.list(service)?.find(service, &proof)
    }

    /// What this computer opens its own private service with.
    pub(crate) fn own_pass(&self, service: &KeyHash) -> Option<Pass> {
        self.services.now().get(service).filter(|service| service.config.private)?;
        self.list(service).map(|list| list.own.0.clone())
    }

    /// Notes that a visitor has come in over such a path; the store hears of it soon.
    pub(crate) fn saw(&self, visitor: &Visitor, over: &Path) {
        let now = now_ms();
        if visitor.noted.load(Ordering::Relaxed).saturating_add(NOTED_MS) > now {
            return;
        }
        visitor.noted.store(now, Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert((visitor.service, visitor.key), (SystemTime::now(), over.to_string()));
    }

    /// Follows the store, the table and the clock until `stop`.
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut table = self.services.watch();
        let following = async {
            loop {
                let is_needed = table.borrow_and_update().services.iter().any(|service| service.config.private)
                    || !self.lists().is_empty();
                tokio::select! {
                    () = sleep(POLL), if is_needed => {}
                    Ok(()) = table.changed() => {}
                }
                self.expire();
                if let Err(error) = self.load().await {
                    // Who is in the lists stays in them; nobody comes in by what cannot be read.
                    warn!(%error, remedy = error.remedy(), "visitors not read");
                    sleep(POLL * 10).await;
                }
                self.note_seen().await;
            }
        };
        stop.run_until_cancelled(following).await;
    }

    /// Makes the lists anew where anything has changed.
    ///
    /// # Errors
    /// [`StoreError`]; then they are as they were.
    pub(crate) async fn load(&self) -> Result<(), StoreError> {
        let mut made_of = self.made_of.lock().await;
        let table = self.services.now();
        let before = Lists::clone(&self.lists());
        let is_kept = |service: &&Arc<Service>| service.config.private || before.contains_key(&service.key());
        let services: Vec<_> = table.services.iter().filter(is_kept).collect();
        if services.is_empty() && before.is_empty() {
            return Ok(());
        }
        let hour = Hour::from_unix_seconds(clock::unix_time().as_secs());
        // Before the rest: what changes meanwhile is seen the next time.
        let generation = self.store.visitors_generation().await?;
        if *made_of == Some((generation, table.generation, hour)) {
            return Ok(());
        }
        let (mut lists, mut to_answer) = (Lists::new(), Vec::new());
        for service in services {
            let list = self.list_of(service, before.get(&service.key()), hour).await?;
            lists.insert(service.key(), Arc::new(list));
            to_answer.push(service.key());
        }
        let expiries = lists.values().flat_map(|list| list.visitors.values()).map(|visitor| visitor.expires());
        self.next_expiry.store(expiries.min().unwrap_or(i64::MAX), Ordering::Relaxed);
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = lists.clone();
        *made_of = Some((generation, table.generation, hour));
        // Behind the lists, so that nobody who is told of the end comes in again.
        let ended = end_those_who_left(&before, &lists);
        for service in to_answer {
            self.answer_revocations(service, &ended, &lists).await?;
        }
        Ok(())
    }

    async fn list_of(&self, service: &Service, before: Option<&Arc<List>>, hour: Hour) -> Result<List, StoreError> {
        let key = service.key();
        // One that was removed and added again is another.
        let before = before.filter(|list| list.own.1.is_in());
        let visitors = self.store.visitors(key).await?.into_iter().map(|kept| {
            let (since, expires) = (millis(kept.since), kept.expires.map(millis));
            let known = before.and_then(|list| list.visitors.get(&kept.key)).filter(|it| it.is_still(since));
            let visitor = known.map_or_else(|| Arc::new(Visitor::new(service, &kept, (since, expires))), Arc::clone);
            visitor.update(&kept, expires);
            (kept.door, visitor)
        });
        let visitors = visitors.collect();
        let invited = self.store.invitations(key).await?.into_iter().map(|kept| {
            let known = before.and_then(|list| list.invited.get(&kept.id));
            (kept.door.clone(), known.map_or_else(|| Arc::new(Invited::new(&kept)), Arc::clone))
        });
        let own = match before {
            Some(list) => list.own.clone(),
            None => own(service)?,
        };
        Ok(List::new(key, own, visitors, invited.collect(), hour))
    }

    /// Says how many tunnels each revocation has ended that nobody has answered yet.
    async fn answer_revocations(
        &self,
        service: KeyHash,
        ended: &HashMap<(KeyHash, KeyHash), usize>,
        lists: &Lists,
    ) -> Result<(), StoreError> {
        for key in self.store.unanswered_revocations(service).await? {
            let tunnels = ended.get(&(service, key)).copied();
            let is_out = lists.get(&service).is_none_or(|list| !list.visitors.contains_key(&key));
            // Who is in again was enrolled anew, or was revoked behind this look at the store.
            if let Some(tunnels) = tunnels.or(is_out.then_some(0)) {
                info!(key = %service.short(), visitor = %key.short(), tunnels, "visitor revoked");
                self.store.note_ended(service, key, tunnels as u64).await?;
            }
        }
        Ok(())
    }

    /// Ends what those have open whose time is over.
    fn expire(&self) {
        let now = now_ms();
        if now < self.next_expiry.load(Ordering::Relaxed) {
            return;
        }
        let mut next = i64::MAX;
        for visitor in self.lists().values().flat_map(|list| list.visitors.values()) {
            if visitor.expires() <= now {
                visitor.end();
            } else {
                next = next.min(visitor.expires());
            }
        }
        self.next_expiry.store(next, Ordering::Relaxed);
    }

    async fn note_seen(&self) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        if seen.is_empty() {
            return;
        }
        let seen = seen.into_iter().map(|((service, key), (at, over))| (service, key, at, over)).collect();
        if let Err(error) = self.store.note_seen(seen).await {
            debug!(%error, "visits not noted");
        }
    }

    fn list(&self, service: &KeyHash) -> Option<Arc<List>> {
        self.lists().get(service).cloned()
    }

    fn lists(&self) -> std::sync::RwLockReadGuard<'_, Lists> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends what those have open who are in the lists no more, and returns how many tunnels that were.
fn end_those_who_left(before: &Lists, now: &Lists) -> HashMap<(KeyHash, KeyHash), usize> {
    let mut ended = HashMap::new();
    for (service, list) in before {
        for (key, visitor) in &list.visitors {
            let still = now.get(service).and_then(|list| list.visitors.get(key));
            if still.is_none_or(|still| !Arc::ptr_eq(still, visitor)) {
                ended.insert((*service, *key), visitor.end());
            }
        }
    }
    ended
}

/// A key pair of this run, with which this computer's own browsers open a private service.
fn own(service: &Service) -> Result<(Pass, Arc<Visitor>), StoreError> {
    let door = Door::from_bytes(rand::random());
    let made = Pass::make().ok().and_then(|(certificate, key)| Pass::new(certificate, key, door.clone()));
    let pass = made.ok_or(StoreError::Closed)?;
    let (since, service_key) = (SystemTime::now(), service.key());
    let (name, key) = (OWN.to_owned(), pass.key());
    let kept = EnrolledVisitor { service: service_key, key, name, door, since, expires: None, seen: None };
    let visitor = Visitor::new(service, &kept, (millis(since), None));
    // It is nobody of whom the store knows.
    visitor.noted.store(i64::MAX, Ordering::Relaxed);
    Ok((pass, Arc::new(visitor)))
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
