//! How many tunnels are open, in words.

use std::fmt;

/// So many tunnels, as a part of a sentence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenTunnels(pub(crate) usize);

impl fmt::Display for OpenTunnels {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => to.write_str("no tunnel is open"),
            1 => to.write_str("1 tunnel is open"),
            many => write!(to, "{many} tunnels are open"),
        }
    }
}
