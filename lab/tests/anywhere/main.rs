//! The same bookmark from anywhere: each scenario with the real program, real routers, a real mesh
//! and released nodes of the DHT, and nothing mocked. Each prints its time to first byte, of 5
//! first tries or, in the long form, of 100; one that fails fails the scenario.

mod away;
mod broken;
mod chaos;
mod clock;
mod datagrams;
mod homes;
mod hostile;
mod measure;
mod mesh;
mod moves;
mod near;
mod paths;
mod punched;
mod relayed;
mod relayed_calls;
mod released;
mod remembered;
mod rest;
mod six;
mod symmetric;
mod waits;
mod world;
