//! A folder → the pages and files of the built-in file server, over an in-process stream: no port is opened for it.

use std::path::PathBuf;

/// Shows one folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FolderServer {}

impl FolderServer {
    /// Prepares to show `root`.
    ///
    /// # Errors
    /// When `root` is not a folder that can be read.
    pub fn new(root: PathBuf) -> std::io::Result<Self> {
        let _ = root;
        todo!()
    }

    /// A new connection to the file server: HTTP/1.1 with keep-alive is spoken on it. The serving task ends with it.
    #[must_use]
    pub fn connect(&self) -> tokio::io::DuplexStream {
        todo!()
    }
}
