//! What is measured, and the numbers of all rounds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::row::Row;

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Figure {
    /// CPU-seconds of both ends per GiB from the backend, one stream.
    Down1Cpu,
    /// MB/s.
    Down1Rate,
    /// The same to the backend.
    Up1Cpu,
    Up1Rate,
    /// The same, eight streams at once.
    Down8Cpu,
    Down8Rate,
    Up8Cpu,
    Up8Rate,
    /// Milliseconds from connecting to the whole answer, a connection per request.
    ConnectP50,
    ConnectP99,
    /// CPU of both ends, in microseconds per request.
    ConnectCpu,
    /// The first such request after both ends have started, in milliseconds.
    First,
    /// Requests a second on 16 connections that stay open.
    KeepRate,
    /// CPU of both ends, in microseconds per request.
    KeepCpu,
    /// KiB per idle tunnel.
    IdleNear,
    IdleFar,
    /// Idle tunnels held at once, of those tried.
    Held,
    /// Milliseconds from starting both ends to the first answer.
    Start,
    /// The program's size in MB.
    Size,
}

/// The numbers, round by round.
#[derive(Default, Serialize)]
pub(super) struct Figures(BTreeMap<Row, BTreeMap<Figure, Vec<f64>>>);

impl Figures {
    pub(super) fn add(&mut self, row: Row, figure: Figure, value: f64) {
        self.0.entry(row).or_default().entry(figure).or_default().push(value);
    }

    /// All rounds of one figure; empty where it was not measured.
    pub(super) fn of(&self, row: Row, figure: Figure) -> &[f64] {
        self.0.get(&row).and_then(|figures| figures.get(&figure)).map_or(&[], Vec::as_slice)
    }

    /// The median over the rounds.
    pub(super) fn median(&self, row: Row, figure: Figure) -> Option<f64> {
        median(self.of(row, figure))
    }

    /// Rows that have any number, in the table's order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.0.keys().copied()
    }
}

/// The middle one, or the mean of the two in the middle; `None` of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_what_is_there() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }
}
