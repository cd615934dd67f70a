//! What differs between operating systems: all that is compiled for one and not for another is
//! here, behind functions that are called alike everywhere.

pub(crate) mod kind; // which system this is
pub(crate) mod limits; // of this process
pub(crate) mod memory; // freed memory → the system
pub(crate) mod process; // programs started by this one
pub(crate) mod signals; // the user's requests to stop
pub(crate) mod supervisor; // who starts and stops programs here
