//! What Hardline has to reach, and whether it does.

use serde::Serialize;

use super::figure::Figure::{self, *};
use super::figure::{Figures, median};
use super::row::Row;

/// Something to reach.
struct Bar {
    title: &'static str,
    /// Whose.
    row: Row,
    figure: Figure,
    against: Against,
    limit: f64,
}

#[derive(Clone, Copy)]
enum Against {
    /// At most `limit` times the encrypted peer that did best in the same round.
    Best,
    /// At most `limit` times this row in the same round.
    Row(Row),
    /// At least `limit` times this row in the same round.
    AtLeast(Row),
    /// At most `limit`, as it is.
    Limit,
    /// At least `limit`, as it is.
    Count,
}

const BARS: &[Bar] = &[
    bar("bulk down, 1 stream: CPU against the best encrypted peer", Down1Cpu, Against::Best, 0.60),
    bar("bulk up, 1 stream", Up1Cpu, Against::Best, 0.60),
    bar("bulk down, 8 streams", Down8Cpu, Against::Best, 0.65),
    bar("bulk up, 8 streams", Up8Cpu, Against::Best, 0.65),
    bar("bulk down, 1 stream: CPU against two plain relays", Down1Cpu, Against::Row(Row::Relays), 1.35),
    bar("bulk up, 1 stream", Up1Cpu, Against::Row(Row::Relays), 1.35),
    bar("bulk down, 8 streams", Down8Cpu, Against::Row(Row::Relays), 1.35),
    bar("bulk up, 8 streams", Up8Cpu, Against::Row(Row::Relays), 1.35),
    bar("new connection: median time against rathole over Noise", ConnectP50, Against::Row(Row::RatholeNoise), 0.55),
    bar("new connection: CPU against the same", ConnectCpu, Against::Row(Row::RatholeNoise), 0.40),
    bar("first connection to a peer: time against the same", First, Against::Row(Row::RatholeNoise), 1.0),
    ready_bar("first connection to a peer prewarmed", First, Against::Row(Row::RatholeNoise), 1.0),
    bar("keep-alive: CPU per request against HAProxy", KeepCpu, Against::Row(Row::Haproxy), 0.72),
    bar("keep-alive: requests a second against the same", KeepRate, Against::AtLeast(Row::Haproxy), 1.05),
    bar("pages isolated, new connection: CPU against trusted", ConnectCpu, Against::Row(Row::HardlineTrusted), 1.05),
    bar("pages isolated, keep-alive: requests a second", KeepRate, Against::AtLeast(Row::HardlineTrusted), 0.90),
    bar("pages isolated, bulk down, 1 stream: CPU", Down1Cpu, Against::Row(Row::HardlineTrusted), 1.02),
    bar("KiB per idle tunnel, near end", IdleNear, Against::Limit, 12.5),
    bar("KiB per idle tunnel, far end", IdleFar, Against::Limit, 12.5),
    bar("idle tunnels held at once", Held, Against::Count, 10_000.0),
    bar("both ends started to the first answer, ms", Start, Against::Limit, 60.0),
    bar("program, MB", Size, Against::Limit, 17.0),
];

const fn bar(title: &'static str, figure: Figure, against: Against, limit: f64) -> Bar {
    Bar { title, row: Row::Hardline, figure, against, limit }
}

/// Of the row that is prewarmed.
const fn ready_bar(title: &'static str, figure: Figure, against: Against, limit: f64) -> Bar {
    Bar { row: Row::HardlineReady, ..bar(title, figure, against, limit) }
}

/// How Hardline stands.
#[derive(Serialize)]
pub(super) struct Standing {
    pub(super) title: &'static str,
    /// The median of the rounds' ratios, or of the figure itself.
    pub(super) value: f64,
    /// The lowest and the highest round.
    pub(super) range: [f64; 2],
    pub(super) limit: f64,
    pub(super) is_minimum: bool,
    pub(super) is_met: bool,
}

/// Judges every bar that was measured.
pub(super) fn judge(figures: &Figures) -> Vec<Standing> {
    BARS.iter().filter_map(|bar| bar.judge(figures)).collect()
}

impl Bar {
    fn judge(&self, figures: &Figures) -> Option<Standing> {
        let ours = figures.of(self.row, self.figure);
        let values = match self.against {
            Against::Best => ratios(ours, &best(figures, self.figure)),
            Against::Row(row) | Against::AtLeast(row) => ratios(ours, figures.of(row, self.figure)),
            Against::Limit | Against::Count => ours.to_vec(),
        };
        let value = median(&values)?;
        let is_minimum = matches!(self.against, Against::AtLeast(_) | Against::Count);
        let is_met = if is_minimum { value >= self.limit } else { value <= self.limit };
        let range = [values.iter().copied().fold(value, f64::min), values.iter().copied().fold(value, f64::max)];
        Some(Standing { title: self.title, value, range, limit: self.limit, is_minimum, is_met })
    }
}

fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// The lowest of the encrypted peers in each round.
fn best(figures: &Figures, figure: Figure) -> Vec<f64> {
    let peers: Vec<&[f64]> =
        figures.rows().filter(|row| row.is_encrypted_peer()).map(|row| figures.of(row, figure)).collect();
    let rounds = peers.iter().map(|values| values.len()).max().unwrap_or(0);
    let lowest = |round: usize| peers.iter().filter_map(|values| values.get(round).copied()).reduce(f64::min);
    (0..rounds).filter_map(lowest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rows: &[(Row, &[f64])]) -> Figures {
        let mut figures = Figures::default();
        for (row, values) in rows {
            for value in *values {
                figures.add(*row, Down1Cpu, *value);
            }
        }
        figures
    }

    #[test]
    fn a_ratio_is_taken_within_a_round_and_against_the_best_of_that_round() {
        // The neighbours' noise doubles the second round for everybody; the best changes from round
        // to round.
        let figures = figures(&[
            (Row::Hardline, &[2.0, 4.0, 2.0]),
            (Row::Stunnel, &[4.0, 10.0, 5.0]),
            (Row::Haproxy, &[5.0, 8.0, 4.0]),
            (Row::Bore, &[1.0, 1.0, 1.0]),
        ]);
        let standing = &judge(&figures)[0];
        assert_eq!((standing.value, standing.range, standing.is_met), (0.5, [0.5, 0.5], true));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert!(judge(&figures(&[(Row::Hardline, &[2.0])])).is_empty());
        assert!(judge(&figures(&[(Row::Stunnel, &[2.0])])).is_empty());
    }
}
