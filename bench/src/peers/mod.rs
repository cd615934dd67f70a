//! Hardline beside what else people use: all in one run, turn and turn about, so that a busy
//! neighbour disturbs them all.

mod bars;
mod figure;
mod history;
mod launch;
mod measure;
mod pair;
mod row;
mod secrets;
mod stage;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use hardline_lab::{Lab, hardline_program};

use self::figure::{Figure, Figures};
use self::launch::World;
use self::measure::{Amounts, BULKS, Numbers};
use self::pair::Pair;
use self::row::Row;
use crate::{descriptors, usage};

/// A load average above which the figures say little: the bars were set on a quiet machine.
const QUIET: f64 = 1.5;

/// Idle tunnels to hold at once.
const HELD: u64 = 10_000;

/// Descriptors that a program needs beside the two of each tunnel, with room.
const OTHER_DESCRIPTORS: u64 = 1_200;

#[derive(Args)]
pub(crate) struct Options {
    /// A minute or two instead of twenty, for a first look; the spread is wide
    #[arg(long)]
    quick: bool,
    /// Rounds, instead of 6 (or 2 with --quick)
    #[arg(long)]
    rounds: Option<usize>,
    /// Only this row; may be repeated
    #[arg(long, value_name = "ROW")]
    only: Vec<Row>,
    /// Only this measurement; may be repeated
    #[arg(long, value_name = "MEASUREMENT")]
    measure: Vec<Measurement>,
    /// Writes everything into this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Another build of Hardline, as a row of its own: is a change any better?
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// Folder that holds rathole and bore
    #[arg(long, value_name = "FOLDER", default_value = "target/peers/bin")]
    tools: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// Many bytes: CPU and rate
    Bulk,
    /// A new connection for each request
    Connections,
    /// Requests on connections that stay open
    KeepAlive,
    /// The first connection of all
    First,
    /// Both ends started to the first answer
    Start,
    /// Memory of idle tunnels
    Idle,
    /// Ten thousand idle tunnels
    Held,
}

/// Measures and prints.
///
/// # Errors
/// If the machine cannot do it, or Hardline itself does not do what is asked. A peer that fails
/// loses its row, aloud.
pub(crate) fn run(options: &Options) -> Result<()> {
    let load_at_start = usage::load_average()?;
    println!("Load average at the start: {load_at_start}.");
    if load_at_start > QUIET {
        println!("WARNING: above {QUIET} the figures say little; run this again when the machine is quiet.");
    }
    let descriptors = descriptors::raise(2 * HELD + OTHER_DESCRIPTORS)?;
    let lab = Lab::open()?.context("this needs network namespaces: root, or user namespaces allowed")?;
    // It is not there where nothing that it holds is asked for.
    let tools = std::path::absolute(&options.tools)?;
    let mut run = Run {
        world: World::new(lab, &tools, options.against.as_ref().map(std::fs::canonicalize).transpose()?)?,
        options,
        amounts: options.amounts(),
        rounds: options.rounds.unwrap_or(if options.quick { 2 } else { 6 }),
        rows: options.rows(),
        figures: Figures::default(),
        failures: Vec::new(),
    };
    let size = std::fs::metadata(hardline_program()?)?.len();
    run.figures.add(Row::Hardline, Figure::Size, size as f64 / 1e6);
    run.side_by_side()?;
    run.one_by_one(descriptors);
    let report = history::Report::new(&run.figures, run.rounds, load_at_start, run.failures)?;
    println!("\n{}\n{}", report.conditions(), table::render(&run.figures));
    println!("{}", table::render_bars(&report.bars));
    for failure in &report.failures {
        println!("FAILED {failure}");
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    if report.failures.iter().any(|failure| failure.starts_with(Row::Hardline.title())) {
        bail!("Hardline did not do what was asked");
    }
    Ok(())
}

struct Run<'a> {
    world: World,
    options: &'a Options,
    amounts: Amounts,
    rounds: usize,
    rows: Vec<Row>,
    figures: Figures,
    failures: Vec<String>,
}

impl Run<'_> {
    /// What all do in turn while the others are idle.
    fn side_by_side(&mut self) -> Result<()> {
        use Measurement::{Bulk, Connections, KeepAlive};
        if ![Bulk, Connections, KeepAlive].into_iter().any(|measurement| self.options.wants(measurement)) {
            return Ok(());
        }
        let mut pairs = Vec::new();
        for row in self.rows.clone().into_iter().filter(|row| row.is_whole()) {
            let amounts = self.amounts.for_row(row);
            let started = Pair::start(&self.world, row).and_then(|pair| {
                BULKS.iter().try_for_each(|bulk| bulk.check(&pair, amounts))?;
                Ok(pair)
            });
            pairs.extend(self.noted(row, started));
        }
        for round in 0..self.rounds {
            println!("side by side, round {} of {}", round + 1, self.rounds);
            // Nobody always follows the same one.
            let turn = round % pairs.len().max(1);
            pairs.rotate_left(turn.min(1));
            let mut well = Vec::new();
            for pair in pairs {
                let measured = self.in_turn(&pair);
                match self.noted(pair.row, measured) {
                    Some(numbers) => {
                        self.add(pair.row, numbers);
                        well.push(pair);
                    }
                    None => pair.stop(),
                }
            }
            pairs = well;
        }
        pairs.into_iter().for_each(Pair::stop);
        Ok(())
    }

    fn in_turn(&self, pair: &Pair) -> Result<Numbers> {
        let amounts = self.amounts.for_row(pair.row);
        let mut numbers = Numbers::new();
        if self.options.wants(Measurement::Bulk) {
            for bulk in BULKS {
                numbers.extend(bulk.run(pair, amounts)?);
            }
        }
        if self.options.wants(Measurement::Connections) {
            numbers.extend(measure::connections(pair, amounts)?);
        }
        if self.options.wants(Measurement::KeepAlive) {
            numbers.extend(measure::keep_alive(pair, amounts)?);
        }
        Ok(numbers)
    }

    /// What needs ends just started.
    fn one_by_one(&mut self, descriptors: u64) {
        // Each sample is one number only, so there are more of them.
        for _ in 0..self.rounds * 2 {
            self.each(Measurement::First, |row| !row.is_slow(), |run, row| measure::first(&run.world, row));
            let can = |row: Row| row.is_whole() && row.is_tunnel() && !row.is_slow();
            self.each(Measurement::Start, can, |run, row| measure::start(&run.world, row));
        }
        for _ in 0..self.rounds.div_ceil(3) {
            let amounts = self.amounts;
            self.each(
                Measurement::Idle,
                |row| row.is_whole() && row.is_tunnel(),
                |run, row| measure::idle(&run.world, row, amounts.for_row(row)),
            );
        }
        let possible = HELD.min(descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2);
        if possible < HELD && self.options.wants(Measurement::Held) {
            println!(
                "This machine allows {descriptors} descriptors a program: {possible} tunnels are held, not {HELD}."
            );
        }
        self.each(Measurement::Held, |row| row == Row::Hardline, |run, row| measure::held(&run.world, row, possible));
    }

    fn each(
        &mut self,
        measurement: Measurement,
        can: impl Fn(Row) -> bool,
        measure: impl Fn(&Self, Row) -> Result<Numbers>,
    ) {
        if !self.options.wants(measurement) {
            return;
        }
        println!("{}", measurement.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned()));
        for row in self.rows.clone().into_iter().filter(|row| can(*row)) {
            let measured = measure(self, row);
            if let Some(numbers) = self.noted(row, measured) {
                self.add(row, numbers);
            }
        }
    }

    /// The value; an error is said, kept, and takes the row out of what follows.
    fn noted<T>(&mut self, row: Row, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                let failure = format!("{}: {error:#}", row.title());
                println!("FAILED {failure}");
                self.failures.push(failure);
                self.rows.retain(|other| *other != row);
                None
            }
        }
    }

    fn add(&mut self, row: Row, numbers: Numbers) {
        for (figure, value) in numbers {
            self.figures.add(row, figure, value);
        }
    }
}

impl Options {
    fn wants(&self, measurement: Measurement) -> bool {
        self.measure.is_empty() || self.measure.contains(&measurement)
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = if self.only.is_empty() { Row::value_variants().to_vec() } else { self.only.clone() };
        rows.retain(|row| *row != Row::OtherBuild || self.against.is_some());
        rows
    }

    fn amounts(&self) -> Amounts {
        if self.quick {
            Amounts { bulk_mib: 256, connections: 200, keep_millis: 1000, idle: 500 }
        } else {
            Amounts { bulk_mib: 768, connections: 1000, keep_millis: 2000, idle: 1000 }
        }
    }
}
