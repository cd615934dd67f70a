//! What came of publishing, for programs and in sentences.

use std::fmt;

use hardline_proto::KeyHash;
use serde::Serialize;

use crate::json::as_text;

/// What a value under a key of the DHT is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Signed, and encrypted for who knows the link.
    Sealed,
    /// Text where release 0.0.18 and later ones look.
    Rolling,
    /// Text where releases 0.0.12 to 0.0.14 look.
    Plain,
}

/// One value that is kept in the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// What it is.
    pub kind: Kind,
    /// Its key, 40 hexadecimal digits.
    pub dht_key: String,
    /// Nodes that took it.
    pub nodes: usize,
    /// How long after that the network gave it back, in milliseconds; `None` if it did not.
    pub read_back_ms: Option<u64>,
}

/// How far the publishing of a service has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PublishState {
    /// Not tried yet.
    Starting,
    /// There is no address that others could use.
    NoAddresses,
    /// Stored by our own node.
    Stored {
        /// The values.
        copies: Vec<Copy>,
        /// When, Unix time in milliseconds.
        at_ms: u64,
    },
    /// Stored by a proxy, since no node of the DHT answers.
    ByProxy {
        /// Values that a proxy took.
        values: usize,
        /// When, Unix time in milliseconds.
        at_ms: u64,
    },
    /// Not stored; it is tried again.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The same, of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishStatus {
    /// The service.
    #[serde(serialize_with = "as_text")]
    pub key: KeyHash,
    /// How far it has come.
    #[serde(flatten)]
    pub state: PublishState,
}

impl PublishState {
    /// Whether others can find the service by the DHT now.
    #[must_use]
    pub fn is_published(&self) -> bool {
        match self {
            Self::Stored { copies, .. } => copies.iter().any(|copy| copy.read_back_ms.is_some()),
            Self::ByProxy { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for PublishState {
    /// A sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("Not stored in the DHT yet."),
            Self::NoAddresses => f.write_str(
                "Not stored in the DHT: this computer has no address that others could use. Let the router open a port, \
                 forward one by hand and say so with --public-address, or run Yggdrasil.",
            ),
            Self::Stored { copies, .. } => {
                let Some(first) = copies.first() else { return f.write_str("Not stored in the DHT yet.") };
                let nodes = first.nodes;
                let s = if nodes == 1 { "" } else { "s" };
                match copies.iter().find_map(|copy| copy.read_back_ms.map(|ms| (copy, ms))) {
                    Some((_, ms)) => write!(f, "Stored in the DHT on {nodes} node{s}, read back {ms} ms later."),
                    None => write!(f, "Stored in the DHT on {nodes} node{s}, but not found there again."),
                }
            }
            Self::ByProxy { values, .. } => {
                write!(f, "Stored in the DHT by a proxy ({values} values), because no node of it answers.")
            }
            Self::Failed { reason } => write!(f, "Not stored in the DHT: {reason}. It is tried again."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(nodes: usize, read_back_ms: Option<u64>) -> PublishState {
        let copy = Copy { kind: Kind::Sealed, dht_key: String::new(), nodes, read_back_ms };
        PublishState::Stored { copies: vec![copy], at_ms: 0 }
    }

    #[test]
    fn the_sentences_say_what_a_person_wants_to_know() {
        assert_eq!(stored(8, Some(40)).to_string(), "Stored in the DHT on 8 nodes, read back 40 ms later.");
        assert_eq!(stored(1, None).to_string(), "Stored in the DHT on 1 node, but not found there again.");
        let failed = PublishState::Failed { reason: "nobody answers".into() };
        assert_eq!(failed.to_string(), "Not stored in the DHT: nobody answers. It is tried again.");
    }

    #[test]
    fn what_was_not_found_again_does_not_count_as_published() {
        assert!(stored(8, Some(1)).is_published());
        assert!(!stored(8, None).is_published());
    }
}
