//! Networks of 100, 1,000 and 10,000 nodes: what is found, in how many hops, and what a node costs at rest.
//!
//! Prints tables. Pass numbers of nodes to simulate others.

#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

#[path = "../tests/sim/mod.rs"]
mod sim;

use std::time::{Duration, Instant};

use sim::{Sim, Weather, put_and_get};

/// Lookups per line.
const LOOKUPS: usize = 1000;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100, 1000, 10_000] } else { sizes };
    let rough = Weather { loss: 0.05, nat: 0.2, liars: 0.05, churn_per_hour: 0.5 };
    let weathers = [
        ("fair", Weather::FAIR),
        ("5 % loss", Weather { loss: 0.05, ..Weather::FAIR }),
        ("20 % loss", Weather { loss: 0.2, ..Weather::FAIR }),
        ("5 % loss, 20 % NAT, 5 % liars, half replaced per hour", rough),
    ];
    println!(
        "nodes  weather                                                 found %  hops median/max  time median/p99  requests"
    );
    for nodes in &sizes {
        for (name, weather) in weathers {
            let mut sim = Sim::network(*nodes, 7, weather);
            let lookups = put_and_get(&mut sim, LOOKUPS);
            println!(
                "{nodes:6} {name:55} {:7.2}  {:6} / {:6}   {:6} / {:4} ms  {:8.1}",
                lookups.found * 100.0,
                lookups.hops[LOOKUPS / 2],
                lookups.hops[LOOKUPS - 1],
                lookups.times[LOOKUPS / 2].as_millis(),
                lookups.times[LOOKUPS * 99 / 100].as_millis(),
                lookups.requests,
            );
        }
    }
    println!();
    println!("one hour at rest, half of the nodes replaced, 5 % loss, 20 % NAT, 5 % liars:");
    for nodes in &sizes {
        an_hour(*nodes, rough);
    }
}

fn an_hour(nodes: usize, weather: Weather) {
    let mut sim = Sim::network(nodes, 7, weather);
    sim.check_invariants = false;
    let (delivered, begun) = (sim.delivered, Instant::now());
    let quiet = sim.alive()[0];
    let before = sim.node(quiet).counters();
    sim.run_for(Duration::from_secs(3600));
    let took = begun.elapsed();
    let after = sim.node(quiet).counters();
    let lookups = put_and_get(&mut sim, LOOKUPS);
    println!(
        "{nodes:6} nodes: {:.1} s for {} datagrams ({:.0}/s); per node {:.0} received; the first node, known to all, sent {} \
         ({} kB) and received {} ({} kB); afterwards {:.2} % found",
        took.as_secs_f64(),
        sim.delivered - delivered,
        (sim.delivered - delivered) as f64 / took.as_secs_f64(),
        (sim.delivered - delivered) as f64 / nodes as f64,
        after.datagrams_out - before.datagrams_out,
        (after.bytes_out - before.bytes_out) / 1000,
        after.datagrams_in - before.datagrams_in,
        (after.bytes_in - before.bytes_in) / 1000,
        lookups.found * 100.0,
    );
}
