//! A better path, looked for while tunnels go through a relay or NATs: new tunnels move to it, and
//! running ones stay where they are.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hardline_proto::host::ServiceName;
use hardline_proto::path::PathKind;
use hardline_proto::upgrade::{Next, Upgrade};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::dialler::Dialler;
use crate::session::Route;

/// Services whose looks are remembered.
const MAX_SERVICES: usize = 256;

/// The looks of a dialler for better paths.
#[derive(Debug, Default)]
pub(super) struct Upgrades(Mutex<HashMap<ServiceName, Looks>>);

/// Those for one service.
#[derive(Debug)]
struct Looks {
    upgrade: Upgrade,
    /// Whether a task sees to them.
    is_followed: bool,
}

impl Upgrades {
    /// Notes a tunnel that was opened. Returns whether a task is to be begun that sees to the
    /// looks.
    fn opened(&self, name: &ServiceName, generation: u64) -> bool {
        let now = Instant::now().into_std();
        let mut services = self.lock();
        if services.len() >= MAX_SERVICES && !services.contains_key(name) {
            services.retain(|_, looks| looks.is_followed);
        }
        if services.len() >= MAX_SERVICES {
            return false;
        }
        let new = || Looks { upgrade: Upgrade::new(now, generation), is_followed: false };
        let looks = services.entry(name.clone()).or_insert_with(new);
        looks.upgrade.opened(now, generation);
        !std::mem::replace(&mut looks.is_followed, true)
    }

    /// What is to be done. After [`Next::Rest`] nobody sees to it any more.
    fn poll(&self, name: &ServiceName, is_in_use: bool) -> Next {
        let mut services = self.lock();
        let Some(looks) = services.get_mut(name) else { return Next::Rest };
        let next = looks.upgrade.poll(Instant::now().into_std(), is_in_use);
        looks.is_followed = next != Next::Rest;
        next
    }

    fn change(&self, name: &ServiceName, change: impl FnOnce(&mut Upgrade, std::time::Instant)) {
        if let Some(looks) = self.lock().get_mut(name) {
            change(&mut looks.upgrade, Instant::now().into_std());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceName, Looks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there may be a better one.
fn may_be_bettered(kind: PathKind) -> bool {
    kind > PathKind::Direct
}

impl Dialler {
    /// Has a better path looked for, if `route`, over which a tunnel was opened, is none of the
    /// best.
    pub(super) fn better(&self, name: &ServiceName, route: &Route) {
        if !may_be_bettered(route.kind()) || !self.upgrades.opened(name, self.generation()) {
            return;
        }
        let Some(this) = self.this.upgrade() else { return };
        let name = name.clone();
        self.resolver.tasks.spawn(async move {
            let stop = this.stop.clone();
            stop.run_until_cancelled(this.follow(&name)).await;
        });
    }

    /// Looks for a better path as long as there is use for it.
    async fn follow(&self, name: &ServiceName) {
        loop {
            let here = self.resolver.network.now();
            let standing = self.pool.standing(name).filter(|route| may_be_bettered(route.kind()));
            let is_in_use = standing.is_some() && self.elsewhere.any(name.key, |route| may_be_bettered(route.kind()));
            match (self.upgrades.poll(name, is_in_use), standing) {
                (Next::Rest, _) | (_, None) => return,
                (Next::Wait(until), _) => {
                    tokio::select! {
                        () = sleep_until(until.into()) => {}
                        () = self.resolver.network.left(&here) => {
                            let generation = self.generation();
                            self.upgrades.change(name, |upgrade, now| upgrade.moved(now, generation));
                        }
                    }
                }
                (Next::Look, Some(standing)) => {
                    if let Some((route, session)) = self.dial_better(name, &standing).await {
                        debug!(key = %name.key.short(), from = %standing.path(), to = %route.path(), "a better path");
                        self.pool.stand(name, &route);
                        self.keep(name, session, route);
                    }
                    self.upgrades.change(name, Upgrade::ended);
                }
            }
        }
    }
}
