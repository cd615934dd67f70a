//! `hardline`: the gateway, and every service of the configuration or the one of the legacy flags.

use std::path::Path;

use crate::args::LegacyArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, printable};
use crate::settings::{Loaded, ServiceSettings};
use crate::target;

use super::serve::{self, OtherGateway, Running};

/// The port of a web server, as the first hardlinep2p has it.
const DEFAULT_SERVICE_PORT: u16 = 80;

pub(super) async fn run(mut loaded: Loaded, legacy: LegacyArgs, output: Output) -> Result<(), Failure> {
    if let Some(service) = legacy_service(legacy, &target::here())? {
        loaded.settings.services = vec![service];
    }
    let mut config = loaded.settings.node_config()?;
    config.forwards = loaded.settings.forward_configs();
    config.dns_port = loaded.settings.dns_enabled.then_some(loaded.settings.dns_port);
    let is_idle = config.services.is_empty() && config.forwards.is_empty();
    if config.gateway_port.is_none() && is_idle && config.relay.is_none() {
        return Err(Failure::new(Exit::Configuration, "there is nothing to run: no gateway, no service and no relay")
            .remedy("turn the gateway on, or name a service in the configuration or with --service"));
    }
    let running = serve::start(config, OtherGateway::Refuse).await?;
    running.announce(output);
    let _ = tell(&running, output);
    running.until_stopped(output).await;
    Ok(())
}

fn tell(running: &Running, output: Output) -> Result<(), Failure> {
    if output.is_quiet {
        return Ok(());
    }
    match running.status.bound.gateway.first() {
        Some(_) => output.line(format_args!("Gateway: http://localhost:{}/", running.gateway_port))?,
        None => output.line("No gateway: this computer only publishes.")?,
    }
    for forward in running.forwards() {
        output.line(format_args!("Forwarding {} to {}", forward.local, forward.name.key))?;
    }
    if let Some(relay) = &running.relay {
        output.line(format_args!("Relay: {relay}"))?;
    }
    if running.status.services.is_empty() {
        return output.line("No services: `hardline share TARGET` publishes one, the configuration many.");
    }
    for service in &running.status.services {
        output.line(format_args!("{}  {}", running.link(service), printable(&service.title)))?;
    }
    Ok(())
}

/// The service of the legacy flags.
fn legacy_service(legacy: LegacyArgs, here: &Path) -> Result<Option<ServiceSettings>, Failure> {
    let Some(host) = legacy.service else { return Ok(None) };
    let port = legacy.serviceport.map_or(DEFAULT_SERVICE_PORT, std::num::NonZeroU16::get);
    let is_ipv6 = host.contains(':') && !host.starts_with('[');
    let text = if is_ipv6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let target = text.parse().map(hardline_node::config::Target::Tcp).map_err(|_| {
        Failure::new(Exit::Usage, format_args!("--service {host:?} is neither a host name nor an IP address"))
            .remedy("write the host alone; its port is given with --serviceport")
    })?;
    Ok(Some(ServiceSettings {
        target: Some(target),
        certfile: legacy.certfile.map(|path| here.join(path)),
        title: legacy.servicetitle,
        ..ServiceSettings::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, port: Option<u16>, expected: Option<&str>) {
        let legacy = LegacyArgs {
            service: Some(host.into()),
            serviceport: port.and_then(std::num::NonZeroU16::new),
            certfile: None,
            servicetitle: None,
            localport: None,
        };
        let service = legacy_service(legacy, Path::new("/"));
        assert_eq!(service.ok().flatten().and_then(|it| it.target).map(|it| it.to_string()).as_deref(), expected);
    }

    #[test]
    fn the_legacy_flags_name_a_tcp_service() {
        check("localhost", None, Some("localhost:80"));
        check("localhost", Some(8080), Some("localhost:8080"));
        check("192.168.1.5", Some(80), Some("192.168.1.5:80"));
        check("::1", Some(80), Some("[::1]:80"));
        check("[::1]", Some(80), Some("[::1]:80"));
        check("a host", Some(80), None);
        check("localhost:80", Some(80), None);
    }
}
