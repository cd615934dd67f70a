//! `hardline share`: links that answer, and stay the same.

use std::net::TcpListener;

use crate::common::{Program, get, key_of, web_server};

#[test]
fn the_link_answers_through_the_gateway_that_share_runs() {
    let port = web_server("hello from the backend").to_string();
    let program = Program::new();
    let sharing = program.start(["share", &port]);
    let answer = get(sharing.gateway(), &sharing.link());
    assert!(answer.ends_with("hello from the backend"), "{answer}");
}

#[test]
fn the_link_answers_through_the_gateway_of_another_computer_on_the_lan() {
    let here = Program::new();
    let there = here.neighbour();
    let sharing = here.start(["share", &web_server("found on the LAN").to_string()]);
    let gateway = there.start::<_, &str>([]);
    let answer = get(gateway.gateway(), &sharing.link());
    assert!(answer.ends_with("found on the LAN"), "{answer}");
}

#[test]
fn a_folder_is_shown() {
    let program = Program::new();
    std::fs::create_dir(program.home().join("pictures")).unwrap();
    std::fs::write(program.home().join("pictures/cat.txt"), "a cat").unwrap();
    let sharing = program.start(["share", "./pictures"]);
    assert_eq!(sharing.ready["services"][0]["title"], "pictures");
    assert!(get(sharing.gateway(), &sharing.link()).contains("cat.txt"));
}

#[test]
fn the_same_target_keeps_the_same_link_and_others_have_others() {
    let program = Program::new();
    let key = |arguments: &[&str]| key_of(&program.start(arguments).link()).to_owned();
    let first = key(&["share", "8080"]);
    assert_eq!(key(&["share", "localhost:8080"]), first);
    assert_eq!(key(&["share", "8080", "--title", "Another title"]), first);
    assert_ne!(key(&["share", "8081"]), first);
    let named = key(&["share", "8080", "--name", "blog"]);
    assert_ne!(named, first);
    assert_eq!(key(&["share", "8082", "--name", "blog"]), named);
    let throwaway = key(&["share", "8080", "--ephemeral"]);
    assert_ne!(throwaway, first);
    assert_ne!(key(&["share", "8080", "--ephemeral"]), throwaway);
}

#[test]
fn a_link_with_a_password_answers_and_one_without_does_not() {
    let program = Program::new();
    let secret = program.home().join("secret");
    std::fs::write(&secret, "sesame\n").unwrap();
    let port = web_server("treasure").to_string();
    let sharing = program.start(["share", &port, "--password-file", secret.to_str().unwrap()]);
    let link = sharing.link();
    assert!(link.starts_with("http://sesame-"), "{link}");
    assert!(get(sharing.gateway(), &link).ends_with("treasure"));
    assert!(get(sharing.gateway(), &link.replace("sesame-", "")).starts_with("HTTP/1.1 403 "));
    assert!(get(sharing.gateway(), &link.replace("sesame-", "guess-")).starts_with("HTTP/1.1 403 "));
}

#[test]
fn where_another_hardline_has_the_gateways_port_share_goes_on_without_one() {
    let program = Program::new();
    let gateway = program.start::<_, &str>([]);
    let port = gateway.gateway().port().to_string();
    let backend = web_server("through the other gateway").to_string();
    let sharing = program.start(["share", &backend, "--gateway-port", &port]);
    assert_eq!(sharing.ready["gateway"].as_array().unwrap().len(), 0);
    assert!(sharing.link().ends_with(&format!(":{port}/")), "{}", sharing.link());
    assert!(get(gateway.gateway(), &sharing.link()).ends_with("through the other gateway"));
}

#[test]
fn where_another_hardline_has_the_gateways_port_a_second_gateway_fails_with_4_and_says_why() {
    let program = Program::new();
    let gateway = program.start::<_, &str>([]);
    let outcome = program.run(["--gateway-port", &gateway.gateway().port().to_string()]);
    assert_eq!(outcome.code, Some(4));
    assert!(outcome.stderr.contains("is used by another hardline"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--gateway-port"), "{}", outcome.stderr);
}

#[test]
fn where_another_program_has_the_gateways_port_share_fails_with_4_and_says_why() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let outcome = Program::new().run(["share", "8080", "--gateway-port", &port]);
    assert_eq!(outcome.code, Some(4));
    assert!(outcome.stderr.contains(&format!("port {port}, where browsers connect, is used by")), "{}", outcome.stderr);
}

#[test]
fn what_is_no_target_is_refused_with_2_and_the_forms_there_are() {
    for target in ["./absent", "example", "0", "70000", "unix:"] {
        let outcome = Program::new().run(["share", target]);
        assert_eq!(outcome.code, Some(2), "{target}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("unix:/path/to/socket"), "{target}: {}", outcome.stderr);
    }
}
