use std::time::Duration;

use hardline_node::config::{HttpSettings, ServiceConfig};
use hardline_node::node::TunnelStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::common::{self, TestNode, name, nobody, service};
use super::{LIMIT, World, aware, head, repeats, says, with};

#[tokio::test]
async fn a_program_that_does_not_answer_properly_gets_a_page_that_says_so() {
    for (answer, reason) in [
        ("SSH-2.0-OpenSSH_9.9\n", "does not answer in HTTP/1.1"),
        ("HTTP/1.1 abc\n\n", "does not answer in HTTP/1.1"),
        ("HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6\n\nhello", "does not answer in HTTP/1.1"),
        ("HTTP/1.1 200 OK\nX-Half: ", "closed the connection before it had answered"),
        ("", "closed the connection before it had answered"),
        ("HTTP/1.1 101 Switching Protocols\nUpgrade: x\nConnection: Upgrade\n\n", "does not answer in HTTP/1.1"),
    ] {
        let world = World::new(says(answer).await, aware()).await;
        let page = world.ask("GET / HTTP/1.1\nHost: HOST\nAccept: text/html\nConnection: close\n\n").await;
        assert!(page.starts_with("HTTP/1.1 502 Bad Gateway\r\n") && page.contains("<html"), "{answer:?}: {page}");
        assert!(page.contains(reason), "{answer:?}: {page}");
        let text = world.ask("POST / HTTP/1.1\nHost: HOST\nContent-Length: 3\nConnection: close\n\nabc").await;
        assert!(text.starts_with("HTTP/1.1 502 ") && text.contains(reason) && !text.contains("<html"), "{text}");
    }
}

#[tokio::test]
async fn a_head_without_end_of_the_program_is_not_kept() {
    let backend = common::backend(|mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(&[b"X-Header: ", &[b'y'; 1000][..], b"\r\n"].concat()).await.is_ok() {}
    })
    .await;
    let world = World::new(backend, aware()).await;
    let page = world.ask("GET / HTTP/1.1\nHost: HOST\nConnection: close\n\n").await;
    assert!(page.starts_with("HTTP/1.1 502 ") && page.contains("too long a head"), "{page}");
}

#[tokio::test]
async fn a_program_that_never_answers_gets_a_504_in_time() {
    let silent = common::backend(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let listener = TestNode::start(|config| {
        config.gateway_port = None;
        config.services = vec![with(silent, aware())];
        config.p2p.answer_timeout = Duration::from_millis(300);
    })
    .await;
    let gateway = TestNode::gateway(&[(listener.key(), listener.p2p())]).await;
    let began = Instant::now();
    let page =
        common::get(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "Connection: close\r\n").await;
    assert!(page.starts_with("HTTP/1.1 504 Gateway Timeout\r\n") && page.contains("within 300 ms"), "{page}");
    assert!(began.elapsed() < LIMIT);
}

#[tokio::test]
async fn a_program_that_does_not_run_is_told_as_for_a_raw_service() {
    let world = World::new(nobody().await, aware()).await;
    let page = world.ask("GET / HTTP/1.1\nHost: HOST\nAccept: text/html\nConnection: close\n\n").await;
    let raw = World::new(nobody().await, HttpSettings::default()).await;
    let of_raw = raw.ask("GET / HTTP/1.1\nHost: HOST\nAccept: text/html\nConnection: close\n\n").await;
    assert_eq!(page.lines().next(), of_raw.lines().next());
    assert!(page.starts_with("HTTP/1.1 50"), "{page}");
}

#[tokio::test]
async fn a_program_that_closes_after_each_answer_serves_one_connection_all_the_same() {
    let world = World::new(says("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await, aware()).await;
    let mut browser = world.browser().await;
    for _ in 0..20 {
        browser.write_all(world.text("GET / HTTP/1.1\nHost: HOST\n\n").as_bytes()).await.unwrap();
        assert!(head(&mut browser).await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(super::bytes(&mut browser, 2).await, b"ok");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_as_broken() {
    let breaking = says("HTTP/1.1 200 OK\nContent-Length: 100\n\npart").await;
    let world = World::new(breaking, aware()).await;
    let mut browser = common::open(world.gateway.browser_addr(), &world.host(), "").await;
    let error = timeout(LIMIT, browser.read_to_end(&mut Vec::new())).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_visitor_that_leaves_takes_its_connection_to_the_program_along() {
    let (ended, mut end) = tokio::sync::mpsc::channel(1);
    let slow = common::backend(move |mut stream| {
        let ended = ended.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.read(&mut [0]).await;
            ended.send(()).await.unwrap();
        }
    })
    .await;
    let world = World::new(slow, aware()).await;
    let browser = common::open(world.gateway.browser_addr(), &world.host(), "").await;
    browser.set_zero_linger().unwrap();
    drop(browser);
    timeout(LIMIT, end.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn services_with_and_without_http_stand_side_by_side() {
    let at = repeats().await;
    let listener = TestNode::listener(vec![with(at, aware()), service(common::greeting(b'!').await)]).await;
    let keys: Vec<_> = listener.node.status().services.iter().map(|service| service.key).collect();
    let gateway = TestNode::gateway(&[(keys[0], listener.p2p()), (keys[1], listener.p2p())]).await;
    let mut raw: TunnelStream = gateway.node.connect(&name(keys[1])).await.unwrap();
    assert_eq!(timeout(LIMIT, raw.read_u8()).await.unwrap().unwrap(), b'!');
    let answer = common::get(gateway.browser_addr(), &format!("{}.localhost", keys[0]), "Connection: close\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let added: ServiceConfig = with(at, aware());
    let (key, _) = listener.node.add_service(added).unwrap();
    listener.node.remove_service(&key).unwrap();
}
