//! What is compared.

use clap::ValueEnum;
use serde::Serialize;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Row {
    /// The load asks the backend
    Direct,
    /// Two plain copying relays, no cryptography
    Relays,
    /// stunnel
    Stunnel,
    /// HAProxy, a TLS pair
    Haproxy,
    /// socat, a TLS pair; a process per connection
    Socat,
    /// rathole over TLS
    RatholeTls,
    /// rathole over Noise
    RatholeNoise,
    /// bore, no cryptography
    Bore,
    /// Hardline at both ends
    Hardline,
    /// The same, with the far end prewarmed (`ready = true`): its first connection
    HardlineReady,
    /// Hardline at both ends, with the HTTP of the service understood (`host_header`, `forwarded`)
    HardlineHttp,
    /// Hardline at both ends, with the service's pages trusted (`trusted = true`): its answers pass
    /// unread
    HardlineTrusted,
    /// Another build of Hardline at both ends (`--against`)
    OtherBuild,
    /// Hardline towards the last release of the Python program, which speaks version 1
    HardlineToPython,
    /// The last release of the Python program at both ends
    Python,
}

impl Row {
    /// As the table calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct, no tunnel",
            Self::Relays => "two plain copying relays, 64 KiB buffers",
            Self::Stunnel => "stunnel",
            Self::Haproxy => "HAProxy (TLS pair)",
            Self::Socat => "socat (TLS pair)",
            Self::RatholeTls => "rathole (TLS)",
            Self::RatholeNoise => "rathole (Noise)",
            Self::Bore => "bore (not encrypted)",
            Self::Hardline => "**hardline**",
            Self::HardlineReady => "**hardline**, prewarmed",
            Self::HardlineHttp => "hardline, HTTP understood",
            Self::HardlineTrusted => "hardline, pages trusted",
            Self::OtherBuild => "hardline, the other build",
            Self::HardlineToPython => "hardline towards a version 1 peer (Python)",
            Self::Python => "hardlinep2p, Python",
        }
    }

    /// Whether it is one of those that Hardline is measured against: others, and encrypted.
    pub(crate) fn is_encrypted_peer(self) -> bool {
        matches!(self, Self::Stunnel | Self::Haproxy | Self::Socat | Self::RatholeTls | Self::RatholeNoise)
    }

    /// The Python program carries a tenth in the same time, holds some 500 tunnels, and takes
    /// seconds to start.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::HardlineToPython | Self::Python)
    }

    /// Whether it is measured in everything, and not by its first connection alone.
    pub(crate) fn is_whole(self) -> bool {
        self != Self::HardlineReady
    }

    /// Whether there is something between load and backend.
    pub(crate) fn is_tunnel(self) -> bool {
        self != Self::Direct
    }
}
