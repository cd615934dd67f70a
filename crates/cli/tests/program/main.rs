//! The program as people and scripts meet it: the real binary, run in a world of its own.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common; // the program, its neighbours, things to publish

mod config; // files, environment, flags
mod docs; // what is generated from the program
mod packaging; // unit files

mod mobile; // `--mobile`: as an app on a phone runs it
mod run; // `hardline`: start, signals, the legacy flags
mod share; // links that answer, and stay the same

mod dht; // `dht`, in networks of its own
mod lan;
mod names; // `browse` and `peers`
mod reach; // `connect` and `forward`
mod relay; // `relay`, and services behind one
mod visitors; // private services, invitations, revocations

mod doctor; // what works here
mod http; // services whose HTTP is understood
mod identities; // `id` and `key`
mod open; // the browser
mod speech; // stdout, stderr, logs
mod status; // what runs here
