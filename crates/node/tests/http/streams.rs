use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::timeout;

use super::common::backend;
use super::{LIMIT, World, aware, bytes, head};

/// Bytes that repeat after no round number.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

const BIG: usize = 8 * 1024 * 1024 + 7;

#[tokio::test]
async fn big_bodies_of_known_length_arrive_whole_in_both_directions() {
    let echo = backend(|mut stream| async move {
        for _ in 0..2 {
            let request = head(&mut stream).await;
            assert!(request.contains(&format!("Content-Length: {BIG}\r\n")), "{request}");
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n").as_bytes()).await.unwrap();
            let (from, mut to) = stream.split();
            tokio::io::copy(&mut from.take(BIG as u64), &mut to).await.unwrap();
        }
    })
    .await;
    let world = World::new(echo, aware()).await;
    let (mut from, mut to) = split(world.browser().await);
    for _ in 0..2 {
        let head_text = world.text(&format!("PUT /big HTTP/1.1\nHost: HOST\nContent-Length: {BIG}\n\n"));
        let sending = async {
            to.write_all(head_text.as_bytes()).await.unwrap();
            to.write_all(&pattern(BIG)).await.unwrap();
        };
        let receiving = async {
            assert!(head(&mut from).await.starts_with("HTTP/1.1 200 OK\r\n"));
            bytes(&mut from, BIG).await
        };
        let ((), got) = tokio::join!(sending, receiving);
        assert!(got == pattern(BIG));
    }
}

#[tokio::test]
async fn chunks_and_trailers_pass_in_both_directions() {
    let service = backend(|mut stream| async move {
        let request = head(&mut stream).await;
        assert!(request.to_lowercase().contains("transfer-encoding: chunked\r\n"), "{request}");
        assert!(request.to_lowercase().contains("trailer: x-sum\r\n"), "{request}");
        let mut body = Vec::new();
        while !body.ends_with(b"\r\n\r\n") {
            body.push(stream.read_u8().await.unwrap());
        }
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("hello ") && body.contains("world") && body.contains("0\r\n"), "{body}");
        assert!(body.to_lowercase().ends_with("x-sum: 42\r\n\r\n"), "{body}");
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Got\r\n\r\n3\r\nyes\r\n0\r\nX-Got: 11\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    })
    .await;
    let world = World::new(service, aware()).await;
    let request = "POST / HTTP/1.1\nHost: HOST\nTE: trailers\nConnection: TE, close\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n6\nhello \n5\nworld\n0\nX-Sum: 42\n\n";
    let answer = world.ask(request).await.to_lowercase();
    assert!(answer.contains("3\r\nyes\r\n0\r\nx-got: 11\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_part_of_a_body_arrives_while_the_rest_is_not_there_yet() {
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = std::sync::Mutex::new(Some(wait));
    let events = backend(move |mut stream| {
        let wait = wait.lock().unwrap().take();
        async move {
            head(&mut stream).await;
            let first = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
            stream.write_all(first).await.unwrap();
            wait.unwrap().await.unwrap();
            stream.write_all(b"data: 2\n\n").await.unwrap();
        }
    })
    .await;
    let world = World::new(events, aware()).await;
    let mut browser = world.browser().await;
    browser.write_all(world.text("GET /events HTTP/1.1\nHost: HOST\n\n").as_bytes()).await.unwrap();
    let answer = head(&mut browser).await;
    assert!(answer.to_lowercase().contains("transfer-encoding: chunked"), "its end was the connection's: {answer}");
    assert_eq!(bytes(&mut browser, 14).await, b"9\r\ndata: 1\n\n\r\n");
    go.send(()).unwrap();
    assert_eq!(bytes(&mut browser, 19).await, b"9\r\ndata: 2\n\n\r\n0\r\n\r\n");
}

#[tokio::test]
async fn an_endless_body_streams_and_ends_with_its_reader() {
    let (ended, mut end) = tokio::sync::mpsc::channel(1);
    let endless = backend(move |mut stream| {
        let ended = ended.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            ended.send(()).await.unwrap();
        }
    })
    .await;
    let world = World::new(endless, aware()).await;
    let mut browser = world.browser().await;
    browser.write_all(world.text("GET / HTTP/1.1\nHost: HOST\n\n").as_bytes()).await.unwrap();
    bytes(&mut browser, BIG).await;
    drop(browser);
    timeout(LIMIT, end.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn after_an_upgrade_bytes_are_raw_in_both_directions() {
    let websocket = backend(|mut stream| async move {
        let request = head(&mut stream).await;
        assert!(request.contains("Connection: Upgrade\r\n") && request.contains("Upgrade: websocket\r\n"), "{request}");
        assert!(request.contains("Sec-WebSocket-Key: abc\r\n"), "{request}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.write_all(b"last").await.unwrap();
    })
    .await;
    let world = World::new(websocket, aware()).await;
    let mut browser = world.browser().await;
    let asks =
        "GET /ws HTTP/1.1\nHost: HOST\nConnection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: abc\n\n";
    // What follows at once must not be read as HTTP.
    browser.write_all(world.text(asks).as_bytes()).await.unwrap();
    browser.write_all(b"\x81\x03GET / \0").await.unwrap();
    let answer = head(&mut browser).await;
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    assert!(answer.contains("Upgrade: websocket\r\n") && answer.contains("Connection: Upgrade\r\n"), "{answer}");
    assert_eq!(bytes(&mut browser, 5).await, b"first");
    assert_eq!(bytes(&mut browser, 9).await, b"\x81\x03GET / \0");
    let (mut from, mut to) = split(browser);
    let sending = async {
        to.write_all(&pattern(BIG)).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let ((), got) = tokio::join!(sending, bytes(&mut from, BIG));
    assert!(got == pattern(BIG));
    let mut rest = String::new();
    timeout(LIMIT, from.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, "last", "each direction ends by itself");
}

#[tokio::test]
async fn an_upgrade_that_is_declined_leaves_http() {
    let declines = backend(|mut stream| async move {
        for answer in ["426 Upgrade Required\r\nUpgrade: other", "200 OK\r\nX: y"] {
            head(&mut stream).await;
            let answer = format!("HTTP/1.1 {answer}\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let world = World::new(declines, aware()).await;
    let mut browser = world.browser().await;
    let asks = world.text("GET / HTTP/1.1\nHost: HOST\nConnection: Upgrade\nUpgrade: websocket\n\n");
    browser.write_all(format!("{asks}{}", world.text("GET /2 HTTP/1.1\nHost: HOST\n\n")).as_bytes()).await.unwrap();
    let answer = head(&mut browser).await;
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("Upgrade: other\r\n"), "{answer}");
    assert_eq!(bytes(&mut browser, 2).await, b"no");
    let answer = head(&mut browser).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("Upgrade"), "{answer}");
    assert_eq!(bytes(&mut browser, 2).await, b"no");
}

#[tokio::test]
async fn interim_answers_reach_the_visitor_before_the_final_one() {
    let hints = backend(|mut stream| async move {
        while !head(&mut stream).await.is_empty() {
            let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
            stream.write_all(interim.repeat(2).as_bytes()).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    let world = World::new(hints, aware()).await;
    let mut browser = world.browser().await;
    let request = world.text("GET / HTTP/1.1\nHost: HOST\n\n");
    browser.write_all(request.repeat(3).as_bytes()).await.unwrap();
    for _ in 0..3 {
        for _ in 0..2 {
            let interim = head(&mut browser).await;
            assert!(interim.starts_with("HTTP/1.1 103 Early Hints\r\n"), "{interim}");
            assert!(interim.to_lowercase().contains("link: </a.css>; rel=preload\r\n"), "{interim}");
        }
        assert!(head(&mut browser).await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(bytes(&mut browser, 2).await, b"ok");
    }
}

#[tokio::test]
async fn a_body_that_expects_to_be_wanted_is_sent_when_the_program_says_so() {
    let picky = backend(|mut stream| async move {
        let request = head(&mut stream).await;
        assert!(request.contains("Expect: 100-continue\r\n"), "{request}");
        if request.starts_with("PUT /no ") {
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            let mut body = Vec::new();
            let _ = stream.read_to_end(&mut body).await;
            assert_eq!(body, b"", "the body was not asked for");
            return;
        }
        if request.starts_with("PUT /yes ") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        }
        assert_eq!(bytes(&mut stream, 4).await, b"body");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let world = World::new(picky, aware()).await;
    for (path, first) in [("/yes", "100 Continue"), ("/old", "100 Continue"), ("/no", "413 ")] {
        let mut browser = world.browser().await;
        let head_text = format!("PUT {path} HTTP/1.1\nHost: HOST\nExpect: 100-continue\nContent-Length: 4\n\n");
        browser.write_all(world.text(&head_text).as_bytes()).await.unwrap();
        let interim = head(&mut browser).await;
        assert!(interim.starts_with(&format!("HTTP/1.1 {first}")), "{path}: {interim}");
        if first == "100 Continue" {
            browser.write_all(b"body").await.unwrap();
            assert!(head(&mut browser).await.starts_with("HTTP/1.1 200 OK\r\n"), "{path}");
        }
    }
}

#[tokio::test]
async fn requests_one_behind_the_other_are_answered_in_turn() {
    let world = World::new(super::repeats().await, aware()).await;
    let requests: String = (0..50).map(|index| format!("GET /{index} HTTP/1.1\nHost: HOST\n\n")).collect();
    let answer = world.ask(&format!("{requests}GET /last HTTP/1.1\nHost: HOST\nConnection: close\n\n")).await;
    let paths: Vec<_> = answer.split("GET /").skip(1).map(|rest| rest.split(' ').next().unwrap()).collect();
    let expected: Vec<String> = (0..50).map(|index: i32| index.to_string()).chain(["last".into()]).collect();
    assert_eq!(paths, expected);
}

#[tokio::test]
async fn a_client_that_ends_its_side_still_gets_its_answer() {
    let world = World::new(super::repeats().await, aware()).await;
    let mut browser = world.browser().await;
    browser.write_all(world.text("GET / HTTP/1.1\nHost: HOST\n\n").as_bytes()).await.unwrap();
    browser.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, browser.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn after_connect_bytes_are_raw_too() {
    let proxy = backend(|mut stream| async move {
        let request = head(&mut stream).await;
        assert!(request.starts_with("CONNECT example.org:443 HTTP/1.1\r\n"), "{request}");
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\nhello").await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
    })
    .await;
    let world = World::new(proxy, aware()).await;
    // A gateway is a proxy itself.
    let mut browser = world.tunnel().await;
    browser.write_all(world.text("CONNECT example.org:443 HTTP/1.1\nHost: HOST\n\n").as_bytes()).await.unwrap();
    let answer = head(&mut browser).await;
    assert!(answer.starts_with("HTTP/1.1 200 Connection established\r\n"), "{answer}");
    assert_eq!(bytes(&mut browser, 5).await, b"hello");
    browser.write_all(b"GET \0\xff").await.unwrap();
    assert_eq!(bytes(&mut browser, 6).await, b"GET \0\xff");
}
