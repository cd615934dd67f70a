//! What is handed out, each on the ground that it is made for.
//!
//! Run by `cargo xtask test`, which builds it first.

mod android;
mod archive;
mod arm;
mod deb;
mod debian;
mod empty_root;
mod install;
mod oci;
mod packed;
mod windows;
mod wine;
