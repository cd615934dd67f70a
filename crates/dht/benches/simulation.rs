//! Networks of 100, 1,000 and 10,000 nodes: what is found, in how many hops, how soon a listener
//! hears, and what a node costs at rest.
//!
//! Prints tables. Numbers of nodes as arguments simulate others; `seeds=N` simulates N networks of
//! each kind instead of one, and `quick` leaves out the check of every node after each of its
//! steps. `lookups`, `calls`, `crowd` and `rest` print these tables only.

#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

#[path = "../tests/sim/mod.rs"]
mod sim;

use std::time::{Duration, Instant};

use sim::measure::{Lookups, Traffic, call, crowd, put_and_get};
use sim::{Sim, Weather};

/// Calls per network.
const CALLS: usize = 200;

/// Of a crowd.
const CALLS_A_SECOND: u32 = 50;

/// Lookups per network.
const LOOKUPS: usize = 1000;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100, 1000, 10_000] } else { sizes };
    let seeds = std::env::args().find_map(|word| word.strip_prefix("seeds=")?.parse().ok()).unwrap_or(1);
    let tables = ["lookups", "calls", "crowd", "rest"];
    let all = !std::env::args().any(|word| tables.contains(&&*word));
    let [lookups, calls, crowd, rest] = tables.map(|table| all || std::env::args().any(|word| word == table));
    if lookups {
        print_lookups(&sizes, seeds);
    }
    if calls {
        print_calls(&sizes);
    }
    if crowd {
        print_crowds(&sizes);
    }
    if rest {
        println!("per node in an hour at rest: median (5 % to 95 % of the nodes, the most)");
        for nodes in sizes {
            an_hour(nodes, "fair", Weather::FAIR);
            an_hour(nodes, "rough", Weather::ROUGH);
        }
    }
}

fn print_lookups(sizes: &[usize], seeds: u64) {
    println!("rough: 5 % loss, 20 % of the nodes behind NATs, 5 % liars, half of the nodes replaced in an hour");
    println!();
    println!(" nodes weather    found %  in the worst network  hops median/most  ms median/99 %  requests");
    for nodes in sizes {
        lookups(*nodes, "fair", seeds, Weather::FAIR);
        lookups(*nodes, "5 % loss", seeds, Weather { loss: 0.05, ..Weather::FAIR });
        lookups(*nodes, "20 % loss", seeds, Weather { loss: 0.2, ..Weather::FAIR });
        lookups(*nodes, "rough", seeds, Weather::ROUGH);
    }
    println!();
}

fn print_calls(sizes: &[usize]) {
    println!("calls, half of the nodes behind NATs, round trips of 10 to 160 ms: median / 95 % / slowest");
    for nodes in sizes {
        for (name, fresh) in [("settled", false), ("fresh", true)] {
            let mut sim = network(*nodes, 1, Weather { nat: 0.5, ..Weather::FAIR });
            println!("{nodes:6} {name:9} {}", call(&mut sim, CALLS, fresh));
        }
    }
    println!();
}

fn print_crowds(sizes: &[usize]) {
    println!(
        "{CALLS_A_SECOND} calls a second for two minutes to a fifth of the nodes, half of the nodes behind NATs, half replaced \
         in an hour; messages sent per node and hour: median (5 % to 95 % of the nodes, the most)"
    );
    for nodes in sizes {
        for loss in [0.0, 0.05, 0.1, 0.2] {
            let weather = Weather { loss, nat: 0.5, churn_per_hour: 0.5, ..Weather::FAIR };
            let seen = crowd(&mut Sim::unchecked_network(*nodes, 1, weather), nodes / 5, CALLS_A_SECOND);
            let calls = seen.heard.len() + seen.lost;
            let [median, slow] = [50, 99].map(|percent| seen.heard[(seen.heard.len() - 1) * percent / 100].as_millis());
            let share = seen.heard.len() as f64 * 100.0 / calls as f64;
            println!(
                "{nodes:6} {:2} % loss: {share:.2} % of {calls} heard, median {median} ms, 99 % {slow} ms",
                loss * 100.0
            );
            println!("       messages without calls {}, with them {}", seen.quiet, seen.calling);
        }
    }
    println!();
}

fn lookups(nodes: usize, name: &str, seeds: u64, weather: Weather) {
    let (mut all, mut worst) = (Lookups::default(), 1.0_f64);
    for seed in 1..=seeds {
        let series = put_and_get(&mut network(nodes, seed, weather), LOOKUPS);
        worst = worst.min(series.share_found());
        all.merge(series);
    }
    let count = all.hops.len();
    println!(
        "{nodes:6} {name:9} {:8.2} {:22.2} {:9} / {:4} {:10} / {:4} {:9.1}",
        all.share_found() * 100.0,
        worst * 100.0,
        all.hops[count / 2],
        all.hops[count - 1],
        all.times[count / 2].as_millis(),
        all.times[count * 99 / 100].as_millis(),
        all.requests as f64 / count as f64,
    );
}

fn network(nodes: usize, seed: u64, weather: Weather) -> Sim {
    if std::env::args().any(|word| word == "quick") {
        Sim::unchecked_network(nodes, seed, weather)
    } else {
        Sim::network(nodes, seed, weather)
    }
}

fn an_hour(nodes: usize, name: &str, weather: Weather) {
    let mut sim = Sim::unchecked_network(nodes, 1, weather);
    let (delivered, before, begun) = (sim.delivered, sim.counters(), Instant::now());
    sim.run_for(Duration::from_secs(3600));
    let (delivered, after, took) = (sim.delivered - delivered, sim.counters(), begun.elapsed());
    let traffic = Traffic::between(&before, &after);
    println!("{nodes:6} {name}: simulated in {:.1} s, {delivered} datagrams", took.as_secs_f64());
    println!("       messages sent {}, received {}", traffic.messages_out, traffic.messages_in);
    println!("       bytes    sent {}, received {}", traffic.bytes_out, traffic.bytes_in);
    println!("       afterwards {:.2} % found", put_and_get(&mut sim, LOOKUPS).share_found() * 100.0);
}
