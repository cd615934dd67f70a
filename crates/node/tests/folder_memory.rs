//! A huge file is served in little memory. Alone in its process, because it looks at the memory of
//! the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};

use hardline_node::backend::folder::FolderServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FILE: u64 = 1 << 30;

/// Far less than the file, far more than the allocator's moods.
const ALLOWED: u64 = 32 << 20;

const READERS: usize = 64;

#[tokio::test]
async fn a_huge_file_is_never_in_memory_for_fast_readers_and_slow_ones() {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("huge")).unwrap().set_len(FILE).unwrap();
    let server = FolderServer::new(folder.path().to_path_buf()).unwrap();
    let before = resident();

    // Readers that take a little and then wait.
    let mut slow = Vec::new();
    for _ in 0..READERS {
        let mut connection = server.connect();
        connection.write_all(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        connection.read_exact(&mut [0; 1000]).await.unwrap();
        slow.push(connection);
    }

    let mut fast = server.connect();
    fast.write_all(b"GET /huge HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let (mut received, mut most) = (0, 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = fast.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        received += read as u64;
        most = most.max(resident());
    }
    assert!(received > FILE, "{received} bytes, and all of the file was asked for");
    assert!(most < before + ALLOWED, "{before} bytes before, up to {most} meanwhile");
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
