//! `hardline relay`: a relay for computers that cannot open a port, and its tokens.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hardline_node::proto::KeyHash;
use hardline_node::proto::hosts::HostPort;
use hardline_node::proto::relay::RelayUrl;
use hardline_node::tls::identity::Identity;
use hardline_node::transport::relay::tokens::{Token, TokenFile};
use serde_json::json;

use super::serve::{self, OtherGateway, Running};
use crate::args::{RelayCommand, TokenCommand};
use crate::failure::Failure;
use crate::identities;
use crate::output::Output;
use crate::settings::Loaded;

/// The last second that has a date of four digits, in seconds of Unix time.
const LAST_SECOND: u64 = 253_402_300_799;

/// Runs the relay, or does what is asked with its tokens.
pub(super) fn run(loaded: Loaded, command: Option<RelayCommand>, output: Output) -> Result<(), Failure> {
    match command {
        None => super::block_on(serve(loaded, output)),
        Some(RelayCommand::Token(command)) => token(&loaded, command, output),
    }
}

/// The relay's address for the publishers of its oldest token; `None` when all were revoked.
///
/// # Errors
/// When the tokens cannot be read.
pub(super) fn address(data_dir: &Path, key: KeyHash, at: Option<&HostPort>) -> Result<Option<RelayUrl>, Failure> {
    let oldest = TokenFile::new(data_dir).list()?.into_iter().next();
    Ok(oldest.map(|token| RelayUrl { token: token.secret, at: at.cloned(), key }))
}

/// A relay alone: services and browsers are for `hardline` with `[relay]` in its configuration.
async fn serve(mut loaded: Loaded, output: Output) -> Result<(), Failure> {
    loaded.settings.relay_enabled = true;
    loaded.settings.gateway_enabled = false;
    loaded.settings.services = Vec::new();
    let running = serve::start(loaded.settings.node_config()?, OtherGateway::Use).await?;
    running.announce(output);
    let _ = tell(&running, output);
    running.until_stopped(output).await;
    Ok(())
}

fn tell(running: &Running, output: Output) -> Result<(), Failure> {
    let Some(relay) = &running.relay else {
        output.remark("Every token was revoked: `hardline relay token new NAME` makes one.");
        return Ok(());
    };
    output.line(relay)?;
    if output.is_quiet {
        return Ok(());
    }
    if relay.at.is_none() {
        output.remark(
            "It has no host in it, so publishers look for the relay in the DHT. To be found faster, give its name or \
             address with --public-address HOST:PORT.",
        );
    }
    output.remark(
        "Give this address to whoever should be reached through this computer: hardline --relay ADDRESS share …",
    );
    output.remark("Ctrl-C ends the relay.");
    Ok(())
}

fn token(loaded: &Loaded, command: TokenCommand, output: Output) -> Result<(), Failure> {
    let data_dir = loaded.settings.data_dir()?;
    let tokens = TokenFile::new(&data_dir);
    match command {
        TokenCommand::New { name } => {
            let token = tokens.add(&name)?;
            let (identity, _) = Identity::load_or_create(&identities::path(&data_dir, identities::RELAY))?;
            let at = loaded.settings.node.p2p.public_addresses.first().cloned();
            let url = RelayUrl { token: token.secret, at, key: identity.key };
            output.event(&json!({"name": token.name, "address": url.to_string()}))?;
            output.line(&url)?;
            if url.at.is_none() {
                output.remark("Its host is missing: add it in front of the last /, or set p2p.public_addresses.");
            }
            Ok(())
        }
        TokenCommand::List => {
            let listed = tokens.list()?;
            if listed.is_empty() {
                output.remark("There is no token; `hardline relay` and `hardline relay token new NAME` make one.");
            }
            listed.iter().try_for_each(|token| list(token, output))
        }
        TokenCommand::Revoke { name } => {
            tokens.revoke(&name)?;
            output.event(&json!({"revoked": name}))?;
            output.line(format_args!("{name} is revoked."))
        }
    }
}

fn list(token: &Token, output: Output) -> Result<(), Failure> {
    let created = UNIX_EPOCH + Duration::from_secs(token.created.min(LAST_SECOND));
    let created = humantime::format_rfc3339_seconds(created);
    output.event(&json!({"name": token.name, "created": created.to_string()}))?;
    output.line(format_args!("{}  made {created}", token.name))
}
