//! `hardline id` and `hardline key`: own identities.

use std::path::{Path, PathBuf};

use hardline_node::config::IdentityConfig;
use hardline_node::tls::identity::Identity;
use serde_json::json;

use crate::args::KeyCommand;
use crate::failure::{Exit, Failure, chain};
use crate::output::Output;
use crate::settings::Loaded;
use crate::{identities, links};

/// Shows one identity, or all of the data folder and the configuration.
pub(super) fn run(loaded: &Loaded, wanted: Option<&str>, output: Output) -> Result<(), Failure> {
    let data_dir = loaded.settings.data_dir()?;
    match wanted {
        Some(wanted) => show(&find(wanted, &data_dir)?, loaded.settings.gateway_port, output),
        None => list(loaded, &data_dir, output),
    }
}

/// `hardline key`.
pub(super) fn key(loaded: &Loaded, command: KeyCommand, output: Output) -> Result<(), Failure> {
    match command {
        KeyCommand::List => run(loaded, None, output),
        KeyCommand::New { name } => new(loaded, &name, output),
    }
}

fn new(loaded: &Loaded, name: &str, output: Output) -> Result<(), Failure> {
    identities::check_name(name).map_err(|reason| {
        Failure::new(Exit::Usage, format_args!("{name:?} cannot be the name of an identity: {reason}"))
            .remedy("use letters, digits, '.', '-' and '_', a letter or digit first")
    })?;
    let path = identities::path(&loaded.settings.data_dir()?, name);
    if path.exists() || identities::private_key(&path).exists() {
        return Err(Failure::new(Exit::Identity, format_args!("there is an identity {name} already"))
            .remedy(format_args!("`hardline id {name}` shows it; choose another name for a new one")));
    }
    let (identity, _) = Identity::load_or_create(&path)?;
    tell(&path, &identity, loaded.settings.gateway_port, output)
}

fn list(loaded: &Loaded, data_dir: &Path, output: Output) -> Result<(), Failure> {
    let names = identities::names(data_dir)
        .map_err(|err| Failure::of(Exit::Identity, &format!("cannot list {}", data_dir.display()), &err))?;
    let mut paths: Vec<PathBuf> = names.iter().map(|name| identities::path(data_dir, name)).collect();
    for service in loaded.settings.services.iter().filter_map(|service| service.node_config(data_dir)) {
        if let IdentityConfig::File(path) = service.identity
            && path.is_file()
            && !paths.contains(&path)
        {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        output.remark("There is no identity yet; `hardline share TARGET` and `hardline key new NAME` make one.");
    }
    let mut unusable = None;
    for path in paths {
        // One bad identity does not hide the others.
        if let Err(failure) = show(&path, loaded.settings.gateway_port, output) {
            match failure.exit() {
                Exit::Identity => unusable = Some(failure),
                _ => return Err(failure),
            }
        }
    }
    unusable.map_or(Ok(()), Err)
}

/// A name in the data folder, else a path.
fn find(wanted: &str, data_dir: &Path) -> Result<PathBuf, Failure> {
    let named = identities::check_name(wanted).ok().map(|()| identities::path(data_dir, wanted));
    let candidates = named.into_iter().chain([crate::target::here().join(wanted)]);
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Failure::new(Exit::Identity, format_args!("there is no identity {wanted:?}"))
            .remedy("`hardline id` lists those there are, `hardline key new NAME` makes one")
    })
}

fn show(path: &Path, port: u16, output: Output) -> Result<(), Failure> {
    let (identity, _) = Identity::load_or_create(path).map_err(|err| {
        Failure::new(Exit::Identity, format_args!("{}: {}", path.display(), chain(&err))).remedy(err.remedy())
    })?;
    tell(path, &identity, port, output)
}

fn tell(path: &Path, identity: &Identity, port: u16, output: Output) -> Result<(), Failure> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let link = links::link(identity.key, identity.access.password(), port);
    let files = [path.to_owned(), identities::private_key(path), identities::hash_file(path)];
    let files: Vec<String> = files.iter().filter(|file| file.exists()).map(|file| file.display().to_string()).collect();
    output.event(&json!({
        "event": "identity",
        "name": name,
        "key": identity.key.to_string(),
        "link": link,
        "files": files,
    }))?;
    output.line(format_args!(
        "{name}\n  link   {link}\n  hash   {}\n  files  {}",
        identity.key,
        files.join("\n         ")
    ))
}
