//! Service → local program or folder: connects for each tunnel.

pub mod folder; // a folder, shown by the built-in file server
