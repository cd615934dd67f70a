//! As many open files as the system lets this process have: each tunnel takes two, and the usual
//! limit is 1,024.

use hardline_node::config::NodeConfig;

use crate::system::limits;

/// Descriptors kept for all but tunnels: handshakes under way, and what the program opens itself.
/// Of few, a quarter.
const OTHERS: u64 = 1024;

/// Raises the soft limit of open files to the hard one, and lets no more tunnels in than there are
/// descriptors for: at a limit a newcomer is refused at once, and without descriptors he would wait
/// unheard. (A program that both listens and serves browsers may still run out; then it accepts
/// nobody until there are some again.)
pub(crate) fn allow_as_many_as_possible(config: &mut NodeConfig) {
    if let Some(allowed) = limits::raise_open_files() {
        bound_tunnels(config, allowed);
    }
}

fn bound_tunnels(config: &mut NodeConfig, allowed: u64) {
    let others = OTHERS.min(allowed / 4);
    let most = usize::try_from((allowed - others) / 2).unwrap_or(usize::MAX);
    let tunnels = &mut config.p2p.limits.tunnels;
    *tunnels = most.min(*tunnels);
    config.gateway_connections = most.min(config.gateway_connections);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_tunnels_come_in_than_there_are_descriptors_for() {
        let mut config = NodeConfig::new("data".into());
        bound_tunnels(&mut config, 20_000);
        assert_eq!((config.p2p.limits.tunnels, config.gateway_connections), (9_488, 9_488));
        bound_tunnels(&mut config, 1_000_000);
        assert_eq!(config.p2p.limits.tunnels, 9_488, "what a person has set stays below");
        bound_tunnels(&mut config, 64);
        assert_eq!(config.gateway_connections, 24);
    }
}
