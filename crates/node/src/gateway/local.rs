//! Where programs of this computer connect to a forwarded service.

use std::io;

use tokio::net::{TcpListener, UdpSocket};

use crate::config::LocalAddr;

/// A port or a socket that is listened at.
#[derive(Debug)]
pub(crate) enum LocalListener {
    Tcp(TcpListener),
    Udp(UdpSocket),
    #[cfg(unix)]
    Unix(socket::Socket),
}

impl LocalListener {
    /// Begins to listen. Returns where that is, too: a port of 0 is a free one.
    pub(crate) fn bind(at: &LocalAddr) -> io::Result<(Self, LocalAddr)> {
        match at {
            LocalAddr::Tcp(addr) => {
                let listener = std::net::TcpListener::bind(addr)?;
                listener.set_nonblocking(true)?;
                let bound = listener.local_addr()?;
                Ok((Self::Tcp(TcpListener::from_std(listener)?), LocalAddr::Tcp(bound)))
            }
            LocalAddr::Udp(addr) => {
                let socket = std::net::UdpSocket::bind(addr)?;
                socket.set_nonblocking(true)?;
                let bound = socket.local_addr()?;
                Ok((Self::Udp(UdpSocket::from_std(socket)?), LocalAddr::Udp(bound)))
            }
            #[cfg(unix)]
            LocalAddr::Unix(path) => Ok((Self::Unix(socket::Socket::bind(path)?), at.clone())),
            #[cfg(not(unix))]
            LocalAddr::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

#[cfg(unix)]
pub(super) mod socket {
    use std::ffi::OsString;
    use std::fs;
    use std::io;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    use std::os::unix::net::UnixStream as StdUnixStream;
    use std::path::{Path, PathBuf};

    use tokio::net::{UnixListener, UnixStream};

    use crate::transport::Listener;

    /// A Unix socket that is listened at. Its file is gone with it.
    #[derive(Debug)]
    pub(crate) struct Socket {
        listener: UnixListener,
        path: PathBuf,
    }

    impl Socket {
        /// Listens at `path`, for this user alone. Takes the place of a socket that nobody answers
        /// at, as a program leaves it that was killed.
        pub(super) fn bind(path: &Path) -> io::Result<Self> {
            match fs::symlink_metadata(path) {
                Ok(found) if !found.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
                Ok(_) if StdUnixStream::connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
                _ => {}
            }
            // Nobody else may connect, not even for the moment until its mode is set: it gets its
            // name after that.
            let mut unnamed = OsString::from(path);
            unnamed.push(format!(".{}", std::process::id()));
            let _ = fs::remove_file(&unnamed);
            let listener = UnixListener::bind(&unnamed)?;
            let named = fs::set_permissions(&unnamed, fs::Permissions::from_mode(0o600))
                .and_then(|()| fs::rename(&unnamed, path));
            if let Err(error) = named {
                let _ = fs::remove_file(&unnamed);
                return Err(error);
            }
            Ok(Self { listener, path: path.to_owned() })
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            // What is left is replaced by the next one that listens there.
            let _ = fs::remove_file(&self.path);
        }
    }

    impl Listener for Socket {
        type Incoming = UnixStream;

        async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
            let (stream, _) = self.listener.accept().await?;
            // Programs at a socket have no address.
            Ok((stream, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[tokio::test]
        async fn a_socket_is_for_its_user_alone_and_gone_with_its_listener() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("app.sock");
            let socket = Socket::bind(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(Socket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            drop(socket);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }

        #[tokio::test]
        async fn a_socket_that_was_left_is_replaced_and_a_file_is_not() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("app.sock");
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            assert!(path.exists());
            drop(Socket::bind(&path).unwrap());
            fs::write(&path, "precious").unwrap();
            assert_eq!(Socket::bind(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&path).unwrap(), b"precious");
        }
    }
}
