//! What the fuzz targets check. The tests of `hardline-proto`, `hardline-dht` and `hardline-record`
//! check the same for random input and for the corpora.
//!
//! `cargo xtask fuzz --seconds 60 --only head` tries one target for a minute, without `--only` all
//! of them. An input that was found goes into `corpus/TARGET` with the repair, where an ordinary
//! test replays it.

#[path = "../../crates/proto/tests/checks/mod.rs"]
pub mod checks;

#[path = "../../crates/dht/tests/checks/mod.rs"]
pub mod dht_checks;

#[path = "../../crates/record/tests/checks/mod.rs"]
pub mod record_checks;
