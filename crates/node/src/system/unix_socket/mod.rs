//! Sockets that have a path.

#[cfg(not(unix))]
mod none;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use none::{UnixSocket, UnixStream, connect, require};
#[cfg(unix)]
pub(crate) use unix::{UnixSocket, UnixStream, connect, require};
