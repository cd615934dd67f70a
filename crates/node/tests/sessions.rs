//! Sessions between our own peers: idle, used again, and honest about how a tunnel ended.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{TestNode, backend, echo, echoed, get, name, nobody, open, pair_for, service};
use hardline_node::access::Access;
use hardline_node::config::{IdentityConfig, IdleLimits, ServiceConfig, StaticAddress};
use hardline_node::limits::FRESH_SESSION;
use hardline_node::proto::KeyHash;
use hardline_node::session::v2;
use hardline_node::tls::identity::Identity;
use hardline_node::tls::sni;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

/// A cable between dialler and listener that counts connections, and can be cut.
struct Cable {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    state: watch::Sender<Wire>,
    /// Whether new connections end at once.
    is_closed: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq)]
enum Wire {
    Whole,
    /// Connections there are end, as if their peers had died.
    Cut,
    /// Connections there are stay, and carry nothing.
    Silent,
}

impl Cable {
    async fn to(listener: SocketAddr) -> Self {
        let connections = Arc::new(AtomicUsize::new(0));
        let (state, states) = watch::channel(Wire::Whole);
        let is_closed = Arc::new(AtomicBool::new(false));
        let (counted, is_refused) = (Arc::clone(&connections), Arc::clone(&is_closed));
        let addr = backend(move |mut near| {
            counted.fetch_add(1, Ordering::SeqCst);
            let is_refused = is_refused.load(Ordering::SeqCst);
            let mut states = states.clone();
            states.mark_unchanged();
            async move {
                if is_refused {
                    return;
                }
                let mut far = TcpStream::connect(listener).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = states.changed() => {}
                }
                if *states.borrow() == Wire::Silent {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await;
        Self { addr, connections, state, is_closed }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Changes the connections there are; new ones are whole.
    fn change(&self, wire: Wire) {
        self.state.send_replace(wire);
    }
}

/// A service, and a gateway that reaches it through a cable.
async fn through_a_cable(backend: SocketAddr) -> (TestNode, Cable, TestNode) {
    let listener = TestNode::listener(vec![service(backend)]).await;
    let cable = Cable::to(listener.p2p()).await;
    let gateway = TestNode::gateway(&[(listener.key(), cable.addr)]).await;
    (listener, cable, gateway)
}

/// A tunnel through which `text` went to an echo and back, both directions ended: its session is
/// idle again.
async fn say(gateway: &TestNode, key: KeyHash, text: &str) {
    let mut tunnel = gateway.node.connect(&name(key)).await.unwrap();
    assert_eq!(echoed(&mut tunnel, text).await, text);
}

/// Waits until `met`; a test that waits for ever is ended by its runner.
async fn until(met: impl Fn() -> bool) {
    while !met() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_session_is_used_again_without_another_handshake() {
    let (listener, cable, gateway) = through_a_cable(echo().await).await;
    for turn in 0..20 {
        say(&gateway, listener.key(), &format!("turn {turn}")).await;
    }
    assert!(
        cable.connections() <= 2,
        "one session, and a prewarmed one from the second use on: {}",
        cable.connections()
    );
}

#[tokio::test]
async fn rustls_may_make_the_records_of_either_side() {
    let backend = echo().await;
    let text: String = (0..300_000).map(|number| format!("{number} ")).collect();
    for (ours, theirs) in [(false, false), (true, false), (false, true)] {
        let listener = TestNode::start(|config| {
            config.gateway_port = None;
            config.services = vec![service(backend)];
            config.own_records = theirs;
        })
        .await;
        let cable = Cable::to(listener.p2p()).await;
        let gateway = TestNode::start(|config| {
            config.static_addresses = vec![StaticAddress { key: listener.key(), at: cable.addr.into() }];
            config.own_records = ours;
        })
        .await;
        for _ in 0..3 {
            let tunnel = gateway.node.connect(&name(listener.key())).await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(tunnel);
            let saying = async {
                writer.write_all(text.as_bytes()).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let mut heard = String::new();
            let (_, heard_all) = tokio::join!(saying, reader.read_to_string(&mut heard));
            heard_all.unwrap();
            assert!(heard == text, "{} of {} bytes", heard.len(), text.len());
            // Both halves gone, the session is idle.
            drop((reader, writer));
        }
        assert!(cable.connections() <= 2, "{}", cable.connections());
    }
}

#[tokio::test]
async fn a_request_over_an_idle_session_is_answered_and_costs_no_connection() {
    let hello = backend(|mut stream| async move {
        let mut head = BufReader::new(&mut stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            head.read_line(&mut line).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    })
    .await;
    let (listener, cable, gateway) = through_a_cable(hello).await;
    let host = format!("{}.localhost", listener.key());
    assert!(get(gateway.browser_addr(), &host, "").await.ends_with("hello"));
    for _ in 0..10 {
        let long = format!("Cookie: {}\r\n", "x".repeat(40_000)); // does not fit behind the question
        assert!(get(gateway.browser_addr(), &host, &long).await.ends_with("hello"));
        assert!(get(gateway.browser_addr(), &host, "").await.ends_with("hello"));
    }
    assert!(cable.connections() < 10, "{}", cable.connections());
}

#[tokio::test]
async fn an_idle_session_does_not_touch_the_backend() {
    let (counting, touched) = counting_echo().await;
    let (listener, cable, gateway) = through_a_cable(counting).await;
    say(&gateway, listener.key(), "one").await;
    say(&gateway, listener.key(), "two").await;
    until(|| cable.connections() == 2).await; // the prewarmed session
    // The spare one is taken for the third tunnel or lies beside it; either way there are three.
    say(&gateway, listener.key(), "three").await;
    assert_eq!(touched.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_service_that_is_kept_ready_is_dialled_before_anybody_asks_and_its_backend_is_not_touched() {
    let (counting, touched) = counting_echo().await;
    let (listener, cable, gateway) = kept_ready(counting, IdleLimits::DIALLER).await;
    until(|| cable.connections() == 1).await;
    cable.is_closed.store(true, Ordering::SeqCst);
    assert_eq!(touched.load(Ordering::SeqCst), 0);
    let mut tunnel = loop {
        // Until the session is idle there is no other way.
        if let Ok(tunnel) = gateway.node.connect(&name(listener.key())).await {
            break tunnel;
        }
    };
    assert_eq!(echoed(&mut tunnel, "first").await, "first");
    assert_eq!(touched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_kept_ready_is_dialled_anew_before_it_grows_too_old() {
    let idle_limits = IdleLimits { time: Duration::from_millis(200), ..IdleLimits::DIALLER };
    let (listener, cable, gateway) = kept_ready(echo().await, idle_limits).await;
    until(|| cable.connections() >= 4).await;
    say(&gateway, listener.key(), "at last").await;
}

/// An echo that counts its connections.
async fn counting_echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let touched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&touched);
    let addr = backend(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    })
    .await;
    (addr, touched)
}

/// A service, and a gateway that keeps it ready through a cable.
async fn kept_ready(backend: SocketAddr, idle_limits: IdleLimits) -> (TestNode, Cable, TestNode) {
    let listener = TestNode::listener(vec![service(backend)]).await;
    let cable = Cable::to(listener.p2p()).await;
    let gateway = TestNode::start(|config| {
        config.static_addresses = vec![StaticAddress { key: listener.key(), at: cable.addr.into() }];
        config.ready = vec![name(listener.key())];
        config.idle_limits = idle_limits;
    })
    .await;
    (listener, cable, gateway)
}

#[tokio::test]
async fn several_tunnels_at_once_have_a_session_each() {
    let (listener, cable, gateway) = through_a_cable(echo().await).await;
    let mut tunnels = Vec::new();
    for _ in 0..5 {
        tunnels.push(gateway.node.connect(&name(listener.key())).await.unwrap());
    }
    assert!(cable.connections() >= 5);
    for (number, tunnel) in tunnels.iter_mut().enumerate() {
        assert_eq!(echoed(tunnel, &number.to_string()).await, number.to_string());
    }
}

#[tokio::test]
async fn an_idle_session_that_dies_costs_the_user_nothing() {
    let (listener, cable, gateway) = through_a_cable(echo().await).await;
    for turn in 0..5 {
        say(&gateway, listener.key(), &format!("before {turn}")).await;
        cable.change(Wire::Cut);
        // The ends of the connections arrive with the rest of what is ready.
        tokio::task::yield_now().await;
        say(&gateway, listener.key(), &format!("after {turn}")).await;
    }
    assert!(cable.connections() >= 5);
}

#[tokio::test]
async fn an_idle_session_that_leads_nowhere_any_more_costs_a_moment_and_no_error() {
    let (listener, cable, gateway) = through_a_cable(echo().await).await;
    say(&gateway, listener.key(), "before").await;
    cable.change(Wire::Silent);
    tokio::time::pause();
    tokio::time::advance(FRESH_SESSION).await;
    tokio::time::resume();
    let host = format!("{}.localhost", listener.key());
    let mut browser = open(gateway.browser_addr(), &host, "").await;
    let mut heard = [0; 14];
    browser.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"GET / HTTP/1.1");
}

#[tokio::test]
async fn a_listener_that_was_restarted_is_reached_as_if_nothing_had_been() {
    let dir = tempfile::tempdir().unwrap();
    let backend = echo().await;
    let start = async |port: u16| {
        let identity = IdentityConfig::File(dir.path().join("id"));
        TestNode::start(|config| {
            config.gateway_port = None;
            config.p2p.port = port;
            config.services = vec![ServiceConfig { identity, ..service(backend) }];
        })
        .await
    };
    let listener = start(0).await;
    let (key, p2p) = (listener.key(), listener.p2p());
    let gateway = TestNode::gateway(&[(key, p2p)]).await;
    say(&gateway, key, "one").await;
    say(&gateway, key, "two").await;
    listener.node.shutdown().await;
    let listener = start(p2p.port()).await;
    assert_eq!(listener.p2p(), p2p);
    say(&gateway, key, "three").await;
}

#[tokio::test]
async fn a_download_that_is_cut_off_never_looks_complete() {
    let endless = backend(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nthe beginning").await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        std::future::pending::<()>().await;
    })
    .await;
    let (listener, cable, gateway) = through_a_cable(endless).await;
    let mut browser = open(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "").await;
    browser.read_exact(&mut [0; 32]).await.unwrap();
    cable.change(Wire::Cut); // both sides see the end of the connection, and no reset
    let error = browser.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_browser_that_breaks_off_is_a_reset_at_the_backend() {
    let (broken, how) = tokio::sync::oneshot::channel();
    let broken = std::sync::Mutex::new(Some(broken));
    let watching = backend(move |mut stream| {
        let broken = broken.lock().unwrap().take();
        async move {
            stream.write_all(b"x").await.unwrap();
            let end = stream.read_to_end(&mut Vec::new()).await;
            broken.unwrap().send(end.map_err(|error| error.kind())).unwrap();
        }
    })
    .await;
    let (listener, _cable, gateway) = through_a_cable(watching).await;
    let mut browser = open(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "").await;
    browser.read_exact(&mut [0]).await.unwrap();
    browser.set_zero_linger().unwrap();
    drop(browser);
    assert_eq!(how.await.unwrap(), Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_session_whose_tunnel_broke_is_not_used_again() {
    let breaking = backend(|mut stream| async move {
        let mut asked = [0];
        let _ = stream.read(&mut asked).await;
        if asked == *b"!" {
            stream.set_zero_linger().unwrap();
        } else {
            stream.write_all(&asked).await.unwrap();
        }
    })
    .await;
    let (listener, cable, gateway) = through_a_cable(breaking).await;
    for _ in 0..3 {
        let before = cable.connections();
        let mut tunnel = gateway.node.connect(&name(listener.key())).await.unwrap();
        tunnel.write_all(b"!").await.unwrap();
        let error = tunnel.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        drop(tunnel);
        say(&gateway, listener.key(), "?").await;
        assert!(cable.connections() > before);
    }
}

#[tokio::test]
async fn why_a_service_refuses_is_told_apart() {
    let (listener, gateway) = pair_for(service(nobody().await)).await;
    let host = format!("{}.localhost", listener.key());
    for _ in 0..2 {
        let answer = get(gateway.browser_addr(), &host, "Accept: application/json\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("\"backend_down\""), "{answer}");
        assert!(!answer.contains("password"), "{answer}");
    }

    let mut guarded = service(echo().await);
    guarded.access = Some(Access::Password("sesame".into()));
    let (listener, gateway) = pair_for(guarded).await;
    for (host, code) in [
        (format!("{}.localhost", listener.key()), "\"password_needed\""),
        (format!("wrong-{}.localhost", listener.key()), "\"wrong_password\""),
    ] {
        let answer = get(gateway.browser_addr(), &host, "Accept: application/json\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(code), "{answer}");
    }
}

#[tokio::test]
async fn a_backend_that_comes_up_is_reached_over_the_session_that_was_refused() {
    // Its port is its own already, and nobody else's meanwhile; connections are refused until it
    // listens.
    let program = tokio::net::TcpSocket::new_v4().unwrap();
    program.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (listener, cable, gateway) = through_a_cable(program.local_addr().unwrap()).await;
    assert!(gateway.node.connect(&name(listener.key())).await.is_err());
    let program = program.listen(1).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = program.accept().await.unwrap();
        stream.write_all(b"up").await.unwrap();
    });
    let mut tunnel = gateway.node.connect(&name(listener.key())).await.unwrap();
    let mut heard = String::new();
    tunnel.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "up");
    assert!(cable.connections() <= 2);
}

/// What a listener of our own making does when it is asked for a tunnel.
#[derive(Clone, Copy)]
enum Do {
    /// Answers, and ends both directions without a word.
    Serve,
    /// Closes the session as if it had been about to when the question came.
    Close,
    /// Goes away in the middle.
    Die,
}

/// A listener of version 2 that does with each session what its script says, and counts the
/// questions.
async fn scripted(scripts: &'static [&'static [Do]]) -> (KeyHash, SocketAddr, Arc<AtomicUsize>) {
    let identity = Identity::ephemeral().unwrap();
    let acceptor = TlsAcceptor::from(v2::server_tls(&identity));
    let (sessions, asked) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&asked);
    let addr = backend(move |stream| {
        let script = scripts.get(sessions.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or_default();
        let (acceptor, asked) = (acceptor.clone(), Arc::clone(&counted));
        async move {
            let mut session = BufReader::new(acceptor.accept(stream).await.unwrap());
            session.write_all(b"{}\n").await.unwrap();
            assert_eq!(line(&mut session).await, "{}\n");
            for step in script {
                assert_eq!(line(&mut session).await, "{\"open\":{}}\n");
                asked.fetch_add(1, Ordering::SeqCst);
                match step {
                    Do::Serve => session.write_all(b"{\"opened\":{}}\n\0\0").await.unwrap(),
                    Do::Close => session.shutdown().await.unwrap(),
                    Do::Die => return,
                }
                while session.read_u16().await.is_ok_and(|length| length != 0) {}
            }
            std::future::pending::<()>().await;
        }
    })
    .await;
    (identity.key, addr, asked)
}

type Session = BufReader<server::TlsStream<TcpStream>>;

async fn line(session: &mut Session) -> String {
    let mut line = String::new();
    session.read_line(&mut line).await.unwrap();
    line
}

/// A whole tunnel that carries nothing.
async fn nothing(gateway: &TestNode, key: KeyHash) {
    let mut tunnel = gateway.node.connect(&name(key)).await.unwrap();
    assert_eq!(echoed(&mut tunnel, "").await, "");
}

#[tokio::test]
async fn a_question_that_met_a_closing_session_is_asked_again_elsewhere() {
    let (key, at, asked) = scripted(&[&[Do::Serve, Do::Close], &[Do::Serve]]).await;
    let gateway = TestNode::gateway(&[(key, at)]).await;
    nothing(&gateway, key).await;
    let answer = get(gateway.browser_addr(), &format!("{key}.localhost"), "").await;
    assert_eq!(answer, "", "the second session's tunnel ended without a word");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_may_have_been_received_is_not_sent_again() {
    for (method, more) in [("POST", ""), ("DELETE", ""), ("GET", "Content-Length: 1\r\n"), ("GET", "Upgrade: x\r\n")] {
        let (key, at, asked) = scripted(&[&[Do::Serve, Do::Die], &[Do::Serve]]).await;
        let gateway = TestNode::gateway(&[(key, at)]).await;
        nothing(&gateway, key).await;
        let mut browser = TcpStream::connect(gateway.browser_addr()).await.unwrap();
        let head = format!("{method} / HTTP/1.1\r\nHost: {key}.localhost\r\nAccept: application/json\r\n{more}\r\n");
        browser.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        browser.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("\"unanswered\""), "{method}: {answer}");
        assert_eq!(asked.load(Ordering::SeqCst), 2, "{method}");
    }
}

#[tokio::test]
async fn a_safe_request_whose_connection_broke_is_sent_again() {
    let (key, at, asked) = scripted(&[&[Do::Serve, Do::Die], &[Do::Serve]]).await;
    let gateway = TestNode::gateway(&[(key, at)]).await;
    nothing(&gateway, key).await;
    let answer = get(gateway.browser_addr(), &format!("{key}.localhost"), "").await;
    assert_eq!(answer, "", "the second session's tunnel ended without a word");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

/// The first to be verified may be somebody who passes the handshake on, and then nothing more.
#[tokio::test]
async fn a_request_that_has_gone_to_somebody_who_stalls_goes_over_the_connection_that_answers_too() {
    let identity = Identity::ephemeral().unwrap();
    let acceptor = TlsAcceptor::from(v2::server_tls(&identity));
    let (heard, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let [stalls, answers] = [false, true].map(|answers| {
        let (acceptor, heard) = (acceptor.clone(), heard.clone());
        backend(move |stream| {
            let (acceptor, heard) = (acceptor.clone(), heard.clone());
            async move {
                let mut session = BufReader::new(acceptor.accept(stream).await.unwrap());
                session.write_all(b"{}\n").await.unwrap();
                assert_eq!(line(&mut session).await + &line(&mut session).await, "{}\n{\"open\":{}}\n");
                if answers {
                    session.write_all(b"{\"opened\":{}}\n\0\x06answer\0\0").await.unwrap();
                }
                let length = session.read_u16().await.unwrap();
                let mut request = vec![0; length.into()];
                session.read_exact(&mut request).await.unwrap();
                heard.send((answers, String::from_utf8(request).unwrap())).unwrap();
                std::future::pending::<()>().await;
            }
        })
    });
    let gateway = TestNode::gateway(&[(identity.key, stalls.await), (identity.key, answers.await)]).await;
    let mut browser = open(gateway.browser_addr(), &format!("{}.localhost", identity.key), "").await;
    let mut answer = [0; 6];
    browser.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
    for of in [false, true] {
        let (answers, request) = asked.recv().await.unwrap();
        assert!(answers == of && request.starts_with("GET / HTTP/1.1\r\n"), "{answers}: {request}");
    }
}

#[tokio::test]
async fn a_listener_refuses_by_name_what_it_does_not_understand_and_serves_on() {
    let mut guarded = service(echo().await);
    guarded.access = Some(Access::Password("sesame".into()));
    let listener = TestNode::listener(vec![guarded]).await;
    let tls = TlsConnector::from(v2::client_tls(listener.key(), true));
    let tcp = TcpStream::connect(listener.p2p()).await.unwrap();
    let mut session = BufReader::new(tls.connect(sni::server_name(listener.key()).unwrap(), tcp).await.unwrap());
    let mut heard = String::new();
    session.write_all(b"{\"password\":\"no\",\"newer\":1}\n{\"open\":{\"color\":1}}\n\0\x05bytes\0\0").await.unwrap();
    session.flush().await.unwrap();
    session.read_line(&mut heard).await.unwrap();
    assert!(heard.starts_with("{\"WANHosts\":"), "{heard}");
    for unknown in [",\"unknown\":[\"color\"]", ""] {
        heard.clear();
        session.read_line(&mut heard).await.unwrap();
        assert_eq!(heard, format!("{{\"refused\":\"password\"{unknown}}}\n"));
        session.write_all(b"{\"open\":{}}\n\0\0").await.unwrap();
        session.flush().await.unwrap();
    }
}
