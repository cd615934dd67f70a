//! A service's bytes without a browser: what `hardline connect` and `hardline forward` have in
//! common.

use hardline_node::config::StaticAddress;
use hardline_node::node::Node;
use hardline_node::proto::candidate::TransportAddr;
use hardline_node::proto::host::ServiceName;

use crate::args::ReachArgs;
use crate::failure::{Exit, Failure};
use crate::links;
use crate::settings::Loaded;

/// A node that only dials, and the service it dials.
pub(super) async fn dialler(loaded: &Loaded, args: &ReachArgs) -> Result<(Node, ServiceName), Failure> {
    let name = links::read(&args.link)?;
    let mut config = loaded.settings.node_config()?;
    config.gateway_port = None;
    config.services.clear();
    config.ready.clear();
    for address in &args.address {
        let at = TransportAddr::typed(address).map_err(|err| {
            Failure::new(Exit::Usage, format_args!("--address: {err}")).remedy("write HOST:PORT, IPv6 in brackets")
        })?;
        config.static_addresses.push(StaticAddress { key: name.key, at });
    }
    let (node, _) = Node::start(config).await?;
    Ok((node, name))
}
