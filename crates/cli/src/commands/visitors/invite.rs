//! `hardline invite`: an invitation to a private service of this computer.

use std::io::IsTerminal as _;
use std::time::SystemTime;

use hardline_node::config::DEFAULT_GATEWAY_PORT;
use hardline_node::proto::KeyHash;
use hardline_node::proto::visitors::{Invitation, visitor_name};
use hardline_node::store::NewInvitation;
use hardline_node::visitors::new_secret;
use serde_json::json;

use super::{service, store};
use crate::args::InviteArgs;
use crate::commands::peers::seconds;
use crate::failure::{Exit, Failure};
use crate::gateway;
use crate::output::{self, Output, printable};
use crate::settings::Loaded;

pub(crate) async fn run(loaded: Loaded, args: InviteArgs, output: Output) -> Result<(), Failure> {
    let key = service::find(&loaded, &args.service)?;
    let name = args.name.as_deref().map(|name| visitor_name(name).ok_or_else(no_name)).transpose()?;
    let secret = new_secret();
    let expires = SystemTime::now() + args.expires;
    let new = NewInvitation {
        service: key,
        secret: secret.clone(),
        name: name.clone(),
        uses: args.uses,
        expires,
        stay: args.stay,
    };
    let store = store(&loaded).await?;
    let number = store.invite(new).await;
    store.close().await;
    let (number, link) = (number?, Invitation { key, secret }.link(DEFAULT_GATEWAY_PORT));
    output.event(&json!({
        "event": "invitation",
        "number": number,
        "link": link,
        "service": key.to_string(),
        "name": name,
        "uses": args.uses,
        "expires": seconds(expires),
        "stay": args.stay.map(|stay| stay.as_secs()),
    }))?;
    if output.is_quiet {
        return output.line(link);
    }
    output.line(format_args!("  {link}\n"))?;
    let wants_qr = args.qr || std::io::stdout().is_terminal();
    if let Some(code) = wants_qr.then(|| output::qr_code(&link)).flatten() {
        output.line(format_args!("{code}\n"))?;
    }
    output.line(sentence(&args, number, name.as_deref()))?;
    warn_if_open(key, loaded.settings.gateway_port, output).await;
    Ok(())
}

fn sentence(args: &InviteArgs, number: i64, name: Option<&str>) -> String {
    let whom = name.map(|name| format!(", for {}", printable(name))).unwrap_or_default();
    let uses = if args.uses == 1 { "once".to_owned() } else { format!("{} times", args.uses) };
    let expires = humantime::format_duration(args.expires);
    let stay = args.stay.map_or_else(
        || "until `hardline revoke`".to_owned(),
        |stay| format!("for {}", humantime::format_duration(stay)),
    );
    format!(
        "Invitation {number}{whom}: good {uses}, within {expires}. Who accepts it may come in {stay}.\n\
         Whoever has the link can accept it, so send it in a way that you trust. On the other computer,\n\
         `hardline accept LINK`, or the link in a browser while hardline runs."
    )
}

/// Says so where the link of the service alone opens it.
async fn warn_if_open(key: KeyHash, port: u16, output: Output) {
    let status = gateway::status(port).await.unwrap_or_default();
    let services = status["services"].as_array().cloned().unwrap_or_default();
    if services.iter().any(|service| service["key"] == *key.to_string() && service["private"] == false) {
        output.remark("warning: this service is not private, so its link alone opens it; set `private = true`");
    }
}

fn no_name() -> Failure {
    Failure::new(Exit::Usage, "--for: found nothing").remedy("say what the visitor is to be called, as in --for alice")
}
