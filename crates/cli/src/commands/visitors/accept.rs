//! `hardline accept`: an invitation of somebody else.

use std::time::{Duration, SystemTime};

use hardline_node::node::AcceptError;
use hardline_node::proto::host::ServiceName;
use hardline_node::proto::visitors::{Invitation, Refused, visitor_name};
use serde_json::json;

use crate::args::AcceptArgs;
use crate::commands::reach::{dialler, static_addresses};
use crate::failure::{Exit, Failure};
use crate::links;
use crate::output::{Output, printable};
use crate::settings::Loaded;

pub(crate) async fn run(loaded: Loaded, args: AcceptArgs, output: Output) -> Result<(), Failure> {
    let invitation = Invitation::parse(&args.link)
        .map_err(|error| Failure::new(Exit::Usage, error).remedy("paste the link as `hardline invite` printed it"))?;
    let name = ServiceName { key: invitation.key, password: None };
    let node = dialler(&loaded, static_addresses(&name, &args.address)?).await?;
    let accepted = node.accept_invitation(&invitation, args.name.as_deref().and_then(visitor_name)).await;
    node.shutdown().await;
    let enrolled = accepted.map_err(|error| failure(&error))?;
    let link = links::link(invitation.key, None, loaded.settings.gateway_port);
    let until = enrolled.expires_ms.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
    output.event(&json!({
        "event": "accepted",
        "service": invitation.key.to_string(),
        "link": link,
        "name": enrolled.name,
        "expires": enrolled.expires_ms.map(|ms| ms / 1000),
    }))?;
    if output.is_quiet {
        return output.line(link);
    }
    let stay = until.and_then(|until| until.duration_since(SystemTime::now()).ok());
    let stay = stay.map(|stay| format!(", for {}", humantime::format_duration(Duration::from_secs(stay.as_secs()))));
    let stay = stay.unwrap_or_default();
    output.line(format_args!("This computer may come in as {}{stay}:\n\n  {link}\n", printable(&enrolled.name)))
}

fn failure(error: &AcceptError) -> Failure {
    match error {
        AcceptError::NotReached(_) => Failure::of(Exit::NotReached, "the invitation was not accepted", error)
            .remedy("check that hardline runs on the other computer, and that both clocks are right; then try again"),
        AcceptError::Refused(refused) => {
            let failure = Failure::new(Exit::Failed, refused);
            match refused {
                Refused::Full => failure.remedy("ask who sent it to revoke somebody"),
                _ => failure.remedy("ask who sent it for a new one"),
            }
        }
        AcceptError::Store(error) => Failure::of(Exit::Failed, "the key cannot be kept", error).remedy(error.remedy()),
        other => Failure::of(Exit::Failed, "the invitation was not accepted", other).remedy("try again"),
    }
}
