//! A build without QUIC: nobody is let in over it, and no address for it is dialled.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::udp::LentSocket;

/// No socket.
#[derive(Debug, Clone)]
pub(crate) struct QuicSockets;

/// Nobody comes in.
#[derive(Debug)]
pub(crate) struct QuicListening;

impl QuicSockets {
    pub(crate) fn new(_is_wanted: bool, _tasks: TaskTracker) -> Self {
        Self
    }

    pub(crate) fn is_there(&self) -> bool {
        false
    }

    pub(crate) fn listen(&self, _addrs: &[SocketAddr]) -> QuicListening {
        QuicListening
    }

    pub(crate) fn lent(&self) -> Vec<Arc<dyn LentSocket>> {
        Vec::new()
    }

    pub(crate) fn moved(&self) {}

    pub(crate) fn close(&self) {}

    pub(crate) fn said_goodbye(&self) -> Ready<()> {
        ready(())
    }
}

impl QuicListening {
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
}
