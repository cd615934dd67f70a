//! Defaults, file, environment, flags → settings. Later ones override earlier ones; every problem
//! is reported at once.

mod file; // TOML → settings, with lines
mod problem; // what is wrong, and where
mod relations; // which values must be longer than which

pub mod raw; // one value, from TOML or from text
pub mod schema; // every key: name, environment variable, meaning

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hardline_node::access::Access;
use hardline_node::config::{
    DEFAULT_DNS_PORT, DEFAULT_GATEWAY_PORT, ForwardConfig, HttpSettings, IdentityConfig, LocalAddr, NodeConfig,
    RelayConfig, ServiceConfig, StaticAddress, Target,
};
use hardline_node::proto::KeyHash;
use hardline_node::proto::candidate::TransportAddr;
use hardline_node::proto::host::ServiceName;

pub use problem::{Origin, Problem, Problems};
pub use schema::PASSWORD as PASSWORD_FORM;

use crate::identities;
use crate::logging::LogFormat;
use raw::Raw;
use schema::Key;

/// Where the Python program keeps its addresses, below the home folder.
const PYTHON_DATABASE: &str = ".hardlinep2p/peers.db";

/// Everything that can be set. What goes to the node as it is stands in [`NodeConfig`], with its
/// default.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Folder of the store and the identities. `None`: the platform's, which a service account may
    /// not have.
    pub data_dir: Option<PathBuf>,
    /// Whether browsers of this computer are served.
    pub gateway_enabled: bool,
    /// Where browsers connect; 0 takes a free port.
    pub gateway_port: u16,
    /// Whether names below `localhost` are answered for.
    pub dns_enabled: bool,
    /// UDP port where they are.
    pub dns_port: u16,
    /// Whether this computer is a relay.
    pub relay_enabled: bool,
    /// How it is one; its identity is that of the data folder.
    pub relay: RelayConfig,
    /// What the node is told, but for what depends on the data folder.
    pub node: NodeConfig,
    /// What is logged: `warn`, `info`, or `tracing`'s filter directives.
    pub log_filter: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Services of this computer.
    pub services: Vec<ServiceSettings>,
    /// Addresses given by hand.
    pub peers: Vec<PeerSettings>,
    /// Services elsewhere that have a port or a socket of this computer.
    pub forwards: Vec<ForwardSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: None,
            gateway_enabled: true,
            gateway_port: DEFAULT_GATEWAY_PORT,
            dns_enabled: false,
            dns_port: DEFAULT_DNS_PORT,
            relay_enabled: false,
            relay: RelayConfig::new(IdentityConfig::Ephemeral),
            node: NodeConfig::new(PathBuf::new()),
            log_filter: "warn".into(),
            log_format: LogFormat::Human,
            services: Vec::new(),
            peers: Vec::new(),
            forwards: Vec::new(),
        }
    }
}

/// One service, as it is written down.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// What it is.
    pub target: Option<Target>,
    /// Name of its identity in the data folder.
    pub name: Option<String>,
    /// Path of its certificate.
    pub certfile: Option<PathBuf>,
    /// Whether its identity is made anew for this run.
    pub ephemeral: bool,
    /// Shown on the LAN.
    pub title: Option<String>,
    /// Needed in front of the key hash.
    pub password: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Whether browsing the LAN does not show it.
    pub unlisted: bool,
    /// Whether only visitors come in who were invited.
    pub private: bool,
    /// Whether it is kept out of the DHT.
    pub no_dht: bool,
    /// What is done to its HTTP.
    pub http: HttpSettings,
}

impl std::fmt::Debug for ServiceSettings {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceSettings")
            .field("target", &self.target)
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

/// Addresses of one service elsewhere, given by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerSettings {
    /// Which.
    pub name: Option<ServiceName>,
    /// Where to try.
    pub addresses: Vec<TransportAddr>,
    /// Whether a link is dialled before anybody asks.
    pub is_ready: bool,
    /// Whether its pages may do what pages of this computer may.
    pub is_trusted: bool,
}

/// A service elsewhere that has a port or a socket of this computer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardSettings {
    /// Which.
    pub name: Option<ServiceName>,
    /// Where it is found.
    pub local: Option<LocalAddr>,
}

/// Where settings come from, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file that must exist.
    pub file: Option<PathBuf>,
    /// A file that is read when it exists.
    pub default_file: Option<PathBuf>,
    /// The environment's variables that begin with `HARDLINE_`.
    pub environment: BTreeMap<String, String>,
    /// Keys set on the command line: the flag, the key, the value. The last one of a key counts.
    pub flags: Vec<(String, String, String)>,
}

/// Settings and where they came from.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Where each key that is not at its default was set last.
    pub origins: BTreeMap<&'static str, Origin>,
    /// Remarks that are no reason to stop.
    pub warnings: Vec<String>,
}

/// Reads all of `sources`.
///
/// # Errors
/// Every problem that was found, in the order of the sources and of the lines.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut loaded = Loaded::default();
    let mut problems = Vec::new();
    if let Some(path) = sources.file.as_ref().or(sources.default_file.as_ref().filter(|path| path.exists())) {
        file::read(path, &mut loaded, &mut problems);
        loaded.file = Some(path.clone());
    }
    let here = crate::target::here();
    for (name, value) in &sources.environment {
        apply_variable(name, value, &here, &mut loaded, &mut problems);
    }
    for (flag, key, value) in &sources.flags {
        set(key, &Raw::text(value, &here), Origin::Flag(flag.clone()), &mut loaded, &mut problems);
    }
    if problems.is_empty() {
        problems.extend(relations::problems(&loaded));
    }
    if problems.is_empty() { Ok(loaded) } else { Err(Problems(problems)) }
}

impl Settings {
    /// The folder of the store and the identities.
    ///
    /// # Errors
    /// When the platform has none for this user and none was set.
    pub fn data_dir(&self) -> Result<PathBuf, NoDataDir> {
        self.data_dir.clone().or_else(identities::platform_data_dir).ok_or(NoDataDir)
    }

    /// What a relay is to be told.
    fn relay(&self, data_dir: &Path) -> RelayConfig {
        let identity = IdentityConfig::File(identities::path(data_dir, identities::RELAY));
        RelayConfig { identity, ..self.relay.clone() }
    }

    /// What is forwarded for as long as the node of the configuration runs.
    #[must_use]
    pub fn forward_configs(&self) -> Vec<ForwardConfig> {
        let config = |it: &ForwardSettings| Some(ForwardConfig { name: it.name.clone()?, local: it.local.clone()? });
        self.forwards.iter().filter_map(config).collect()
    }

    /// What the node is to be told, without what is forwarded and without DNS: several programs run
    /// with one configuration.
    ///
    /// # Errors
    /// When there is no data folder.
    pub fn node_config(&self) -> Result<NodeConfig, NoDataDir> {
        let data_dir = self.data_dir()?;
        Ok(NodeConfig {
            gateway_port: self.gateway_enabled.then_some(self.gateway_port),
            relay: self.relay_enabled.then(|| self.relay(&data_dir)),
            services: self.services.iter().filter_map(|service| service.node_config(&data_dir)).collect(),
            static_addresses: self.peers.iter().filter_map(PeerSettings::static_addresses).flatten().collect(),
            ready: self.peers.iter().filter(|peer| peer.is_ready).filter_map(|peer| peer.name.clone()).collect(),
            trusted: self.peers.iter().filter(|peer| peer.is_trusted).filter_map(PeerSettings::key).collect(),
            import_from: directories::BaseDirs::new().map(|dirs| dirs.home_dir().join(PYTHON_DATABASE)),
            data_dir,
            ..self.node.clone()
        })
    }
}

/// The platform names no data folder for this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoDataDir;

impl ServiceSettings {
    /// What the node is to be told; `None` only for a service that [`load`] refuses.
    #[must_use]
    pub fn node_config(&self, data_dir: &Path) -> Option<ServiceConfig> {
        let target = self.target.clone()?;
        let identity = match (&self.certfile, &self.name) {
            _ if self.ephemeral => IdentityConfig::Ephemeral,
            (Some(path), _) => IdentityConfig::File(path.clone()),
            (None, Some(name)) => IdentityConfig::File(identities::path(data_dir, name)),
            (None, None) => IdentityConfig::File(identities::path(data_dir, &crate::target::identity_name(&target))),
        };
        let title = self.title.clone().unwrap_or_else(|| default_title(&target));
        let access = self.password.clone().map(Access::Password);
        let (unlisted, private, dht, http) = (self.unlisted, self.private, !self.no_dht, self.http.clone());
        Some(ServiceConfig { target, identity, title, access, unlisted, private, dht, http })
    }

    /// Whether what is set fits the target.
    ///
    /// # Errors
    /// A sentence that says what does not.
    pub fn check_http(&self) -> Result<(), String> {
        let is_https = matches!(self.target, None | Some(Target::Https(_)));
        if self.http.backend_certificate.is_some() && !is_https {
            return Err("a certificate of the backend is for a target that begins with https://".into());
        }
        if matches!(self.target, Some(Target::Udp(_))) && self.http != HttpSettings::default() {
            return Err("settings for HTTP are not for a target that begins with udp://".into());
        }
        Ok(())
    }
}

impl ServiceSettings {
    /// Takes the password from its file, if it has one.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without the password.
    pub fn read_password(&mut self) -> Result<(), String> {
        let Some(path) = &self.password_file else { return Ok(()) };
        if self.password.is_some() {
            return Err("service has both password and password_file".into());
        }
        let text = std::fs::read_to_string(path).map_err(|err| format!("password file {}: {err}", path.display()))?;
        let password = text.trim_end_matches(['\r', '\n']);
        raw::check_password(password)
            .map_err(|reason| format!("password file {} must hold {}: {reason}", path.display(), schema::PASSWORD))?;
        self.password = Some(password.into());
        Ok(())
    }
}

impl PeerSettings {
    fn key(&self) -> Option<KeyHash> {
        self.name.as_ref().map(|name| name.key)
    }

    fn static_addresses(&self) -> Option<impl Iterator<Item = StaticAddress>> {
        let key = self.key()?;
        Some(self.addresses.iter().cloned().map(move |at| StaticAddress { key, at }))
    }
}

/// A title for a service without one: the folder's name, else the target.
fn default_title(target: &Target) -> String {
    match target {
        Target::Folder(path) => {
            path.file_name().map_or_else(|| target.to_string(), |name| name.to_string_lossy().into_owned())
        }
        _ => target.to_string(),
    }
}

/// Applies one environment variable. Others that begin with `HARDLINE_` may be somebody else's;
/// those that look like a slip of the pen are mentioned.
fn apply_variable(name: &str, value: &str, here: &Path, loaded: &mut Loaded, problems: &mut Vec<Problem>) {
    let variables: Vec<String> = schema::KEYS.iter().filter_map(Key::env).collect();
    if let Some(key) = schema::KEYS.iter().find(|key| key.env().as_deref() == Some(name)) {
        set(key.name, &Raw::text(value, here), Origin::Variable(name.into()), loaded, problems);
    } else if let Some(near) = problem::nearest(name, variables.iter().map(String::as_str))
        && name != near
        && !schema::OTHER_VARIABLES.iter().any(|(other, _)| *other == name)
    {
        loaded.warnings.push(format!("the environment variable {name} means nothing here; did you mean {near}?"));
    }
}

/// Sets a key by its name.
fn set(name: &str, raw: &Raw<'_>, origin: Origin, loaded: &mut Loaded, problems: &mut Vec<Problem>) {
    let Some(key) = schema::KEYS.iter().find(|key| key.name == name) else {
        problems.push(Problem::unknown_key(origin, name, schema::KEYS.iter().map(|key| key.name)));
        return;
    };
    match (key.set)(&mut loaded.settings, raw) {
        Ok(()) => {
            loaded.origins.insert(key.name, origin);
        }
        Err(reason) => problems.push(Problem::bad_value(origin, key.name, key.form, &reason)),
    }
}
