//! A service's bytes without a browser: what `hardline connect` and `hardline forward` have in
//! common.

use hardline_node::config::StaticAddress;
use hardline_node::node::Node;
use hardline_node::proto::candidate::TransportAddr;
use hardline_node::proto::host::ServiceName;

use crate::failure::{Exit, Failure};
use crate::settings::Loaded;

/// A node that only dials.
pub(super) async fn dialler(loaded: &Loaded, addresses: Vec<StaticAddress>) -> Result<Node, Failure> {
    let mut config = loaded.settings.node_config()?;
    config.gateway_port = None;
    config.services.clear();
    config.ready.clear();
    config.static_addresses.extend(addresses);
    let (node, _) = Node::start(config).await?;
    Ok(node)
}

/// The addresses of `--address`, for the service `name`.
pub(super) fn static_addresses(name: &ServiceName, texts: &[String]) -> Result<Vec<StaticAddress>, Failure> {
    let read = |text: &String| {
        let at = TransportAddr::typed(text).map_err(|err| {
            Failure::new(Exit::Usage, format_args!("--address: {err}")).remedy("write HOST:PORT, IPv6 in brackets")
        })?;
        Ok(StaticAddress { key: name.key, at })
    };
    texts.iter().map(read).collect()
}
