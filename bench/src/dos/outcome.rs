//! What the honest client felt, and the table of it.

use serde::{Deserialize, Serialize};

use super::attack::Attack;

/// How many times longer the slowest of a hundred may take under attack.
const P99_BAR: f64 = 3.0;

/// Requests of one kind, times in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Requests {
    requests: u64,
    failed: u64,
    p50: f64,
    p99: f64,
}

/// One run of the honest client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Felt {
    /// On new connections.
    new: Requests,
    /// On one that stays.
    kept: Requests,
}

/// What the attackers met.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attacker {
    /// Connections that were let in as far as the attack wants, ever.
    opened: u64,
    /// Attempts that did not come so far.
    failed: u64,
    /// Connections that the victim ended.
    ended: u64,
    /// Connections open at the end of the attack.
    #[serde(default)]
    standing: u64,
    seconds: f64,
}

/// Of the victim, in KiB.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) before: f64,
    pub(super) most: f64,
    pub(super) after: f64,
}

impl Memory {
    /// How many times what it was at first it may be in the end.
    pub(super) const BAR: f64 = 1.1;
}

/// One attack.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    attack: Attack,
    peace: Felt,
    attacked: Felt,
    afterwards: Felt,
    attacker: Attacker,
    memory: Memory,
    /// Cores that the victim used under attack.
    cpu: f64,
    p99_ratio_new: f64,
    p99_ratio_kept: f64,
    is_met: bool,
}

impl Outcome {
    pub(super) fn new(
        attack: Attack,
        [peace, attacked, afterwards]: [Felt; 3],
        attacker: Attacker,
        memory: Memory,
        cpu: f64,
    ) -> Self {
        let p99_ratio_new = attacked.new.p99 / peace.new.p99;
        let p99_ratio_kept = attacked.kept.p99 / peace.kept.p99;
        let is_met = attacked.new.failed + attacked.kept.failed + afterwards.new.failed + afterwards.kept.failed == 0
            && p99_ratio_new < P99_BAR
            && p99_ratio_kept < P99_BAR
            && memory.after <= memory.before * Memory::BAR;
        Self { attack, peace, attacked, afterwards, attacker, memory, cpu, p99_ratio_new, p99_ratio_kept, is_met }
    }

    fn row(&self) -> String {
        let Self { attack, peace, attacked, afterwards, attacker, memory, cpu, .. } = self;
        let triple = |of: fn(&Felt) -> &Requests| {
            let pair = |felt| format!("{:.1}/{:.1}", of(felt).p50, of(felt).p99);
            format!("{} · {} · {}", pair(peace), pair(attacked), pair(afterwards))
        };
        let failed = attacked.new.failed + attacked.kept.failed;
        format!(
            "| {} | {} | {:.1} | {} | {:.1} | {failed} | {}, {:.0}/s / {} / {} | {:.1} · {:.1} · {:.1} | {cpu:.2} | {} |\n",
            attack.title(),
            triple(|felt| &felt.new),
            self.p99_ratio_new,
            triple(|felt| &felt.kept),
            self.p99_ratio_kept,
            attacker.standing,
            attacker.opened as f64 / attacker.seconds,
            attacker.ended,
            attacker.failed,
            memory.before / 1024.0,
            memory.most / 1024.0,
            memory.after / 1024.0,
            if self.is_met { "met" } else { "**not met**" },
        )
    }
}

/// The table, in Markdown.
pub(super) fn render(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "Honest client: p50/p99 in ms in peace · under attack · afterwards. Bars: p99 under attack less than {P99_BAR} times \
         that in peace, nothing failed, memory (PSS) back within {:.0} %.\n\n\
         | attack | new connection | ratio | kept connection | ratio | failed | attackers: standing, opened / ended by the \
         victim / not let in | victim's MiB before · most · after | victim's cores | bars |\n\
         | --- | --- | ---: | --- | ---: | ---: | --- | --- | ---: | --- |\n",
        (Memory::BAR - 1.0) * 100.0
    );
    outcomes.iter().for_each(|outcome| text += &outcome.row());
    text
}
