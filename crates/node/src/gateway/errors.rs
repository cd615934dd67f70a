//! Why a request is not served → an answer a person can act on.

use hardline_proto::candidate::{Tier, TransportAddr};
use hardline_proto::exchange::BadAnswer;
use hardline_proto::framing::Refusal as Refused;
use hardline_proto::head::HeadError;
use hardline_proto::host::HostError;
use hardline_proto::tunnel::{Reason, Refusal};
use http::StatusCode;

use super::answer::Answer;
use crate::dial::{Cause, ReachError};
use crate::discovery::{self, Report};

/// The answer to first bytes that name nothing the gateway serves.
pub(super) fn bad_head(error: &HeadError) -> Answer {
    match error {
        HeadError::TooLarge => {
            Answer::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "This request is too large")
                .say("Its head, the address and headers and cookies, is longer than 64 KiB.")
                .say("Deleting this site's cookies usually helps.")
        }
        HeadError::NoHost { .. } => malformed("It has no Host header, so nothing says which service it is for."),
        HeadError::ManyHosts { .. } => {
            malformed("It has more than one Host header, and they may name different services.")
        }
        HeadError::Host { source: HostError::Malformed, .. } => malformed("Its Host header is not a host name."),
        HeadError::Host { source: HostError::NotLocal, .. } => {
            Answer::new(StatusCode::MISDIRECTED_REQUEST, "not_local", "This name is not served here")
                .say("Hardline serves names that end in .localhost, to browsers on this computer, and nothing else.")
        }
        HeadError::Host { source: HostError::NoKey, .. } => unknown_name(),
        HeadError::NotAService { .. } => not_a_service(),
        HeadError::Malformed(_) => malformed("It is not HTTP/1 as Hardline knows it."),
        _ => malformed("It cannot be read."),
    }
}

fn malformed(why: &str) -> Answer {
    Answer::new(StatusCode::BAD_REQUEST, "malformed", "This request cannot be read").say(why)
}

/// The answer to a client of the proxy that wants something else than a service.
pub(super) fn not_a_service() -> Answer {
    Answer::new(StatusCode::FORBIDDEN, "not_a_service", "This proxy leads to Hardline's services only")
        .say("It takes names such as KEYHASH.localhost, and neither other sites nor other programs of this computer.")
        .say("Ask for those without it: leave this proxy out for them, or name them in NO_PROXY.")
}

fn unknown_name() -> Answer {
    Answer::new(StatusCode::NOT_FOUND, "unknown_name", "This is not a Hardline link")
        .say("A link has the 40 digits of a key hash in front of .localhost. This name has not: a digit may be missing, or it was typed by hand.")
        .say("Copy the link again from the computer that has the service, where “hardline id” shows it, or begin at the list of services.")
        .link_first_page()
}

/// The answer to a request that cannot be passed on, though its head can be read.
pub(super) fn refused_request(refusal: Refused) -> Answer {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    Answer::new(status, "refused_request", "This request cannot be passed on").say(sentence(&refusal))
}

/// The answer to a browser that asks for a service worker.
pub(super) fn service_worker() -> Answer {
    Answer::new(StatusCode::FORBIDDEN, "service_worker", "No service workers here")
        .say("A service worker could answer in the place of its service, without the policy that keeps its pages away from this computer.")
        .say("With trusted = true for this service in the configuration it may.")
}

/// The answer when the service's own cannot be read.
pub(super) fn unreadable(why: BadAnswer) -> Answer {
    Answer::new(StatusCode::BAD_GATEWAY, "unreadable_answer", "The answer of this service cannot be read")
        .say("The right computer was reached, and it proved its name.")
        .say(sentence(&why))
        .say("With trusted = true for this service in the configuration its answers are passed on as they are.")
}

/// The text of `error`, as a sentence.
pub(super) fn sentence(error: &impl std::fmt::Display) -> String {
    let text = format!("{error}.");
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// The answer to a head that did not come in time.
pub(super) fn slow_head() -> Answer {
    Answer::new(StatusCode::REQUEST_TIMEOUT, "slow_head", "This request came too slowly")
        .say("Its head was not whole after 10 seconds.")
}

/// The answer to another path at the gateway's own name.
pub(super) fn no_such_page() -> Answer {
    Answer::new(StatusCode::NOT_FOUND, "no_such_page", "There is no such page")
        .say("Hardline has one page of its own: the list of services.")
        .link_first_page()
}

/// The answer to a page elsewhere that wants to load one of the gateway's own, or to send something
/// to it.
pub(super) fn other_origin() -> Answer {
    Answer::new(StatusCode::FORBIDDEN, "other_origin", "This page is for you, not for other pages")
        .say("Another page asked for it. Hardline shows its own pages to people and programs of this computer only.")
}

/// The answer to a method other than GET and HEAD at the gateway's own name.
pub(super) fn read_only() -> Answer {
    Answer::new(StatusCode::METHOD_NOT_ALLOWED, "read_only", "Hardline's own page can only be read")
        .say("Use GET or HEAD.")
        .header("Allow", "GET, HEAD")
}

/// The answer when the right computer says no.
fn refused(at: &TransportAddr, refusal: &Refusal, with_password: bool) -> Answer {
    let proved = format!("The right computer was reached at {at}, and it proved its name.");
    match refusal.reason {
        Reason::Backend => Answer::new(StatusCode::BAD_GATEWAY, "backend_down", "The program behind this service does not answer")
            .say(proved)
            .say("The program it forwards to is not running there, or does not accept connections.")
            .retry(),
        Reason::Password if with_password => Answer::new(StatusCode::FORBIDDEN, "wrong_password", "This password is wrong")
            .say(proved)
            .say("It does not accept the password in front of the name. Copy the link again from the computer that has the service."),
        Reason::Password => Answer::new(StatusCode::FORBIDDEN, "password_needed", "This service wants a password")
            .say(proved)
            .say("It wants a password in front of its name: password-KEYHASH.localhost. Whoever has the service knows it."),
        Reason::Udp => Answer::new(StatusCode::BAD_GATEWAY, "speaks_udp", "This service is not for browsers")
            .say(proved)
            .say("It speaks UDP. A program of this computer reaches it at a UDP port, which “hardline forward KEYHASH=udp:PORT” makes, for as long as it runs."),
        _ => Answer::new(StatusCode::BAD_GATEWAY, "refused", "This service refuses")
            .say(proved)
            .say(format!("It said no: {refusal}."))
            .retry(),
    }
}

/// The answer when a service was not reached.
pub(super) fn not_reached(error: &ReachError) -> Answer {
    let answer = match &error.cause {
        Cause::NotFound => Answer::new(StatusCode::GATEWAY_TIMEOUT, "not_found", "Searching for this service")
            .say(nothing_found(&error.report))
            .say("Is the other computer switched on, is Hardline running there, and are both on the same network or on the internet?")
            .retry(),
        Cause::Unreachable => Answer::new(StatusCode::GATEWAY_TIMEOUT, "unreachable", "Searching for this service")
            .say("Addresses of it are known, but it does not answer there.")
            .say("The other computer may be off or asleep, it may have moved to another network, or a router in between does not let connections through to it.")
            .retry(),
        Cause::WrongKey { at, got } => Answer::new(StatusCode::BAD_GATEWAY, "wrong_certificate", "Somebody else answers")
            .loud()
            .say(format!("The computer at {at} says that it is this service, but it has another certificate: {got}."))
            .say("Nothing was sent to it. Either that computer was set up anew, and you need its new link from its owner; or somebody on the network pretends to be the service."),
        Cause::Closed { at, with_password } => Answer::new(StatusCode::BAD_GATEWAY, "backend_down", "The program behind this service does not answer")
            .say(format!("The right computer was reached at {at}, and it proved its name. It closed the connection before an answer."))
            .say(if *with_password {
                "Either the program it forwards to is not running there, or the password in front of the name is wrong."
            } else {
                "Either the program it forwards to is not running there, or the service wants a password in front of its name (password-KEYHASH.localhost)."
            })
            .retry(),
        Cause::Refused { at, refusal, with_password } => refused(at, refusal, *with_password),
        Cause::Unanswered { at } => Answer::new(StatusCode::BAD_GATEWAY, "unanswered", "The connection broke before an answer")
            .say(format!("The right computer was asked at {at}, and went away without an answer."))
            .say("It may have received the request or not, so it was not sent again.")
            .retry(),
        Cause::Unnameable => Answer::new(StatusCode::BAD_REQUEST, "unnameable", "This key hash cannot be used")
            .say("All its digits are decimal, so it cannot be told from a number on the wire. Make a new identity for the service."),
    };
    answer.about(error.key).tried(&error.report)
}

/// Where nothing was found, in one sentence.
fn nothing_found(report: &Report) -> String {
    let was_asked = |name| report.sources.iter().any(|entry| entry.source.name == name);
    let places = [
        ("no computer on this network answers for it", was_asked(discovery::LAN.name)),
        ("no address of it is remembered here", was_asked(discovery::STORE.name)),
        ("the DHT has none so far", report.sources.iter().any(|entry| entry.source.tier == Tier::Wan)),
    ];
    let said: Vec<_> = places.into_iter().filter(|(_, is_said)| *is_said).map(|(place, _)| place).collect();
    format!(
        "It was not found yet: {}.",
        if said.is_empty() { "there is nobody to ask".into() } else { said.join(", ") }
    )
}
