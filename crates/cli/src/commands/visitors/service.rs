//! Which service of this computer is meant.

use std::path::PathBuf;

use hardline_node::config::IdentityConfig;
use hardline_node::proto::KeyHash;
use hardline_node::tls::identity::Identity;

use crate::failure::{Exit, Failure};
use crate::settings::Loaded;
use crate::{identities, links, target};

/// The service that `text` means: a link, or the title, name or target of one that has an identity.
pub(super) fn find(loaded: &Loaded, text: &str) -> Result<KeyHash, Failure> {
    if let Ok(name) = links::read(text) {
        return Ok(name.key);
    }
    let paths = candidates(loaded, text)?;
    let path = paths.into_iter().find(|path| path.is_file() && identities::private_key(path).is_file());
    let path = path.ok_or_else(|| {
        Failure::new(Exit::Identity, format_args!("no service of this computer is called {text:?}"))
            .remedy("say its link, title, name or target; `hardline id` lists the links; a new service has to run once")
    })?;
    Ok(Identity::load_or_create(&path)?.0.key)
}

/// Where the identity of such a service would be.
fn candidates(loaded: &Loaded, text: &str) -> Result<Vec<PathBuf>, Failure> {
    let data_dir = loaded.settings.data_dir()?;
    let parsed = target::parse(text, &target::here()).ok();
    let mut paths = Vec::new();
    for settings in &loaded.settings.services {
        let Some(config) = settings.node_config(&data_dir) else { continue };
        let is_named = settings.name.as_deref() == Some(text) || config.title == text;
        if let IdentityConfig::File(path) = config.identity
            && (is_named || parsed.as_ref() == Some(&config.target))
        {
            paths.push(path);
        }
    }
    if identities::check_name(text).is_ok() {
        paths.push(identities::path(&data_dir, text));
    }
    paths.extend(parsed.map(|target| identities::path(&data_dir, &target::identity_name(&target))));
    Ok(paths)
}
