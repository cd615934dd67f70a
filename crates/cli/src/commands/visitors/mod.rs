//! Who may come in to private services: invitations, visitors, revocations; and, on the other side,
//! an invitation that is accepted.
//!
//! What is changed here is in the store when the command has returned. A hardline that serves from
//! the same data folder looks there ten times a second.

mod accept; // an invitation of somebody else
mod invite; // an invitation to a service of this computer
mod list; // who may come in
mod revoke; // who may not any more
mod service; // which service is meant

pub(super) use accept::run as accept;
pub(super) use invite::run as invite;
pub(super) use list::run as visitors;
pub(super) use revoke::run as revoke;

use hardline_node::store::Store;

use crate::failure::Failure;
use crate::settings::Loaded;

async fn store(loaded: &Loaded) -> Result<Store, Failure> {
    let config = loaded.settings.node_config()?;
    let (store, _) = Store::open(&config.data_dir, None).await?;
    Ok(store)
}

/// `1 tunnel`, `2 tunnels`.
fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
