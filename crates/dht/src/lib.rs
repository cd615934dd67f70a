//! An OpenDHT node as a pure state machine.
