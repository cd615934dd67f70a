//! What opens private services: those of others that this computer was invited to, and its own.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use hardline_proto::KeyHash;
use tracing::warn;

use crate::store::{KeptPass, Store};
use crate::tls::Pass;
use crate::visitors::Enrolled;

/// The passes of this computer.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    store: Option<Store>,
    own: Option<Arc<Enrolled>>,
    kept: RwLock<HashMap<KeyHash, Pass>>,
}

impl Passes {
    /// Those that `store` keeps, and those of the private services of this node.
    pub(crate) async fn load(store: Store, own: Arc<Enrolled>) -> Self {
        let kept = store.passes().await.unwrap_or_else(|error| {
            warn!(%error, remedy = error.remedy(), "keys for private services not read");
            Vec::new()
        });
        let kept = kept.into_iter().filter_map(|it| Some((it.service, pass(it)?))).collect();
        Self { store: Some(store), own: Some(own), kept: RwLock::new(kept) }
    }

    /// What opens `service`, if it is known to be private.
    pub(super) fn get(&self, service: &KeyHash) -> Option<Pass> {
        let own = self.own.as_ref().and_then(|own| own.own_pass(service));
        own.or_else(|| self.kept.read().unwrap_or_else(PoisonError::into_inner).get(service).cloned())
    }

    /// Looks whether another process was enrolled by `service` meanwhile. Returns whether that is
    /// news. Asked where somebody answered and did not let us in: nothing is read for a service
    /// that is reached, or that nobody finds.
    pub(super) async fn has_news(&self, service: KeyHash) -> bool {
        let Some(store) = &self.store else { return false };
        let kept = store.pass(service).await.ok().flatten().filter(|kept| kept.name.is_some());
        let Some(fresh) = kept.and_then(pass) else { return false };
        let known = self.kept.write().unwrap_or_else(PoisonError::into_inner).insert(service, fresh.clone());
        known.is_none_or(|known| known.key() != fresh.key())
    }

    /// The store.
    pub(super) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }
}

/// The pass that is kept, unless it is damaged.
pub(super) fn pass(kept: KeptPass) -> Option<Pass> {
    Pass::new(kept.certificate, kept.private_key, kept.door)
}
