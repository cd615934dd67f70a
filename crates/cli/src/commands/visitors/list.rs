//! `hardline visitors`: who may come in.

use std::time::SystemTime;

use hardline_node::proto::KeyHash;
use hardline_node::proto::visitors::visitor_name;
use hardline_node::store::{EnrolledVisitor, KeptInvitation, Store};
use serde_json::{Value, json};

use super::{counted, service, store};
use crate::args::{VisitorsArgs, VisitorsCommand};
use crate::commands::peers::{ago, seconds};
use crate::failure::{Exit, Failure};
use crate::output::{Output, printable};
use crate::settings::Loaded;
use crate::{gateway, links};

pub(crate) async fn run(loaded: Loaded, args: VisitorsArgs, output: Output) -> Result<(), Failure> {
    if let Some(VisitorsCommand::Rename { service: text, name, to }) = args.command {
        return rename(&loaded, &text, name, &to, output).await;
    }
    let store = store(&loaded).await?;
    let services = match &args.service {
        Some(text) => vec![service::find(&loaded, text)?],
        None => store.private_services().await?,
    };
    let status = gateway::status(loaded.settings.gateway_port).await.unwrap_or_default();
    if services.is_empty() {
        output.remark("Nobody has been invited yet; `hardline invite SERVICE` does that.");
    }
    let mut outcome = Ok(());
    for key in services {
        outcome = outcome.and(list(&store, key, &status, output).await);
    }
    store.close().await;
    outcome
}

async fn list(store: &Store, key: KeyHash, status: &Value, output: Output) -> Result<(), Failure> {
    output.line(links::link_elsewhere(key, None))?;
    let now = SystemTime::now();
    for visitor in store.visitors(key).await? {
        let tunnels = tunnels(status, key, &visitor.name);
        output.event(&event(&visitor, tunnels))?;
        output.line(format_args!("  {}", sentence(&visitor, tunnels, now)))?;
    }
    for invitation in store.invitations(key).await? {
        if let Some(left) = left(&invitation, now) {
            let state = &invitation.state;
            output.event(&json!({
                "event": "invitation",
                "service": key.to_string(),
                "number": invitation.id,
                "name": invitation.name,
                "uses": state.uses,
                "expires": state.expires_ms / 1000,
            }))?;
            let whom = invitation.name.as_deref().map(|name| format!(" for {}", printable(name))).unwrap_or_default();
            output.line(format_args!("  invitation {}{whom}, {left}", invitation.id))?;
        }
    }
    Ok(())
}

/// Tunnels that a visitor has open, as the hardline that runs says.
fn tunnels(status: &Value, key: KeyHash, name: &str) -> Option<u64> {
    let visitors = status["visitors"].as_array()?;
    let of = visitors.iter().filter(|visitor| visitor["service"] == *key.to_string() && visitor["name"] == name);
    Some(of.filter_map(|visitor| visitor["tunnels"].as_u64()).sum())
}

fn event(visitor: &EnrolledVisitor, tunnels: Option<u64>) -> Value {
    json!({
        "event": "visitor",
        "service": visitor.service.to_string(),
        "name": visitor.name,
        "key": visitor.key.to_string(),
        "since": seconds(visitor.since),
        "expires": visitor.expires.map(seconds),
        "seen": visitor.seen.as_ref().map(|(at, _)| seconds(*at)),
        "over": visitor.seen.as_ref().map(|(_, over)| over),
        "tunnels": tunnels,
    })
}

fn sentence(visitor: &EnrolledVisitor, tunnels: Option<u64>, now: SystemTime) -> String {
    let mut words = vec![format!("{}  since {}", printable(&visitor.name), ago(visitor.since, now))];
    words.extend(visitor.expires.map(|at| match at.duration_since(now) {
        Ok(left) => format!("for {} more", humantime::format_duration(std::time::Duration::from_secs(left.as_secs()))),
        Err(_) => "whose time is over".to_owned(),
    }));
    words.push(match &visitor.seen {
        Some((at, over)) => format!("here {} ({})", ago(*at, now), printable(over)),
        None => "not here yet".to_owned(),
    });
    words.extend(tunnels.filter(|tunnels| *tunnels > 0).map(|tunnels| counted(tunnels, "tunnel")));
    words.join(", ")
}

/// What an invitation is still good for; `None` for one that has ended.
fn left(invitation: &KeptInvitation, now: SystemTime) -> Option<String> {
    let state = &invitation.state;
    let expires = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(state.expires_ms);
    let time = expires.duration_since(now).ok().filter(|_| !state.is_revoked && state.uses > 0)?;
    let time = humantime::format_duration(std::time::Duration::from_secs(time.as_secs()));
    Some(format!("good {}, within {time}", counted(state.uses.into(), "time")))
}

async fn rename(loaded: &Loaded, text: &str, name: String, to: &str, output: Output) -> Result<(), Failure> {
    let key = service::find(loaded, text)?;
    let to = visitor_name(to).ok_or_else(|| Failure::new(Exit::Usage, "a visitor needs a name"))?;
    let store = store(loaded).await?;
    let renamed = store.rename_visitor(key, name.clone(), to.clone()).await;
    store.close().await;
    match renamed? {
        Some(true) => {
            output.event(&json!({"event": "renamed", "service": key.to_string(), "name": to}))?;
            output.line(format_args!("{} is called {} now.", printable(&name), printable(&to)))
        }
        Some(false) => Err(Failure::new(Exit::Failed, format_args!("there is a visitor {} already", printable(&to)))),
        None => Err(super::revoke::no_visitor(&name)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hardline_node::proto::visitors::Door;

    use super::*;

    #[test]
    fn a_visitor_is_told_of_in_a_line() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let key = KeyHash::from_bytes([7; 20]);
        let mut visitor = EnrolledVisitor {
            service: key,
            key,
            name: "ali\u{1b}ce".into(),
            door: Door::from_bytes([0; 32]),
            since: now - Duration::from_secs(7300),
            expires: None,
            seen: None,
        };
        assert_eq!(sentence(&visitor, None, now), "alice  since 2 hours ago, not here yet");
        visitor.expires = Some(now + Duration::from_secs(86_400));
        visitor.seen = Some((now - Duration::from_secs(90), "LAN".into()));
        let words = "alice  since 2 hours ago, for 1day more, here 1 minute ago (LAN), 2 tunnels";
        assert_eq!(sentence(&visitor, Some(2), now), words);
        let status = json!({"visitors": [
            {"service": key.to_string(), "name": "alice", "tunnels": 2},
            {"service": key.to_string(), "name": "alice", "tunnels": 1},
            {"service": key.to_string(), "name": null, "tunnels": 7},
        ]});
        assert_eq!(tunnels(&status, key, "alice"), Some(3));
        assert_eq!(tunnels(&Value::Null, key, "alice"), None);
    }
}
