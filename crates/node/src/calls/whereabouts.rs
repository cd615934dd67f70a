//! Visitors who got through NATs, and a router that gets another address meanwhile: it tells
//! nobody, and who comes back finds nobody at the old one. As long as there are such visitors a
//! node of the DHT is asked now and then where it sees this computer. When that has changed, the
//! DHT's node listens anew, and the services' records say so.

use std::time::Duration;

use tokio::time::sleep;

use super::Calls;

/// Time between two questions. Who comes back is to be answered within three seconds of the move:
/// half of them for this, the rest for what follows.
const INTERVAL: Duration = Duration::from_millis(1500);

impl Calls {
    /// Asks for as long as there is somebody for whom it matters.
    pub(super) async fn check_address(&self) {
        let Some(dht) = &self.dht else { return };
        let mut punched = self.punched.clone();
        while punched.wait_for(|count| *count > 0).await.is_ok() {
            dht.check_address();
            sleep(INTERVAL).await;
        }
    }
}
