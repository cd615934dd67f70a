//! The lab's helper program.
//!
//! `hardline-lab backend LISTEN` is a web server whose every answer is known beforehand;
//! `hardline-lab client GATEWAY HOST CHECK…` asks such a server through a gateway and compares
//! every byte. `hardline-lab browser KIND FOLDER STEP…` drives a real browser. `hardline-lab
//! exchange ADDRESS FILE [PAUSE]` sends raw bytes. `hardline-lab liar KEYHASH PORT` claims on the
//! LAN to be a service that it is not. `hardline-lab delay LEFT RIGHT MICROSECONDS` is a long
//! cable. `hardline-lab witness LISTEN` says who asks for what. `hardline-lab stun ADDRESS ADDRESS
//! PORT` is a STUN server. `hardline-lab app ROOT CALLS INPUT ARGUMENT…` becomes Hardline as an app
//! of Android runs it. `hardline-lab udp-echo LISTEN` sends datagrams back, and `hardline-lab play
//! ADDRESS SECONDS PLAYERS` sends them as a game does. Programs of their own, because each runs on
//! a host of its own.

mod app;
mod browser;
mod client;
mod datagrams;
mod delay;
mod exchange;
mod hostile;
mod liar;
mod pattern;
mod site;
mod stun;

use std::process::ExitCode;

use anyhow::{Result, bail};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["backend", listen] => site::serve(listen).await?,
        ["client", gateway, host, ref checks @ ..] => return client::run(gateway.parse()?, host, checks).await,
        ["browser", kind, folder, ref steps @ ..] => return browser::run(kind, folder, steps).await,
        ["exchange", address, file] => exchange::run(address, file, None).await?,
        ["exchange", address, file, pause] => exchange::run(address, file, Some(pause)).await?,
        ["witness", listen] => hostile::witness(listen).await?,
        ["udp-echo", listen] => datagrams::echo(listen).await?,
        ["play", at, seconds, players] => datagrams::play(at, seconds.parse()?, players.parse()?).await?,
        ["liar", key, port] => liar::lie(key, port)?,
        ["app", root, calls, input, ref arguments @ ..] => app::become_one(root, calls, input, arguments)?,
        ["delay", left, right, microseconds] => delay::run(left, right, microseconds.parse()?)?,
        ["stun", first, second, port] => stun::serve(first, second, port)?,
        _ => {
            bail!(
                "usage: hardline-lab app | backend | client | browser | exchange | liar | delay | play | stun | udp-echo | \
                 witness ARGUMENT…"
            )
        }
    }
    Ok(ExitCode::SUCCESS)
}
