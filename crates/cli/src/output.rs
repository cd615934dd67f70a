//! What people and programs read on stdout: plain lines, or one JSON object a line.

use std::io::Write as _;

use serde_json::Value;

use crate::failure::{Exit, Failure};

/// Where results go. Everything else (logs, errors, remarks) goes to stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// One JSON object a line instead of text.
    pub(crate) is_json: bool,
    /// Nothing but what was asked for.
    pub(crate) is_quiet: bool,
}

impl Output {
    /// Writes a line for people.
    ///
    /// # Errors
    /// When stdout is closed or full; a closed one is no fault.
    pub(crate) fn line(self, text: impl std::fmt::Display) -> Result<(), Failure> {
        if self.is_json { Ok(()) } else { write(&format!("{text}\n")) }
    }

    /// Writes an object for programs.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub(crate) fn event(self, event: &Value) -> Result<(), Failure> {
        if self.is_json { write(&format!("{event}\n")) } else { Ok(()) }
    }

    /// Writes a remark for people on stderr.
    pub(crate) fn remark(self, text: impl std::fmt::Display) {
        if !self.is_quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// Writes text as it is.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let outcome = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    outcome.map_err(|err| match err.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::silent(Exit::Done),
        _ => Failure::of(Exit::Failed, "cannot write to stdout", &err),
    })
}

/// A stranger's text without what could move the cursor or turn the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !c.is_control() && !turns(*c)).collect()
}

/// A QR code of `text` for a terminal. The light modules are drawn, the dark ones left out: right
/// on a dark terminal, and inverted, which scanners of today read too, on a light one.
pub(crate) fn qr_code(text: &str) -> Option<String> {
    use qrcode::render::unicode::Dense1x2;
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_title_cannot_move_the_cursor_or_turn_the_text() {
        assert_eq!(printable("a\x1b[2Jb\u{202e}c\nd"), "a[2Jbcd");
        assert_eq!(printable("Möbel 📷"), "Möbel 📷");
    }

    #[test]
    fn a_link_fits_a_qr_code_of_a_terminals_width() {
        let code = qr_code("http://6fef58cb259ed9746e280ac7ca618aab93d3fe79.localhost:7009/").unwrap();
        assert!(code.lines().all(|line| line.chars().count() <= 60));
        assert!(code.lines().count() < 40);
    }
}
