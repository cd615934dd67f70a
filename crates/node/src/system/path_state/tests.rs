use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Looks until `is_so`, in real time: the kernel's.
async fn until(stream: &TcpStream, is_so: impl Fn(&PathState) -> bool) -> PathState {
    loop {
        let state = path_state(stream).unwrap();
        if is_so(&state) {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_reader_that_takes_a_pause_owes_nothing_but_has_bytes_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut reader, _) = listener.accept().await.unwrap();
    sender.write_all(b"x").await.unwrap();
    reader.read_exact(&mut [0]).await.unwrap();
    let state = until(&sender, |state| !state.is_owed).await;
    assert!(!state.has_unsent && state.repeats == 0 && state.round_trip < Duration::from_secs(1), "{state:?}");

    let piece = vec![0; 1 << 20];
    while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(300), sender.write(&piece)).await {}
    until(&sender, |state| state.has_unsent && !state.is_owed && state.silence < Duration::from_secs(2)).await;
}

#[test]
fn a_system_that_tells_less_tells_nothing() {
    assert_eq!(linux::read(&[0; linux::WORDS], 92), None);
    assert!(linux::read(&[0; linux::WORDS], 104).is_some());
}
