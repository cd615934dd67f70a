//! One honest client, and strangers who want to spoil it: what it feels in peace, under each attack
//! and afterwards.

mod attack; // what strangers do
mod crowd; // many of them at once
mod ends; // whom they do it to
mod flood; // garbage by the ten thousand
mod outcome; // what became of the honest client
mod stranger; // one connection that dawdles

pub(crate) use attack::{AttackOptions, run as attack};

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum as _};
use hardline_lab::Lab;

use self::attack::Attack;
use self::ends::Ends;
use crate::{descriptors, usage};

/// Two for each of the idle tunnels and for those of the honest client, with room.
const DESCRIPTORS: u64 = 24_000;

#[derive(Args)]
pub(crate) struct Options {
    /// A few seconds for each part instead of twenty
    #[arg(long)]
    quick: bool,
    /// Only this attack; may be repeated
    #[arg(long, value_name = "ATTACK")]
    only: Vec<Attack>,
    /// Writes everything into this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the attacks one after another, each against ends just started, and prints the table.
///
/// # Errors
/// If the machine cannot do it, or an end does not answer in peace. A bar that is not met is
/// printed.
pub(crate) fn run(options: &Options) -> Result<()> {
    println!("Load average at the start: {}.", usage::load_average()?);
    let allowed = descriptors::raise(DESCRIPTORS)?;
    if allowed < DESCRIPTORS {
        println!("{allowed} descriptors a program are allowed here: {} tunnels are left idle.", attack::idle_tunnels());
    }
    let lab = Lab::open()?.context("this needs network namespaces: root, or user namespaces allowed")?;
    let milliseconds = if options.quick { 4_000 } else { 20_000 };
    let all = if options.only.is_empty() { Attack::value_variants() } else { &options.only };
    let mut outcomes = Vec::new();
    for attack in all {
        println!("{}", attack.title());
        let ends = Ends::start(&lab, &format!("dos{}", outcomes.len()))?;
        outcomes.push(ends.attacked_by(*attack, milliseconds)?);
    }
    println!("\n{}", outcome::render(&outcomes));
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&outcomes)?;
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    println!("Load average at the end: {}.", usage::load_average()?);
    Ok(())
}
