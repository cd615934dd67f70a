//! `hardline browse` and `hardline peers`.

use std::path::Path;

use crate::common::{Program, get, key_of, web_server};

#[test]
fn browse_lists_what_is_announced_and_leaves_out_what_is_unlisted() {
    let here = Program::new();
    let listed = here.start(["share", "8080", "--title", "Listed"]);
    let _unlisted = here.neighbour().start(["share", "8081", "--title", "Unlisted", "--unlisted"]);
    let outcome = here.neighbour().run(["browse", "--once", "--json"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let events = outcome.events();
    assert_eq!(events.first().unwrap()["event"], "ready");
    assert_eq!(events.last().unwrap()["event"], "done");
    let found: Vec<_> = events.iter().filter(|event| event["event"] == "found").collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["title"], "Listed");
    assert_eq!(found[0]["key"], key_of(&listed.link()));
    assert_eq!(found[0]["addresses"][0], listed.p2p());
}

#[test]
fn browse_shows_a_service_that_begins_while_it_runs() {
    let here = Program::new();
    let browsing = here.start(["browse"]);
    let sharing = here.neighbour().start(["share", "8080", "--title", "Newcomer"]);
    let found = browsing.event(|event| event["event"] == "found");
    assert_eq!(found["title"], "Newcomer");
    assert_eq!(found["key"], key_of(&sharing.link()));
    let (status, ..) = browsing.stop();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn browse_for_people_has_title_link_and_address_in_a_line() {
    let here = Program::new();
    let sharing = here.start(["share", "8080", "--title", "Pictures"]);
    let outcome = here.neighbour().run(["browse", "--wait", "1", "--gateway-port", "7009"]);
    let line = format!("+ Pictures  http://{}.localhost:7009/  {}\n", key_of(&sharing.link()), sharing.p2p());
    assert_eq!(outcome.stdout, line);
}

#[test]
fn browse_of_an_empty_network_says_so() {
    let outcome = Program::new().run(["browse", "--wait", "1"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""));
    assert!(outcome.stderr.contains("Nothing is announced"), "{}", outcome.stderr);
}

#[test]
fn a_service_that_was_reached_is_remembered_until_it_is_forgotten() {
    let here = Program::new();
    let there = here.neighbour();
    let sharing = here.start(["share", &web_server("remember me").to_string(), "--title", "Memorable"]);
    let gateway = there.start::<_, &str>([]);
    assert!(get(gateway.gateway(), &sharing.link()).ends_with("remember me"));
    assert_eq!(gateway.stop().0.code(), Some(0));

    let peers = there.run(["peers", "--json"]).events();
    assert_eq!(peers.len(), 1, "{peers:?}");
    assert_eq!(peers[0]["key"], key_of(&sharing.link()));
    assert_eq!(peers[0]["addresses"][0]["address"], sharing.p2p());
    assert!(there.run(["peers"]).stdout.contains("heard on the local network "));

    assert_eq!(there.run(["peers", "forget", &sharing.link()]).code, Some(0));
    assert_eq!(there.run(["peers", "--json"]).stdout, "");
    assert_eq!(there.run(["peers", "forget", &sharing.link()]).code, Some(5));
}

#[test]
fn addresses_of_the_python_program_are_taken_over_once_and_that_is_said() {
    let program = Program::new();
    let database = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/tests/vectors/peers.db");
    std::fs::create_dir(program.home().join(".hardlinep2p")).unwrap();
    std::fs::copy(database, program.home().join(".hardlinep2p/peers.db")).unwrap();
    let gateway = program.start::<_, &str>([]);
    assert!(gateway.ready["notices"][0].as_str().unwrap().contains("of the Python program"), "{}", gateway.ready);
    assert_eq!(gateway.stop().0.code(), Some(0));
    assert!(program.run(["peers"]).stdout.contains("from the Python program"));
    assert_eq!(program.start::<_, &str>([]).ready["notices"].as_array().unwrap().len(), 0);
}
