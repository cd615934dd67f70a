//! `hardline open`: a link in the person's browser.

use std::time::Duration;

use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::gateway::{self, Occupant};
use crate::links;
use crate::output::Output;
use crate::settings::Loaded;

/// Time for the system's opener to fail. One that is still running then is the browser itself.
const OPENER_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn run(loaded: Loaded, link: &str, output: Output) -> Result<(), Failure> {
    let name = links::read(link)?;
    let port = loaded.settings.gateway_port;
    if gateway::occupant(port).await != Occupant::Gateway {
        return Err(Failure::new(Exit::NotReached, format_args!("no gateway runs at port {port} of this computer"))
            .remedy("run `hardline` first, or say where its gateway is with --gateway-port"));
    }
    let link = links::link(name.key, name.password.as_deref(), port);
    let target = link.clone();
    let opened = tokio::task::spawn_blocking(move || open::that_detached_with_timeout(target, OPENER_TIMEOUT)).await;
    match opened {
        Ok(Ok(())) => output.event(&json!({"event": "opened", "link": link})),
        Ok(Err(err)) => Err(Failure::of(Exit::Failed, "no browser could be started", &err)
            .remedy(format_args!("open this link by hand: {link}"))),
        Err(err) => Err(Failure::of(Exit::Failed, "no browser could be started", &err)),
    }
}
