//! `hardline forward`: ports and sockets of this computer ⇄ services of others.

use hardline_node::config::{ForwardConfig, LocalAddr};
use hardline_node::proto::host::ServiceName;
use serde_json::json;

use crate::args::ForwardArgs;
use crate::failure::{Exit, Failure};
use crate::links;
use crate::output::Output;
use crate::settings::Loaded;
use crate::system::signals::Signals;

use super::reach::{dialler, static_addresses};

pub(super) async fn run(loaded: Loaded, args: ForwardArgs, output: Output) -> Result<(), Failure> {
    let wanted = wanted(&args)?;
    let addresses = match wanted.as_slice() {
        [only] => static_addresses(&only.name, &args.address)?,
        _ if args.address.is_empty() => Vec::new(),
        _ => {
            return Err(Failure::new(Exit::Usage, "--address is for one service, and there are several")
                .remedy("name the addresses in the configuration, in a [[peer]] for each service"));
        }
    };
    let mut signals = Signals::catch().map_err(|err| Failure::of(Exit::Failed, "cannot catch signals", &err))?;
    let node = dialler(&loaded, addresses).await?;
    let mut forwards = Vec::new();
    for ForwardConfig { name, local } in wanted {
        let local = node.forward(&local, &name).map_err(|err| cannot_listen(&local, &err))?;
        forwards.push(ForwardConfig { name, local });
    }
    announce(&forwards, output);

    signals.next().await;
    tokio::select! {
        () = node.shutdown() => {}
        () = signals.next() => tracing::info!("stopped at once"),
    }
    Ok(())
}

/// What the command line asks for: one link with `--local`, or `LINK=LOCAL` once or more.
fn wanted(args: &ForwardArgs) -> Result<Vec<ForwardConfig>, Failure> {
    match (&args.local, args.links.as_slice()) {
        (Some(local), [link]) => {
            let local = local_address(local).map_err(|failure| failure.remedy("write it as in --local 2222"))?;
            Ok(vec![ForwardConfig { name: links::read(link)?, local }])
        }
        (Some(_), _) => Err(Failure::new(Exit::Usage, "--local is for one link")
            .remedy("write LINK=LOCAL for each of several, as in KEYHASH=2222")),
        (None, several) => several.iter().map(|text| pair(text)).collect(),
    }
}

/// Reads `LINK=LOCAL`. A link may hold a `=` itself.
fn pair(text: &str) -> Result<ForwardConfig, Failure> {
    let splits = text.match_indices('=').map(|(at, _)| (&text[..at], &text[at + 1..]));
    let named = splits.filter_map(|(link, local)| Some((links::read(link).ok()?, local))).next();
    match named {
        Some((name, local)) => Ok(ForwardConfig { name, local: local_address(local)? }),
        None => {
            links::read(text)?;
            Err(Failure::new(Exit::Usage, format_args!("nothing says where {text} shall be found"))
                .remedy("add --local 2222, or write LINK=LOCAL, as in KEYHASH=2222"))
        }
    }
}

fn local_address(text: &str) -> Result<LocalAddr, Failure> {
    text.parse().map_err(|form| Failure::new(Exit::Usage, format_args!("{text:?} is not {form}")))
}

fn announce(forwards: &[ForwardConfig], output: Output) {
    let each: Vec<_> = forwards.iter().map(event).collect();
    // One alone stands in the event itself, too, as when there was one only.
    let mut ready = each.first().cloned().unwrap_or_default();
    ready["event"] = "ready".into();
    ready["forwards"] = each.into();
    // Carrying goes on when nobody reads this.
    let _ = output.event(&ready);
    for ForwardConfig { name, local } in forwards {
        let _ = output.line(format_args!("Forwarding {local} to {}.", name.key));
        if let Some(addr) = local.port()
            && !addr.ip().is_loopback()
        {
            output.remark(format_args!("warning: everybody who reaches {addr} reaches the service"));
        }
    }
    let _ = output.line("Ctrl-C ends this.");
}

/// A forward for programs.
pub(super) fn event(forward: &ForwardConfig) -> serde_json::Value {
    let ForwardConfig { name: ServiceName { key, .. }, local } = forward;
    json!({"local": local.to_string(), "key": key.to_string()})
}

fn cannot_listen(at: &LocalAddr, error: &std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::AddrInUse { Exit::InUse } else { Exit::Failed };
    Failure::of(exit, &format!("cannot listen at {at}"), error)
        .remedy("choose another port or path, or port 0 for a free one")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let read = pair(&text.replace("KEY", KEY)).ok();
        assert_eq!(read.map(|it| format!("{} {}", it.name.key, it.local)).as_deref(), expected, "{text}");
    }

    #[test]
    fn a_link_and_where_it_is_found_are_joined_by_an_equals_sign() {
        check("KEY=2222", Some(&format!("{KEY} 127.0.0.1:2222")));
        check("http://pw-KEY.localhost:7009/=[::1]:0", Some(&format!("{KEY} [::1]:0")));
        check("KEY=udp:5353", Some(&format!("{KEY} udp:127.0.0.1:5353")));
        check("a=b-KEY=/run/a=b.sock", Some(&format!("{KEY} unix:/run/a=b.sock")));
        for text in ["KEY", "KEY=", "KEY=example.org", "=2222", "example.org=2222"] {
            check(text, None);
        }
    }
}
