//! The table of this node's services. Accept, LAN discovery, publishing, the relay registrations,
//! status, the first page and the resolver observe it; none keeps a copy made at the start.
//!
//! A table that is replaced whole, in a watch: readers on the accept path take one pointer, and a
//! change is seen by all or by none. Runner-up: messages to each part, which can be lost or
//! overtake each other where a part begins late.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hardline_proto::KeyHash;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::backend::{Backend, BackendTimeouts};
use crate::config::{IdentityConfig, ServiceConfig};
use crate::session::ServerTls;
use crate::tls::config::ServerSettings;
use crate::tls::identity::{Identity, IdentityError, IdentityNotice};
use crate::tunnel::Drain;

/// Why a service cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Its identity cannot be used.
    #[error("the identity of service {target}")]
    Identity {
        /// The service, for people.
        target: String,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// Its backend cannot be used, whatever runs there: a folder that is none, say.
    #[error("service {target}")]
    Backend {
        /// The service, for people.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two services have one identity, so nothing tells them apart.
    #[error("services {first} and {second} have the same identity {key}")]
    SameIdentity {
        /// The identity.
        key: KeyHash,
        /// One service.
        first: String,
        /// The other.
        second: String,
    },
    /// The port for other computers cannot be had, which the first service needs.
    #[error("cannot listen for other computers at port {port}")]
    P2p {
        /// The port asked for.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No service has this name.
    #[error("no service here has the identity {0}")]
    Unknown(KeyHash),
}

/// A service, ready to be served. A change replaces it; its identity stays.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) config: ServiceConfig,
    pub(crate) access: Access,
    pub(crate) backend: Backend,
    pub(crate) identity: Arc<ServiceIdentity>,
}

/// What stays of a service from when it is added until it is removed.
#[derive(Debug)]
pub(crate) struct ServiceIdentity {
    pub(crate) key: KeyHash,
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) tls: ServerTls,
    /// What the `.hash` file says.
    access: Access,
    /// What ends its tunnels; its removal too.
    pub(crate) drain: Drain,
}

impl Service {
    pub(crate) fn key(&self) -> KeyHash {
        self.identity.key
    }

    /// The text that neighbours may hear. Released clients look for `freetext-hash` in an answer,
    /// and so every neighbour can ask for it. The text of a `.hash` file was meant so; a password
    /// that a person set is told to nobody.
    pub(crate) fn told_text(&self) -> Option<&str> {
        self.identity.access.password().filter(|_| self.config.access.is_none() && !self.config.private)
    }

    /// Ends when the service is removed.
    pub(crate) fn removed(&self) -> &CancellationToken {
        &self.identity.drain.removed
    }
}

/// The services at one moment, in the order of the configuration, later ones behind.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Grows with every change.
    pub(crate) generation: u64,
    pub(crate) services: Vec<Arc<Service>>,
}

impl Table {
    pub(crate) fn get(&self, key: &KeyHash) -> Option<&Arc<Service>> {
        self.services.iter().find(|service| service.identity.key == *key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyHash> + Clone + '_ {
        self.services.iter().map(|service| service.key())
    }
}

/// What a service is made with.
#[derive(Debug)]
pub(crate) struct ServiceContext {
    pub(crate) drain: Drain,
    /// Times for a backend.
    pub(crate) backend: BackendTimeouts,
    pub(crate) own_records: bool,
}

/// The table, with how it is changed.
#[derive(Debug)]
pub(crate) struct Services {
    table: watch::Sender<Arc<Table>>,
    /// Held for each change.
    changing: Mutex<()>,
    context: ServiceContext,
}

impl Services {
    pub(crate) fn new(context: ServiceContext) -> Self {
        Self { table: watch::Sender::default(), changing: Mutex::default(), context }
    }

    pub(crate) fn now(&self) -> Arc<Table> {
        Arc::clone(&self.table.borrow())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Table>> {
        self.table.subscribe()
    }

    /// Prepares a service: its identity, which is made when absent, and its backend.
    ///
    /// # Errors
    /// [`ServiceError`] names what is in the way.
    pub(crate) fn load(&self, config: ServiceConfig) -> Result<(Service, Vec<IdentityNotice>), ServiceError> {
        let loaded = load_identity(&config.identity);
        let (identity, notices) =
            loaded.map_err(|source| ServiceError::Identity { target: config.target.to_string(), source })?;
        let settings = ServerSettings { identity: &identity, own_records: self.context.own_records };
        let tls = ServerTls::new(settings);
        let drain = self.context.drain.of_service();
        let Identity { key, certified, access } = identity;
        let identity = Arc::new(ServiceIdentity { key, certified, tls, access, drain });
        Ok((self.make(config, identity)?, notices))
    }

    /// Adds a service to the table.
    ///
    /// # Errors
    /// [`ServiceError::SameIdentity`].
    pub(crate) fn add(&self, service: Service) -> Result<KeyHash, ServiceError> {
        let _changing = self.changing();
        let (table, key) = (self.now(), service.key());
        if let Some(other) = table.get(&key) {
            let (first, second) = (other.config.target.to_string(), service.config.target.to_string());
            return Err(ServiceError::SameIdentity { key, first, second });
        }
        self.replace(table.services.iter().cloned().chain([Arc::new(service)]));
        Ok(key)
    }

    /// Lets `change` change how a service is served; its identity stays what it is. Tunnels that
    /// run are left alone.
    ///
    /// # Errors
    /// [`ServiceError::Backend`], [`ServiceError::Unknown`].
    pub(crate) fn change(&self, key: &KeyHash, change: impl FnOnce(&mut ServiceConfig)) -> Result<(), ServiceError> {
        let _changing = self.changing();
        let table = self.now();
        let service = table.get(key).ok_or(ServiceError::Unknown(*key))?;
        let mut config = service.config.clone();
        change(&mut config);
        config.identity = service.config.identity.clone();
        let changed = Arc::new(self.make(config, Arc::clone(&service.identity))?);
        let with_change = |it: &Arc<Service>| Arc::clone(if it.key() == *key { &changed } else { it });
        self.replace(table.services.iter().map(with_change));
        Ok(())
    }

    /// Takes a service away, and ends its tunnels and idle sessions.
    ///
    /// # Errors
    /// [`ServiceError::Unknown`].
    pub(crate) fn remove(&self, key: &KeyHash) -> Result<(), ServiceError> {
        let _changing = self.changing();
        let table = self.now();
        let service = table.get(key).ok_or(ServiceError::Unknown(*key))?;
        self.replace(table.services.iter().filter(|it| it.key() != *key).cloned());
        // Behind the table, so that nobody who is told of the end finds the service again.
        service.removed().cancel();
        Ok(())
    }

    fn make(&self, config: ServiceConfig, identity: Arc<ServiceIdentity>) -> Result<Service, ServiceError> {
        let backend = Backend::new(&config, self.context.backend)
            .map_err(|source| ServiceError::Backend { target: config.target.to_string(), source })?;
        let access = config.access.as_ref().unwrap_or(&identity.access).clone();
        Ok(Service { config, access, backend, identity })
    }

    fn replace(&self, services: impl Iterator<Item = Arc<Service>>) {
        let services = services.collect();
        self.table.send_modify(|table| *table = Arc::new(Table { generation: table.generation + 1, services }));
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The identity that `config` names, made when absent.
pub(crate) fn load_identity(config: &IdentityConfig) -> Result<(Identity, Vec<IdentityNotice>), IdentityError> {
    match config {
        IdentityConfig::File(path) => Identity::load_or_create(path),
        IdentityConfig::Ephemeral => Ok((Identity::ephemeral()?, Vec::new())),
    }
}

/// Where this process reaches its own services without asking anybody.
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses {
    services: Option<Arc<Services>>,
    at: OnceLock<SocketAddr>,
}

impl OwnAddresses {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self { services: Some(services), at: OnceLock::new() }
    }

    /// Notes where the services listen; once.
    pub(crate) fn listen_at(&self, at: SocketAddr) {
        let _ = self.at.set(at);
    }

    pub(crate) fn get(&self, key: &KeyHash) -> Option<SocketAddr> {
        self.services.as_ref()?.now().get(key)?;
        self.at.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HttpSettings, Target};
    use crate::limits::{BACKEND_ANSWER_TIMEOUT, BACKEND_CONNECT_TIMEOUT};

    fn config(port: u16) -> ServiceConfig {
        ServiceConfig {
            target: Target::Tcp(format!("localhost:{port}").parse().unwrap()),
            identity: IdentityConfig::Ephemeral,
            title: "a test".into(),
            access: None,
            unlisted: false,
            private: false,
            dht: true,
            http: HttpSettings::default(),
        }
    }

    #[test]
    fn who_observes_the_table_sees_each_change_and_the_identity_stays() {
        let drain = Drain::new(None);
        let backend = BackendTimeouts { connect: BACKEND_CONNECT_TIMEOUT, answer: BACKEND_ANSWER_TIMEOUT };
        let context = ServiceContext { drain, backend, own_records: true };
        let services = Services::new(context);
        let mut table = services.watch();
        let added = |port| services.add(services.load(config(port)).unwrap().0).unwrap();
        let keys = [added(1), added(2)];
        assert_eq!(table.borrow_and_update().keys().collect::<Vec<_>>(), keys);
        let before = Arc::clone(table.borrow().get(&keys[0]).unwrap());

        services.change(&keys[0], |config| config.access = Some(Access::Password("sesame".into()))).unwrap();
        assert!(table.has_changed().unwrap());
        let after = Arc::clone(table.borrow_and_update().get(&keys[0]).unwrap());
        assert_eq!(after.access, Access::Password("sesame".into()));
        assert!(Arc::ptr_eq(&before.identity, &after.identity) && !after.removed().is_cancelled());

        services.remove(&keys[0]).unwrap();
        assert!(before.removed().is_cancelled(), "its tunnels end");
        assert_eq!(table.borrow_and_update().keys().collect::<Vec<_>>(), keys[1..]);
        assert!(matches!(services.remove(&keys[0]), Err(ServiceError::Unknown(_))));
        assert!(matches!(services.change(&keys[0], |_| {}), Err(ServiceError::Unknown(_))));
    }
}
