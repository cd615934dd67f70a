//! What the fuzz targets check. The tests of `hardline-proto` check the same for random input and for the corpora.

#[path = "../../crates/proto/tests/checks/mod.rs"]
pub mod checks;
