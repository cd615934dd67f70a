//! QUIC in a node, and its absence in builds without it.

#[cfg(feature = "quic")]
mod there {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use crate::accept::Acceptor;
    use crate::config::P2pConfig;
    use crate::network::NetworkMonitor;
    use crate::transport::quic::QuicSockets;

    /// The sockets of a node, and what follows them.
    #[derive(Debug)]
    pub(in crate::node) struct Quic {
        sockets: QuicSockets,
        tasks: TaskTracker,
    }

    impl Quic {
        /// Sockets that are told when this computer moves to another network, and let go when the
        /// node stops.
        pub(in crate::node) fn new(network: &NetworkMonitor, stop: CancellationToken, tasks: &TaskTracker) -> Self {
            let sockets = QuicSockets::new(tasks.clone());
            let (followed, mut network) = (sockets.clone(), network.watch());
            tasks.spawn(async move {
                let moving = async {
                    while network.changed().await.is_ok() {
                        followed.moved();
                    }
                };
                stop.run_until_cancelled(moving).await;
                followed.close();
            });
            Self { sockets, tasks: tasks.clone() }
        }

        /// Lets others in at the UDP ports of `addrs`, if `config` says so. Returns where.
        pub(in crate::node) fn accept(
            &self,
            acceptor: &Arc<Acceptor>,
            addrs: &[SocketAddr],
            config: &P2pConfig,
        ) -> Vec<SocketAddr> {
            if !config.quic {
                return Vec::new();
            }
            for listener in self.sockets.listen(addrs) {
                self.tasks.spawn(Arc::clone(acceptor).run(listener, self.tasks.clone()));
            }
            self.sockets.addrs()
        }
    }
}

#[cfg(not(feature = "quic"))]
mod there {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use crate::accept::Acceptor;
    use crate::config::P2pConfig;
    use crate::network::NetworkMonitor;

    #[derive(Debug)]
    pub(in crate::node) struct Quic;

    impl Quic {
        pub(in crate::node) fn new(_network: &NetworkMonitor, _stop: CancellationToken, _tasks: &TaskTracker) -> Self {
            Self
        }

        pub(in crate::node) fn accept(
            &self,
            _acceptor: &Arc<Acceptor>,
            _addrs: &[SocketAddr],
            _config: &P2pConfig,
        ) -> Vec<SocketAddr> {
            Vec::new()
        }
    }
}

pub(super) use there::Quic;
