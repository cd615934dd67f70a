//! Settings → tracing: lines on stderr, for people or as JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Whether `filter` can be used.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    filter.parse::<Targets>().map(drop).map_err(|err| err.to_string())
}

/// Starts logging. A filter that [`check_filter`] refuses logs warnings.
pub(crate) fn start(filter: &str, format: LogFormat) {
    let filter = filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::WARN));
    let (lines, chosen) = (fmt::layer().with_writer(std::io::stderr), tracing_subscriber::registry().with(filter));
    // A second start, as a test in this process may ask for, keeps the first.
    let _ = match format {
        LogFormat::Human => chosen.with(lines.with_ansi(has_colours())).try_init(),
        LogFormat::Json => chosen.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// Colours are for terminals whose owner did not decline them.
fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
