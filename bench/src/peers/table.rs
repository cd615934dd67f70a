//! The figures as Markdown.

use super::bars::Standing;
use super::figure::Figure::{self, *};
use super::figure::Figures;

/// A column: its head and, joined by ` / `, its figures with their decimals.
type Column = (&'static str, &'static [(Figure, usize)]);

const BULK: &[Column] = &[
    ("down, 1 stream: CPU-s per GiB / MB/s", &[(Down1Cpu, 2), (Down1Rate, 0)]),
    ("up, 1 stream", &[(Up1Cpu, 2), (Up1Rate, 0)]),
    ("down, 8 streams", &[(Down8Cpu, 2), (Down8Rate, 0)]),
    ("up, 8 streams", &[(Up8Cpu, 2), (Up8Rate, 0)]),
];

const REQUESTS: &[Column] = &[
    ("new connection: p50 / p99 ms / CPU µs", &[(ConnectP50, 2), (ConnectP99, 2), (ConnectCpu, 0)]),
    ("first connection, ms", &[(First, 2)]),
    ("keep-alive, 16 connections: requests/s / CPU µs", &[(KeepRate, 0), (KeepCpu, 0)]),
    ("KiB per idle tunnel, near / far", &[(IdleNear, 1), (IdleFar, 1)]),
    ("started to first answer, ms", &[(Start, 0)]),
    ("program, MB", &[(Size, 1)]),
];

/// Both tables.
pub(super) fn render(figures: &Figures) -> String {
    format!("{}\n{}", rows(figures, BULK), rows(figures, REQUESTS))
}

/// What has to be reached, and what was.
pub(super) fn render_bars(standings: &[Standing]) -> String {
    let mut text = "| to reach | bar | median | rounds | |\n| --- | ---: | ---: | ---: | --- |\n".to_owned();
    for bar in standings {
        let sign = if bar.is_minimum { "≥" } else { "≤" };
        let verdict = if bar.is_met { "met" } else { "**not met**" };
        text += &format!(
            "| {} | {sign} {} | {:.2} | {:.2}–{:.2} | {verdict} |\n",
            bar.title, bar.limit, bar.value, bar.range[0], bar.range[1]
        );
    }
    text
}

fn rows(figures: &Figures, columns: &[Column]) -> String {
    let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    let mut text = format!("| | {} |\n| --- |{}\n", heads.join(" | "), " ---: |".repeat(columns.len()));
    for row in figures.rows() {
        let cells: Vec<String> = columns
            .iter()
            .map(|(_, parts)| {
                let numbers: Vec<String> = parts
                    .iter()
                    .filter_map(|(figure, decimals)| Some(format!("{:.decimals$}", figures.median(row, *figure)?)))
                    .collect();
                numbers.join(" / ")
            })
            .collect();
        text += &format!("| {} | {} |\n", row.title(), cells.join(" | "));
    }
    text
}
