//! What is wrong with the settings, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl Origin {
    /// The line, where there is one.
    pub(super) fn line(&self) -> Option<usize> {
        match self {
            Self::File { line, .. } => Some(*line),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What.
    pub message: String,
}

impl Problem {
    pub(super) fn unknown_key<'a>(origin: Origin, name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let hint = nearest(name, known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        Self { origin, message: format!("unknown key {name:?}{hint}") }
    }

    pub(super) fn bad_value(origin: Origin, name: &str, form: &str, reason: &str) -> Self {
        Self { origin, message: format!("{name} must be {form}: {reason}") }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// Everything that is wrong, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    /// One a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The known name a person most likely meant: few letters away as a whole, or in its last part
/// (`port` for `gateway.port`).
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    known
        .map(|candidate| {
            let whole = strsim::damerau_levenshtein(name, candidate);
            let part = strsim::damerau_levenshtein(&last(name), &last(candidate)) + 1;
            (whole.min(part), candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 4).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        let known = ["gateway.port", "gateway.enabled", "p2p.port", "grace", "lan.plain_search"];
        assert_eq!(nearest(name, known.into_iter()), expected);
    }

    #[test]
    fn the_nearest_name_is_the_one_a_slip_away() {
        check("gateway.prot", Some("gateway.port"));
        check("gatway.port", Some("gateway.port"));
        check("p2p.prot", Some("p2p.port"));
        check("grase", Some("grace"));
        check("plain_search", Some("lan.plain_search"));
        check("colour", None);
        check("", None);
    }
}
