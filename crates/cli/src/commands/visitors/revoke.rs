//! `hardline revoke`: who may not come in any more.

use std::time::Duration;

use hardline_node::store::Store;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{counted, service, store};
use crate::args::RevokeArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, printable};
use crate::settings::Loaded;

/// Time for who serves to say what was ended. It looks ten times a second.
const ANSWER: Duration = Duration::from_secs(2);

/// Time between two looks for that.
const POLL: Duration = Duration::from_millis(10);

pub(crate) async fn run(loaded: Loaded, args: RevokeArgs, output: Output) -> Result<(), Failure> {
    let key = service::find(&loaded, &args.service)?;
    let store = store(&loaded).await?;
    let outcome = match (args.name, args.invitation) {
        (Some(name), _) => revoke(&store, key, name, output).await,
        (None, Some(number)) => match store.revoke_invitation(key, number).await {
            Ok(true) => told_invitation(number, output),
            Ok(false) => {
                Err(Failure::new(Exit::Failed, format_args!("there is no invitation {number} to this service"))
                    .remedy("`hardline visitors` lists those that are good"))
            }
            Err(error) => Err(error.into()),
        },
        (None, None) => Err(Failure::new(Exit::Usage, "say whom, or --invitation NUMBER")),
    };
    store.close().await;
    outcome
}

fn told_invitation(number: i64, output: Output) -> Result<(), Failure> {
    output.event(&json!({"event": "revoked", "invitation": number}))?;
    output.line(format_args!("Invitation {number} is taken back."))
}

async fn revoke(
    store: &Store,
    key: hardline_node::proto::KeyHash,
    name: String,
    output: Output,
) -> Result<(), Failure> {
    let revoked = store.revoke(key, name.clone()).await?.ok_or_else(|| no_visitor(&name))?;
    let tunnels = match revoked.id {
        Some(id) => timeout(ANSWER, ended(store, id)).await.ok().transpose()?,
        None => Some(0),
    };
    let invitations = revoked.invitations as u64;
    output.event(&json!({
        "event": "revoked",
        "service": key.to_string(),
        "name": name,
        "was_visitor": revoked.id.is_some(),
        "tunnels": tunnels,
        "invitations": invitations,
    }))?;
    let name = printable(&name);
    output.line(match (revoked.id, tunnels) {
        (None, _) => format!("{name} was not here yet, and cannot come any more."),
        (Some(_), Some(tunnels)) => format!("{name} is out; {} ended.", counted(tunnels, "tunnel")),
        (Some(_), None) => {
            format!(
                "{name} is out. No hardline that serves from this data folder answered, so nothing was to be ended."
            )
        }
    })?;
    if invitations > 0 {
        output.line(format_args!("Taken back with that: {}.", counted(invitations, "invitation")))?;
    }
    Ok(())
}

/// Waits until who serves says how many tunnels were ended.
async fn ended(store: &Store, id: i64) -> Result<u64, Failure> {
    loop {
        if let Some(tunnels) = store.revocation_ended(id).await? {
            return Ok(tunnels);
        }
        sleep(POLL).await;
    }
}

pub(super) fn no_visitor(name: &str) -> Failure {
    Failure::new(Exit::Failed, format_args!("this service has no visitor {}", printable(name)))
        .remedy("`hardline visitors` lists them")
}
