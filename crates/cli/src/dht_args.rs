//! The command line of `hardline dht`.

use std::net::{IpAddr, SocketAddr};

use clap::{Args as ArgsOf, Subcommand};
use hardline_node::config::PUBLIC_BOOTSTRAP;

/// Arguments of `dht`.
#[derive(Debug, ArgsOf)]
pub struct DhtArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DhtCommand,

    /// How to take part.
    #[command(flatten)]
    pub network: DhtNetworkArgs,
}

/// How to take part in the DHT.
#[derive(Debug, ArgsOf)]
#[command(next_help_heading = "The DHT")]
pub struct DhtNetworkArgs {
    /// Where to enter the network; may be repeated [default: as --dht-bootstrap says, and the nodes
    /// met last time]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub bootstrap: Vec<String>,

    /// UDP port; 0 takes a free one
    #[arg(long, global = true, value_name = "PORT", default_value_t = 0)]
    pub port: u16,

    /// Address to use instead of all; may be given once for IPv4 and once for IPv6
    #[arg(long, global = true, value_name = "ADDR")]
    pub bind: Vec<IpAddr>,

    /// Number of the network; 0 is the public one
    #[arg(long, global = true, value_name = "NUMBER", default_value_t = 0)]
    pub network: u32,

    /// Only asks, and neither stores nor answers for others
    #[arg(long, global = true)]
    pub client: bool,

    /// Longest time to wait for the network and for an answer, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60)]
    pub limit: u64,
}

/// What to do in the DHT.
#[derive(Debug, Subcommand)]
pub enum DhtCommand {
    /// Runs a node and prints its state
    Node,
    /// Prints the values of a key
    Get {
        /// 40 hexadecimal digits, or any text, whose SHA-1 is the key
        key: String,
    },
    /// Stores a text under a key
    Put {
        /// 40 hexadecimal digits, or any text, whose SHA-1 is the key
        key: String,
        /// What to store
        text: String,
        /// Keeps the value alive until the command is stopped
        #[arg(long)]
        keep: bool,
        /// Number of the value among those of the key, not 0; a random one when left out
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
        id: Option<u64>,
    },
    /// Prints values of a key as they come and go
    Listen {
        /// 40 hexadecimal digits, or any text, whose SHA-1 is the key
        key: String,
    },
    /// Asks whether a node answers
    Ping {
        /// IP address and port
        addr: SocketAddr,
    },
    /// Runs a node and lets others use it over HTTP, as released proxies do
    Proxy {
        /// Where to listen; others on the network reach it only when this is not a loopback address
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
}

impl DhtNetworkArgs {
    /// Whether it is another network than the one whose nodes are remembered. `configured` is where
    /// the configuration or `--dht-bootstrap` enters it.
    #[must_use]
    pub fn is_own(&self, configured: &[String]) -> bool {
        !self.bootstrap.is_empty() || self.network != 0 || configured != [PUBLIC_BOOTSTRAP]
    }

    /// Where to enter the network.
    #[must_use]
    pub fn entrances(&self, configured: &[String]) -> Vec<String> {
        let is_public_elsewhere = self.network != 0 && configured == [PUBLIC_BOOTSTRAP];
        if !self.bootstrap.is_empty() || is_public_elsewhere { self.bootstrap.clone() } else { configured.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bootstrap: &[&str], network: u32, configured: &[&str], is_own: bool, entrances: &[&str]) {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (bootstrap, configured) = (texts(bootstrap), texts(configured));
        let args = DhtNetworkArgs { bootstrap, port: 0, bind: Vec::new(), network, client: false, limit: 60 };
        assert_eq!((args.is_own(&configured), args.entrances(&configured)), (is_own, texts(entrances)));
    }

    #[test]
    fn the_command_s_own_flag_comes_before_the_configuration() {
        check(&[], 0, &[PUBLIC_BOOTSTRAP], false, &[PUBLIC_BOOTSTRAP]);
        check(&[], 0, &["192.0.2.1:4222"], true, &["192.0.2.1:4222"]);
        check(&["192.0.2.2:4222"], 0, &["192.0.2.1:4222"], true, &["192.0.2.2:4222"]);
        check(&[], 7, &[PUBLIC_BOOTSTRAP], true, &[]);
        check(&[], 7, &["192.0.2.1:4222"], true, &["192.0.2.1:4222"]);
    }
}
