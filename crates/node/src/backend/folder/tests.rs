use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn a_file_is_served_with_its_type_and_length() {
    let share = Share::new(&[("a.txt", "hello"), ("b.png", "x"), ("c", "x"), ("d.html", "x")]);
    let reply = share.get("/a.txt").await;
    assert_eq!((reply.status, reply.text()), (200, "hello"));
    assert_eq!(reply.header("content-length"), "5");
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(reply.header("accept-ranges"), "bytes");
    assert_eq!(share.get("/b.png").await.header("content-type"), "image/png");
    assert_eq!(share.get("/c").await.header("content-type"), "application/octet-stream");
    assert_eq!(share.get("/d.html").await.header("content-type"), "text/html");
}

#[tokio::test]
async fn every_response_keeps_types_and_the_address_to_itself() {
    let share = Share::new(&[("a.txt", "hello")]);
    for request in [get("/a.txt"), get("/"), get("/nothing"), request("POST", "/", "")] {
        let reply = share.ask(&request).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{request}");
        assert_eq!(reply.header("referrer-policy"), "same-origin", "{request}");
        assert_eq!(reply.header("cache-control"), "no-cache", "{request}");
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let share = Share::new(&[("a.txt", "first"), ("b.txt", "second")]);
    let pipelined = "GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned() + &get("/b.txt");
    let (bytes, mut connection) = (pipelined.into_bytes(), share.server.connect());
    connection.write_all(&bytes).await.unwrap();
    let mut all = String::new();
    connection.read_to_string(&mut all).await.unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 2);
    assert!(all.contains("\r\n\r\nfirst") && all.ends_with("\r\n\r\nsecond"), "{all}");
}

#[tokio::test]
async fn a_reader_that_has_closed_its_sending_side_still_gets_its_answer() {
    let share = Share::new(&[("a.txt", "hello")]);
    let mut connection = share.server.connect();
    connection.write_all(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut all = String::new();
    connection.read_to_string(&mut all).await.unwrap();
    assert!(all.ends_with("\r\n\r\nhello"), "{all}");
}

#[tokio::test]
async fn head_says_what_get_would_without_a_body() {
    let share = Share::new(&[("a.txt", "hello")]);
    for path in ["/a.txt", "/", "/nothing"] {
        let (get, head) = (share.get(path).await, share.ask(&request("HEAD", path, "")).await);
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.body, b"", "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_allowed() {
    let share = Share::new(&[("a.txt", "hello")]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "TRACE"] {
        let reply = share.ask(&request(method, "/a.txt", "Content-Length: 0\r\n")).await;
        assert_eq!((reply.status, reply.header("allow")), (405, "GET, HEAD"), "{method}");
    }
    assert_eq!(share.get("/a.txt").await.text(), "hello");
}

#[tokio::test]
async fn parts_of_a_file_are_served() {
    let share = Share::new(&[("a", "0123456789")]);
    for (range, status, content_range, body) in [
        ("bytes=0-3", 206, "bytes 0-3/10", "0123"),
        ("bytes=4-", 206, "bytes 4-9/10", "456789"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=4-100", 206, "bytes 4-9/10", "456789"),
        ("bytes=10-", 416, "bytes */10", ""),
        ("bytes=5-2", 416, "bytes */10", ""),
        ("bytes=0-1,4-5", 200, "", "0123456789"),
    ] {
        let reply = share.ask(&request("GET", "/a", &format!("Range: {range}\r\n"))).await;
        assert_eq!(
            (reply.status, reply.header("content-range"), reply.text()),
            (status, content_range, body),
            "{range}"
        );
    }
}

#[tokio::test]
async fn a_part_is_only_taken_from_the_version_that_the_reader_has() {
    let share = Share::new(&[("a", "0123456789")]);
    let now = share.get("/a").await;
    let part = async |condition: &str| {
        let headers = format!("Range: bytes=2-4\r\nIf-Range: {condition}\r\n");
        let reply = share.ask(&request("GET", "/a", &headers)).await;
        (reply.status, reply.text().to_owned())
    };
    assert_eq!(part(now.header("etag")).await, (206, "234".to_owned()));
    assert_eq!(part("\"another\"").await, (200, "0123456789".to_owned()));
    assert_eq!(part(&format!("W/{}", now.header("etag"))).await, (200, "0123456789".to_owned()));
    assert_eq!(part(now.header("last-modified")).await, (200, "0123456789".to_owned()));
}

#[tokio::test]
async fn what_the_reader_has_already_is_not_sent_again() {
    let share = Share::new(&[("a", "hello")]);
    let now = share.get("/a").await;
    let with = async |header: String| share.ask(&request("GET", "/a", &header)).await;
    assert_eq!(with(format!("If-None-Match: {}\r\n", now.header("etag"))).await.status, 304);
    assert_eq!(with(format!("If-Modified-Since: {}\r\n", now.header("last-modified"))).await.status, 304);
    assert_eq!(with("If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n".into()).await.text(), "hello");

    fs::write(share.path("a"), "hello again").unwrap();
    assert_eq!(with(format!("If-None-Match: {}\r\n", now.header("etag"))).await.text(), "hello again");
}

#[tokio::test]
async fn a_listing_shows_folders_first_then_files_by_name() {
    let share = Share::new(&[("b.txt", "x"), ("A.txt", "x"), ("zoo/x", "x"), ("c.txt", "x")]);
    let reply = share.get("/").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(reply.links(), ["zoo/", "A.txt", "b.txt", "c.txt"]);
}

#[tokio::test]
async fn a_listing_shows_sizes_and_times() {
    let share = Share::new(&[("a", "x")]);
    let a = fs::File::options().write(true).open(share.path("a")).unwrap();
    a.set_len(1_500_000).unwrap();
    a.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    let reply = share.get("/").await;
    assert!(reply.text().contains("1.5 MB"));
    assert!(reply.text().contains("datetime=\"2001-09-09T01:46:40Z\""));
    assert!(reply.text().contains("<footer>1 file<"));
}

#[tokio::test]
async fn an_empty_folder_says_so() {
    assert!(Share::new(&[]).get("/").await.text().contains("This folder is empty."));
}

#[tokio::test]
async fn the_way_back_up_is_shown() {
    let share = Share::new(&[("a b/c/d.txt", "x")]);
    let reply = share.get("/a%20b/c/").await;
    assert_eq!(reply.links(), ["/", "/a%20b/", "d.txt"]);
}

#[tokio::test]
async fn a_folder_without_its_slash_is_redirected() {
    let share = Share::new(&[("a b/c.txt", "x")]);
    let reply = share.get("/a%20b?q=1").await;
    assert_eq!((reply.status, reply.header("location")), (307, "/a%20b/?q=1"));
    assert_eq!(share.get("/a%20b/c.txt/").await.status, 404);
}

#[tokio::test]
async fn an_index_page_is_shown_instead_of_a_listing() {
    let share = Share::new(&[("index.html", "<p>welcome"), ("a/x", ""), ("b/index.html/x", "")]);
    let reply = share.get("/").await;
    assert_eq!((reply.text(), reply.header("content-type")), ("<p>welcome", "text/html"));
    assert_eq!(share.get("/a/").await.links(), ["/", "x"]);
    assert_eq!(share.get("/b/").await.links(), ["/", "index.html/"], "a folder is no page");
    assert_eq!(share.get("/b").await.status, 307);
}

#[cfg(unix)]
#[tokio::test]
async fn odd_names_are_shown_as_text_and_lead_to_their_files() {
    use std::os::unix::ffi::OsStrExt;
    let names: [&[u8]; 11] = [
        b"with space",
        b"#hash?query%41",
        b"\"quotes'",
        b"<script>alert(1)<script>.txt",
        b"caf\xe9",
        "ü日本".as_bytes(),
        b"javascript:alert(1)",
        b"back\\slash",
        b"new\nline",
        b"a&b=c;d",
        b"~",
    ];
    let share = Share::new(&[]);
    for name in names {
        fs::write(share.folder.path().join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    let listing = share.get("/").await;
    assert!(!listing.text().contains("<script"));
    let mut served = Vec::new();
    for link in listing.links() {
        assert!(!link.contains(':') && !link.starts_with('/'), "{link}");
        served.push(share.get(&format!("/{link}")).await.body);
    }
    served.sort();
    let mut names = names.map(<[u8]>::to_vec);
    names.sort();
    assert_eq!(served, names);
}

#[tokio::test]
async fn hidden_files_are_neither_listed_nor_served() {
    let share = Share::new(&[(".secret", "x"), (".git/config", "x"), ("a/.env", "x"), ("a/b", "x")]);
    assert_eq!(share.get("/").await.links(), ["a/"]);
    assert_eq!(share.get("/a/").await.links(), ["/", "b"]);
    for path in ["/.secret", "/%2esecret", "/.git/config", "/.git/", "/a/.env", "/a/../.secret"] {
        assert_eq!(share.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn nothing_outside_the_folder_is_served() {
    let share = Share::new(&[("a/b", "x")]);
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    for path in [
        format!("/../{name}/secret"),
        format!("/a/../../{name}/secret"),
        format!("/%2e%2e/{name}/secret"),
        format!("/..%2f{name}%2fsecret"),
        format!("/{}/secret", outside.path().display()),
        format!("/%2f{}/secret", &outside.path().display().to_string()[1..]),
        "/etc/passwd".into(),
        "//etc/passwd".into(),
        "/a/b/../../../etc/passwd".into(),
    ] {
        assert_eq!(share.get(&path).await.status, 404, "{path}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_inside_are_followed_and_those_that_lead_outside_are_not() {
    use std::os::unix::fs::symlink;
    let share = Share::new(&[("a/b", "inside"), (".hidden/c", "hidden")]);
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let outside_name = outside.path().file_name().unwrap();
    for (target, link) in [
        ("a/b".into(), "good"),
        ("../a".into(), "a/up"),
        (outside.path().join("secret"), "absolute"),
        (outside.path().to_path_buf(), "folder"),
        (Path::new("..").join(outside_name).join("secret"), "relative"),
        (Path::new("../..").join(outside_name), "a/relative"),
        (".hidden/c".into(), "to-hidden"),
        ("nowhere".into(), "dangling"),
        ("loop".into(), "loop"),
        (outside.path().join("secret"), "a/index.html"),
    ] {
        symlink(target, share.path(link)).unwrap();
    }
    assert_eq!(share.get("/good").await.text(), "inside");
    assert_eq!(share.get("/a/up/b").await.text(), "inside");
    assert_eq!(share.get("/").await.links(), ["a/", "good"]);
    assert_eq!(share.get("/a/").await.links(), ["/", "up/", "b"]);
    for path in [
        "/absolute",
        "/folder",
        "/folder/secret",
        "/relative",
        "/a/relative/secret",
        "/to-hidden",
        "/dangling",
        "/loop",
        "/a/index.html",
    ] {
        let reply = share.get(path).await;
        assert!(reply.status == 404 || reply.status == 503, "{path}: {}", reply.status);
        assert!(!reply.text().contains("secret"), "{path}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_or_a_socket_in_the_folder_is_not_waited_for() {
    let share = Share::new(&[("a", "x")]);
    let made = std::process::Command::new("mkfifo").arg(share.path("pipe")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(share.path("socket")).unwrap();
    assert_eq!(share.get("/").await.links(), ["a"]);
    assert_eq!(share.get("/pipe").await.status, 404);
    assert_eq!(share.get("/socket").await.status, 404);
}

#[tokio::test]
async fn of_a_huge_folder_the_first_entries_are_shown_and_the_rest_is_counted() {
    let share = Share::new(&[]);
    for n in 0..root::MAX_ENTRIES + 7 {
        fs::write(share.path(&format!("{n:06}")), "").unwrap();
    }
    let reply = share.get("/").await;
    let links = reply.links();
    assert_eq!((links.len(), links[0], links[root::MAX_ENTRIES - 1]), (root::MAX_ENTRIES, "000000", "004999"));
    assert!(reply.text().contains("7 more are not"));
    assert!(reply.body.len() < 2 << 20, "{}", reply.body.len());
}

#[cfg(unix)]
#[tokio::test]
async fn a_symbolic_link_to_itself_is_not_there() {
    let share = Share::new(&[("share/a", "x")]);
    std::os::unix::fs::symlink("loop", share.path("share/loop")).unwrap();
    let server = FolderServer::new(share.path("share")).unwrap();
    assert_eq!(ask(&server, &get("/loop")).await.status, 404);
    assert_eq!(ask(&server, &get("/loop/a")).await.status, 404);
    assert_eq!(ask(&server, &get("/a")).await.text(), "x");
}

#[tokio::test]
async fn a_folder_that_is_away_and_comes_back_is_shown_again() {
    let share = Share::new(&[("share/a", "x")]);
    let server = FolderServer::new(share.path("share")).unwrap();
    fs::rename(share.path("share"), share.path("away")).unwrap();
    assert_eq!(ask(&server, &get("/a")).await.status, 503);
    fs::rename(share.path("away"), share.path("share")).unwrap();
    assert_eq!(ask(&server, &get("/a")).await.text(), "x");
}

#[test]
fn what_is_no_folder_cannot_be_shown() {
    let share = Share::new(&[("a", "x")]);
    assert_eq!(FolderServer::new(share.path("a")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    assert_eq!(FolderServer::new(share.path("b")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_reader_that_hangs_up_ends_the_serving_task() {
    let share = Share::new(&[]);
    fs::File::create(share.path("huge")).unwrap().set_len(1 << 30).unwrap();
    let mut connection = share.server.connect();
    connection.write_all(get("/huge").as_bytes()).await.unwrap();
    connection.read_exact(&mut [0; 1000]).await.unwrap();
    drop(connection);
    all_tasks_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_or_never_ends_its_head_is_closed() {
    let share = Share::new(&[]);
    for head in ["", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut connection = share.server.connect();
        connection.write_all(head.as_bytes()).await.unwrap();
        let before = tokio::time::Instant::now();
        let mut said = String::new();
        connection.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "", "a browser would take words for the answer to its next request");
        assert!(before.elapsed() >= HEAD_TIMEOUT && before.elapsed() < 2 * HEAD_TIMEOUT);
    }
    all_tasks_end().await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let share = Share::new(&[]);
    let reply = share.ask(&request("GET", "/", &format!("x: {}\r\n", "y".repeat(2 * MAX_HEAD)))).await;
    assert_eq!(reply.status, 431);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_request_gets_a_byte_of_what_is_not_shared(path in "/(\\.|/|%2[eEfF]|a|link|\\.hidden|secret|%00|\\?){0,12}") {
        let outer = TempDir::new().unwrap();
        fs::write(outer.path().join("secret"), "SECRET").unwrap();
        fs::create_dir_all(outer.path().join("a/.hidden")).unwrap();
        fs::write(outer.path().join("a/.hidden/secret"), "SECRET").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("..", outer.path().join("a/link")).unwrap();
        let server = FolderServer::new(outer.path().join("a")).unwrap();
        let reply = runtime().block_on(ask(&server, &get(&path)));
        prop_assert!(!reply.text().contains("SECRET"));
        prop_assert!(!reply.text().contains(".hidden"));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn all_tasks_end() {
    while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
}

/// A folder with files in it, and its server.
struct Share {
    folder: TempDir,
    server: FolderServer,
}

impl Share {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let server = FolderServer::new(folder.path().to_path_buf()).unwrap();
        Self { folder, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(&get(path)).await
    }

    async fn ask(&self, request: &str) -> Reply {
        ask(&self.server, request).await
    }
}

fn get(path: &str) -> String {
    request("GET", path, "")
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n")
}

async fn ask(server: &FolderServer, request: &str) -> Reply {
    let mut connection = server.connect();
    // A refusal may come, and the server may close, before all was sent.
    let _ = connection.write_all(request.as_bytes()).await;
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).await.unwrap();
    Reply::parse(&bytes)
}

struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let mut lines = std::str::from_utf8(&bytes[..end]).unwrap().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Targets of all links of the page, icons and the like left out.
    fn links(&self) -> Vec<&str> {
        self.text()
            .split("<a ")
            .skip(1)
            .map(|rest| rest.split_once("href=\"").unwrap().1.split_once('"').unwrap().0)
            .collect()
    }
}
