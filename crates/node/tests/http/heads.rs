use hardline_node::apps;
use hardline_node::config::{HostHeader, HttpSettings};

use super::{World, aware, bytes, head, repeats, says};
use tokio::io::AsyncWriteExt;

fn called(host: &str) -> HttpSettings {
    HttpSettings { host_header: Some(HostHeader::Is(host.parse().unwrap())), ..HttpSettings::default() }
}

#[tokio::test]
async fn the_program_hears_the_name_it_believes_in() {
    let at = repeats().await;
    let world = World::new(at, called("app.example")).await;
    let heard =
        world.ask("GET /a?b HTTP/1.1\nHost: HOST\nOrigin: http://HOST\nX-Odd:   kept\nConnection: close\n\n").await;
    let heard = heard.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(heard, "GET /a?b HTTP/1.1\r\nHost: app.example\r\nOrigin: http://app.example\r\nX-Odd: kept\r\n\r\n");

    world
        .listener
        .node
        .change_service(&world.listener.key(), |it| it.http.host_header = Some(HostHeader::Target))
        .unwrap();
    let heard = world.ask("GET / HTTP/1.1\nHost: HOST\nConnection: close\n\n").await;
    assert!(heard.contains(&format!("\r\nHost: {at}\r\n")), "a change counts from the next connection on: {heard}");

    let jupyter = HttpSettings { app: apps::find("jupyter"), ..HttpSettings::default() };
    world.listener.node.change_service(&world.listener.key(), |it| it.http = jupyter).unwrap();
    let heard = world.ask("GET / HTTP/1.1\nHost: HOST\nConnection: close\n\n").await;
    assert!(heard.contains(&format!("\r\nHost: localhost:{}\r\n", at.port())), "{heard}");

    world.listener.node.change_service(&world.listener.key(), |it| it.http = HttpSettings::default()).unwrap();
    let mut browser = world.browser().await;
    let request = world.text("GET / HTTP/1.1\nHost: HOST\nX-Odd:   kept\nConnection: keep-alive\n\n");
    browser.write_all(request.as_bytes()).await.unwrap();
    head(&mut browser).await;
    assert_eq!(bytes(&mut browser, request.len()).await, request.as_bytes(), "raw again, byte for byte");
}

#[tokio::test]
async fn who_asked_is_told_by_us_and_by_nobody_else() {
    let settings = HttpSettings {
        forwarded: Some(true),
        headers: vec![("X-Key".parse().unwrap(), "ours".parse().unwrap())],
        ..HttpSettings::default()
    };
    let world = World::new(repeats().await, settings).await;
    let lies = "X-Forwarded-For: 6.6.6.6\nForwarded: for=6.6.6.6\nX-Forwarded-User: root\nx-key: theirs\n";
    let heard = world.ask(&format!("GET / HTTP/1.1\nHost: HOST\n{lies}Connection: close\n\n")).await;
    let heard = heard.split_once("\r\n\r\n").unwrap().1;
    assert!(!heard.contains("6.6.6.6") && !heard.contains("root") && !heard.contains("theirs"), "{heard}");
    for told in ["x-forwarded-for: 127.0.0.1\r\n", "x-forwarded-proto: http\r\n", "x-key: ours\r\n"] {
        assert!(heard.to_lowercase().contains(told), "{told}: {heard}");
    }
    assert!(heard.contains(&world.text("for=127.0.0.1;host=\"HOST\";proto=http\n")), "{heard}");
}

#[tokio::test]
async fn an_absolute_redirect_leads_back_through_the_tunnel() {
    let answer = "HTTP/1.1 302 Found\nLocation: http://app.example/home\nSet-Cookie: a=b; Domain=app.example\nContent-Length: 0\n\n";
    let world = World::new(says(answer).await, called("app.example")).await;
    let answer = world.ask("GET / HTTP/1.1\nHost: HOST\nConnection: close\n\n").await;
    assert!(answer.contains(&world.text("Location: http://HOST/home\n")), "{answer}");
    assert!(answer.contains("Set-Cookie: a=b\r\n"), "{answer}");

    let off = HttpSettings { rewrite_redirects: Some(false), ..called("app.example") };
    world.listener.node.change_service(&world.listener.key(), |it| it.http = off).unwrap();
    let answer = world.ask("GET / HTTP/1.1\nHost: HOST\nConnection: close\n\n").await;
    assert!(answer.contains("Location: http://app.example/home\r\n"), "{answer}");
}

#[tokio::test]
async fn heads_keep_their_spelling_their_reason_and_their_order() {
    let sent =
        "HTTP/1.1 299 Quite Fine\nX-UPPER: 1\nContent-Length: 2\nETag: \"x\"\nSet-Cookie: a=1\nSet-Cookie: b=2\n\nok";
    let world = World::new(says(sent).await, aware()).await;
    let answer = world.ask("GET / HTTP/1.1\nHost: HOST\nConnection: close\n\n").await;
    for part in
        ["HTTP/1.1 299 Quite Fine\r\n", "X-UPPER: 1\r\n", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", "\r\n\r\nok"]
    {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    assert!(!answer.to_lowercase().contains("date:"), "nothing is added: {answer}");
}

#[tokio::test]
async fn answers_without_a_body_stay_without_one() {
    // The length that a 304 need not have is left out (RFC 9110, section 8.6).
    for (method, status, length, stays) in [
        ("HEAD", "200 OK", true, true),
        ("GET", "304 Not Modified", true, false),
        ("GET", "204 No Content", false, false),
    ] {
        let backend = super::common::backend(move |mut stream| async move {
            while !head(&mut stream).await.is_empty() {
                let length = if length { "Content-Length: 5\r\n" } else { "" };
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n{length}\r\n").as_bytes()).await;
            }
        })
        .await;
        let world = World::new(backend, aware()).await;
        let mut browser = world.browser().await;
        for _ in 0..3 {
            let request = world.text(&format!("{method} / HTTP/1.1\nHost: HOST\n\n"));
            browser.write_all(request.as_bytes()).await.unwrap();
            let answer = head(&mut browser).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert_eq!(answer.contains("Content-Length: 5"), stays, "{answer}");
        }
    }
}
