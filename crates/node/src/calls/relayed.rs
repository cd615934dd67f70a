//! Calls that relays have carried.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use hardline_proto::call::{CallGate, RelayedAnswer};
use hardline_proto::rolling::RollingCode;
use tokio::sync::mpsc;

use super::{Calls, Place};
use crate::transport::relay::publisher::RelayedCall;

impl Calls {
    /// Follows what comes from relays, for as long as there are any.
    pub(super) async fn take_relayed(&self, mut relayed: mpsc::Receiver<RelayedCall>, gate: &Mutex<CallGate>) {
        while let Some(call) = relayed.recv().await {
            if let Some(place) = self.place_of(&call) {
                self.follow_relayed(gate, place, call);
            }
        }
    }

    /// Which of the services was called, on which day.
    fn place_of(&self, call: &RelayedCall) -> Option<Place> {
        self.places_of(|_| true).into_iter().find(|(key, day)| *RollingCode::of(key, *day).as_bytes() == call.name)
    }

    /// Sends probes to who has called, and says where this computer is: the caller may know nothing
    /// but the relay.
    fn follow_relayed(&self, gate: &Mutex<CallGate>, (service, day): Place, call: RelayedCall) {
        let mut public = self.public();
        public.extend(call.seen.filter(|seen| !public.contains(seen)));
        let Some(followed) = self.follow(gate, (service, day), &call.sealed, &public) else { return };
        let answer = RelayedAnswer {
            call: followed.call,
            mapping: followed.mapping,
            cookie: followed.cookie,
            addresses: self.addresses(call.seen),
        };
        call.answer(answer.seal(&service, day, rand::random()));
    }

    /// Where probes to this computer are to be sent: as the DHT's nodes tell; until they do, where
    /// the relay sees it, with the port that most routers keep.
    fn addresses(&self, seen: Option<IpAddr>) -> Vec<SocketAddr> {
        let mut addresses = self.punch.borrow().clone();
        if let Some(seen) = seen.filter(|seen| !addresses.iter().any(|addr| addr.is_ipv4() == seen.is_ipv4())) {
            let port = self.quic.dialling(SocketAddr::new(seen, 0)).and_then(|endpoint| endpoint.local_addr());
            addresses.extend(port.ok().map(|at| SocketAddr::new(seen, at.port())));
        }
        addresses
    }
}
