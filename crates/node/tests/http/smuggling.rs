use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{World, aware, common, head, repeats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn smuggled_requests_are_refused_and_never_reach_the_program() {
    let world = World::new(repeats().await, aware()).await;
    let get = "GET / HTTP/1.1\nHost: HOST\n\n";
    for (status, hostile) in [
        (400, "POST / HTTP/1.1\nHost: HOST\nContent-Length: 4\nTransfer-Encoding: chunked\n\n0\n\n"),
        (400, "POST / HTTP/1.1\nHost: HOST\nTransfer-Encoding: chunked\nContent-Length: 4\n\n0\n\n"),
        (400, "POST / HTTP/1.1\nHost: HOST\nContent-Length: 4\nContent-Length: 5\n\nabcde"),
        (400, "POST / HTTP/1.1\nHost: HOST\nContent-Length: +4\n\nabcd"),
        (501, "POST / HTTP/1.1\nHost: HOST\nTransfer-Encoding: xchunked\n\n0\n\n"),
        (501, "POST / HTTP/1.1\nHost: HOST\nTransfer-Encoding: chunked, identity\n\n0\n\n"),
        (400, "GET / HTTP/1.1\nHost: HOST\nHost: other\n\n"),
        (400, "GET / HTTP/1.1\nHost: HOST\nX: a\n folded\n\n"),
        (400, "GET / HTTP/1.1\nHost : HOST\n\n"),
        (400, "GET / HTTP/1.1\n\n"),
        (400, "GARBAGE\n\n"),
    ] {
        // The gateway reads the first head of a connection, so what is hostile comes second.
        let answer = world.ask(&format!("{get}{hostile}{get}")).await;
        let (first, second) =
            answer.split_at(answer.find("HTTP/1.1 200 OK").map_or(0, |_| answer.rfind("HTTP/1.1 ").unwrap()));
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{hostile:?}: {answer}");
        let is_refusal =
            second.starts_with(&format!("HTTP/1.1 {status} ")) && second.contains("Hardline passes no such");
        assert!(is_refusal, "{hostile:?}: {answer}");
        assert_eq!(answer.matches("GET / HTTP/1.1").count(), 1, "nothing behind it is answered: {answer}");
    }
}

#[tokio::test]
async fn heads_without_end_are_refused() {
    let world = World::new(repeats().await, aware()).await;
    let get = "GET / HTTP/1.1\nHost: HOST\n\n";
    let many = format!("{get}GET / HTTP/1.1\nHost: HOST\n{}\n", "X: y\n".repeat(300));
    assert!(world.ask(&many).await.contains("HTTP/1.1 431 "));
    let long = format!("{get}GET / HTTP/1.1\nHost: HOST\nX: {}\n\n", "y".repeat(65 * 1024));
    assert!(world.ask(&long).await.contains("HTTP/1.1 431 "));
}

#[tokio::test]
async fn chunks_that_do_not_fit_end_the_connection_and_the_program_sees_no_whole_body() {
    let whole = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&whole);
    let backend = common::backend(move |mut stream| {
        let counts = Arc::clone(&counts);
        async move {
            head(&mut stream).await;
            let mut body = Vec::new();
            let _ = stream.read_to_end(&mut body).await;
            counts.fetch_add(usize::from(body.ends_with(b"0\r\n\r\n")), Ordering::Relaxed);
        }
    })
    .await;
    let world = World::new(backend, aware()).await;
    for chunks in ["5\nabc\n0\n\n", "zz\nabc\n0\n\n", "3\nabcd\n0\n\n", "-1\nabc\n0\n\n"] {
        let mut browser = world.browser().await;
        let post = world.text(&format!("POST / HTTP/1.1\nHost: HOST\nTransfer-Encoding: chunked\n\n{chunks}"));
        browser.write_all(post.as_bytes()).await.unwrap();
        browser.shutdown().await.unwrap();
        let mut answer = String::new();
        let _ = browser.read_to_string(&mut answer).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{chunks:?}: {answer}");
    }
    assert_eq!(whole.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_absolute_target_says_where_a_request_goes() {
    let world = World::new(repeats().await, aware()).await;
    let asks = "GET http://HOST/path HTTP/1.1\nHost: HOST\n\nGET http://HOST/two HTTP/1.1\nHost: other.localhost\nConnection: close\n\n";
    // A gateway would ask as the service itself is asked.
    let mut tunnel = world.tunnel().await;
    tunnel.write_all(world.text(asks).as_bytes()).await.unwrap();
    let mut heard = String::new();
    tunnel.read_to_string(&mut heard).await.unwrap();
    assert!(heard.contains("GET /path HTTP/1.1\r\n") && heard.contains("GET /two HTTP/1.1\r\n"), "{heard}");
    assert_eq!(heard.matches(&world.text("Host: HOST\n")).count(), 2, "{heard}");
}
