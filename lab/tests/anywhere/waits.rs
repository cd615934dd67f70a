//! Somebody opens a service before it is there.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use hardline_lab::{Lab, Mapping};

use crate::measure::{new_gateway, say};
use crate::world::{TwoHomes, sealed_key, texts};

/// Services, one after the other.
const TRIES: usize = 5;

/// Released nodes of the DHT tell who listens there; asking again comes seconds later.
#[test]
fn scenario_24_a_service_that_comes_while_somebody_waits_is_opened_at_once() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let options = world.dht.options();
    let mut times = Vec::new();
    for number in 0..TRIES {
        let certificate = lab.dir().join(format!("late{number}.cert"));
        let mut early = world.alice.service_with_identity(&certificate, &["--no-dht", "--no-port-mapping"])?;
        early.program.process.terminate(Duration::from_secs(40))?;
        let gateway = new_gateway(&world.bob, number, &texts(&options))?;
        let (stored, opened, _late) = std::thread::scope(|scope| -> Result<_> {
            let waiting = scope.spawn(|| world.bob.first_byte(&gateway, &early.key).map(|_| Instant::now()));
            let late = world.alice.service_with_identity(&certificate, &texts(&options))?;
            world.dht.wait_for_value(sealed_key(&early.key)?, |_| true)?;
            let stored = Instant::now();
            let opened = waiting.join().map_err(|_| anyhow!("panicked"))??;
            Ok((stored, opened, late))
        })?;
        times.push(opened.saturating_duration_since(stored));
    }
    times.sort_unstable();
    say(&format!("24, a record that is put while somebody waits: first byte after {times:.0?}"))?;
    // Asked for every four seconds, the middle one would take two.
    ensure!(times[TRIES / 2] < Duration::from_secs(1), "{times:?}");
    Ok(())
}
