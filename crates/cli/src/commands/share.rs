//! `hardline share`: publishes one service now, and runs the gateway unless another hardline does.

use std::io::IsTerminal as _;
use std::path::Path;

use hardline_node::config::{BackendCertificate, HttpSettings};
use hardline_node::node::Published;

use crate::args::{HttpArgs, ShareArgs};
use crate::failure::{Exit, Failure};
use crate::output::{self, Output, printable};
use crate::settings::{Loaded, ServiceSettings};
use crate::{identities, links, target};

use super::serve::{self, OtherGateway, Running};

pub(super) async fn run(mut loaded: Loaded, args: ShareArgs, output: Output) -> Result<(), Failure> {
    let wants_qr = args.qr || (std::io::stdout().is_terminal() && !output.is_quiet);
    loaded.settings.services = vec![service(args)?];
    let config = loaded.settings.node_config()?;
    let running = serve::start(config, OtherGateway::Use).await?;
    running.announce(output);
    if let Some(service) = running.status.services.first() {
        let _ = tell(&running, service, wants_qr, output);
    }
    running.until_stopped(output).await;
    Ok(())
}

fn service(args: ShareArgs) -> Result<ServiceSettings, Failure> {
    let usage = |reason| Failure::new(Exit::Usage, reason);
    let here = target::here();
    let target = target::parse(&args.target, &here)
        .map_err(|reason| usage(reason).remedy(format_args!("a target is {}", target::FORMS)))?;
    if let Some(name) = &args.name {
        identities::check_name(name).map_err(|reason| {
            usage(format!("--name: {reason}")).remedy("use letters, digits, '.', '-' and '_', a letter or digit first")
        })?;
    }
    let mut service = ServiceSettings {
        target: Some(target),
        name: args.name,
        ephemeral: args.ephemeral,
        title: args.title,
        password: args.password,
        password_file: args.password_file.map(|path| here.join(path)),
        unlisted: args.unlisted,
        private: args.private,
        http: http(args.http, &here).map_err(usage)?,
        ..ServiceSettings::default()
    };
    service.read_password().and_then(|()| service.check_http()).map_err(usage)?;
    Ok(service)
}

fn http(args: HttpArgs, here: &Path) -> Result<HttpSettings, String> {
    let certificate = args.backend_certificate.map(|text| BackendCertificate::read(&text, here)).transpose();
    let mut http = HttpSettings {
        app: args.app,
        host_header: args.host_header,
        forwarded: args.forwarded.then_some(true),
        backend_certificate: certificate.map_err(|reason| format!("--backend-certificate: {reason}"))?,
        ..HttpSettings::default()
    };
    args.header.iter().try_for_each(|(name, value)| http.add_header(name, value))?;
    Ok(http)
}

/// A service that no browser opens.
fn tell_udp(service: &Published, link_elsewhere: &str, output: Output) -> Result<(), Failure> {
    if output.is_quiet {
        return output.line(link_elsewhere);
    }
    output.line(format_args!("Publishing {} as {:?}\n", printable(&service.target), printable(&service.title)))?;
    let port = service.target.rsplit(':').next().unwrap_or_default();
    output.line(format_args!("On other computers:\n\n  hardline forward {link_elsewhere}=udp:{port}\n"))?;
    output.line("Programs there then send to that UDP port of their own computer. Ctrl-C ends this.")
}

fn tell(running: &Running, service: &Published, wants_qr: bool, output: Output) -> Result<(), Failure> {
    let link = running.link(service);
    let link_elsewhere = links::link_elsewhere(service.key, service.access.password());
    if service.target.starts_with("udp://") {
        return tell_udp(service, &link_elsewhere, output);
    }
    if output.is_quiet {
        return output.line(link);
    }
    output.line(format_args!("Publishing {} as {:?}\n", printable(&service.target), printable(&service.title)))?;
    output.line(format_args!("  {link}\n"))?;
    if link != link_elsewhere {
        output.line(format_args!("On other computers:\n\n  {link_elsewhere}\n"))?;
    }
    if let Some(code) = wants_qr.then(|| output::qr_code(&link_elsewhere)).flatten() {
        output.line(format_args!("{code}\n"))?;
    }
    if running.has_other_gateway {
        output
            .line(format_args!("Another hardline serves this computer's browsers at port {}.", running.gateway_port))?;
    } else if running.status.bound.gateway.is_empty() {
        output.line("No gateway runs here: this computer's own browsers need one.")?;
    }
    if service.is_private {
        return output.line(format_args!(
            "Only visitors come in: `hardline invite {}` invites one. Ctrl-C ends this.",
            printable(&service.target)
        ));
    }
    output.line("The link opens wherever hardline runs. Ctrl-C ends this.")
}
