//! What differs between operating systems: all that is compiled for one and not for another is
//! here, behind functions that are called alike everywhere. (What the system's kernel or
//! libraries refuse at run time is another matter: see `tuning`.)

pub(crate) mod events; // the system's word that networks have changed
pub(crate) mod names; // names of files
pub(crate) mod netlink; // how Linux tells of changes
pub(crate) mod path_state; // what TCP knows of the other computer
pub(crate) mod private; // files for their owner alone
pub(crate) mod routes; // the routers in front of this host
pub(crate) mod short_lived; // addresses that do not last
pub(crate) mod sockets; // options that mean different things
pub(crate) mod unix_socket; // sockets that have a path
