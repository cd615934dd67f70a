//! The hardline program.
fn main() {}
