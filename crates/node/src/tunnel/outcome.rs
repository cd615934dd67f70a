//! What became of a tunnel.

use std::io;

use hardline_proto::tunnel::frame::ResetReason;
use tracing::debug;

use crate::metrics::{OpenTunnel, TunnelResult};

/// How a tunnel went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// Bytes from the dialling computer to the service.
    pub(crate) to_service: u64,
    /// Bytes from the service to the dialling computer.
    pub(crate) to_dialler: u64,
    /// Why it ended.
    pub(crate) end: End,
}

/// Why a tunnel ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both directions were closed by their senders.
    Clean,
    /// Nothing moved for [`Drain::idle`](super::Drain), or for less where one direction had ended.
    Idle,
    /// It was silent, and its place was needed.
    MadeRoom,
    /// The node stops.
    Stopped,
    /// The service is removed.
    Removed,
    /// This host has lost the address that the peer knows.
    AddressLost,
    /// The peer's computer has gone silent while it owed an answer.
    PeerGone,
    /// One of the two connections broke; both were reset.
    Broken(io::ErrorKind),
}

impl Relayed {
    /// Tells the tunnel's guard and the log what came of it.
    pub(crate) fn count(&self, open: &mut OpenTunnel) {
        debug!(relayed = ?self, "tunnel ended");
        open.to_service += self.to_service;
        open.to_dialler += self.to_dialler;
        open.result = Some(match self.end {
            End::Clean => TunnelResult::Clean,
            End::Idle => TunnelResult::Idle,
            End::MadeRoom => TunnelResult::MadeRoom,
            End::Stopped => TunnelResult::Stopped,
            End::Removed => TunnelResult::Removed,
            End::AddressLost => TunnelResult::AddressLost,
            End::PeerGone => TunnelResult::PeerGone,
            End::Broken(_) => TunnelResult::Broken,
        });
    }
}

impl End {
    /// What both ends are told, unless all went well.
    pub(super) fn reset_reason(&self) -> Option<ResetReason> {
        match self {
            Self::Clean => None,
            Self::Idle | Self::MadeRoom => Some(ResetReason::IDLE),
            Self::Stopped | Self::Removed => Some(ResetReason::STOPPING),
            // To the peer this says nothing: it does not get there.
            Self::Broken(_) | Self::AddressLost | Self::PeerGone => Some(ResetReason::APPLICATION),
        }
    }
}
