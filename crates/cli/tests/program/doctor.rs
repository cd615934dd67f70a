//! `hardline doctor`.

use std::net::TcpListener;

use serde_json::Value;

use crate::common::{Outcome, Program, free_port};

#[test]
fn a_computer_where_all_is_well_ends_with_0() {
    let (gateway, p2p) = (free_port().to_string(), free_port().to_string());
    let outcome = Program::new().run(["doctor", "--gateway-port", &gateway, "--p2p-port", &p2p]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    let free = ["where browsers connect, is free", "where other computers connect, is free"];
    for sentence in free.into_iter().chain(["can be written", "Discovery works on lo (127.0.0.1)"]) {
        assert!(outcome.stdout.contains(sentence), "{}", outcome.stdout);
    }
}

#[test]
fn every_finding_is_an_object_with_a_sentence_and_what_is_wrong_has_a_remedy() {
    let outcome = Program::new().run(["doctor", "--json"]);
    let events = outcome.events();
    for about in
        ["configuration", "data_folder", "gateway_port", "p2p_port", "ipv6_loopback", "multicast", "names", "addresses"]
    {
        let finding = finding(&outcome, about);
        assert!(finding["sentence"].as_str().unwrap().ends_with('.'), "{finding}");
        assert!(finding["state"] == "fine" || finding["remedy"].is_string(), "{finding}");
    }
    assert_eq!(events.last().unwrap()["event"], "done");
}

#[test]
fn a_gateways_port_that_another_program_has_is_wrong_and_the_program_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let outcome = Program::new().run(["doctor", "--json", "--gateway-port", &port]);
    assert_eq!(outcome.code, Some(8));
    let finding = finding(&outcome, "gateway_port");
    assert_eq!(finding["state"], "wrong");
    if cfg!(target_os = "linux") {
        let process = format!("(process {})", std::process::id());
        assert!(finding["sentence"].as_str().unwrap().contains(&process), "{finding}");
    }
}

#[test]
fn a_gateway_that_runs_already_is_fine() {
    let program = Program::new();
    let gateway = program.start::<_, &str>([]);
    let outcome = program.run(["doctor", "--json", "--gateway-port", &gateway.gateway().port().to_string()]);
    let finding = finding(&outcome, "gateway_port");
    assert_eq!(finding["state"], "fine", "{finding}");
    assert!(finding["sentence"].as_str().unwrap().contains("A hardline serves browsers"), "{finding}");
}

#[test]
fn a_p2p_port_that_another_program_has_is_no_more_than_a_note() {
    let other = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let outcome = Program::new().run(["doctor", "--json", "--p2p-port", &port]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    assert_eq!(finding(&outcome, "p2p_port")["state"], "note");
}

#[test]
fn a_data_folder_that_cannot_be_written_and_a_bad_configuration_are_wrong() {
    let program = Program::new();
    let file = program.home().join("file");
    std::fs::write(&file, "").unwrap();
    let outcome = program.run(["doctor", "--json", "--data-dir", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(8));
    assert_eq!(finding(&outcome, "data_folder")["state"], "wrong");

    let outcome = program.run(["doctor", "--json", "--set", "gateway.prot=1"]);
    assert_eq!(outcome.code, Some(8));
    assert!(finding(&outcome, "configuration")["sentence"].as_str().unwrap().contains("gateway.port"));
}

#[track_caller]
fn finding(outcome: &Outcome, about: &str) -> Value {
    outcome.events().into_iter().find(|event| event["about"] == about).unwrap()
}
