//! An archive of ar(5), as Debian's packages are: 60 bytes of text before each file.

use std::fmt::Write as _;

/// One that is being written.
pub(super) struct Ar {
    text: Vec<u8>,
    time: u64,
}

impl Ar {
    /// An empty one, whose files will all be of this time (seconds since 1970) and of nobody.
    pub(super) fn new(time: u64) -> Self {
        Self { text: b"!<arch>\n".to_vec(), time }
    }

    /// Adds a file. The name has 15 bytes at most.
    pub(super) fn append(&mut self, name: &str, bytes: &[u8]) {
        let mut head = String::new();
        let (time, size) = (self.time, bytes.len());
        let _ = writeln!(head, "{name:<16}{time:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, "100644");
        self.text.extend(head.as_bytes());
        self.text.extend(bytes);
        // The next head begins at an even place.
        if size % 2 == 1 {
            self.text.push(b'\n');
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.text
    }
}
