//! The page of an invitation: to what, a name for this computer, one button.
//!
//! Opening the page changes nothing. What the button sends is taken from this page alone: a browser
//! says whose page a form is of (`Origin`), and pages cannot forge that.

use std::time::Duration;

use hardline_proto::head::RequestHead;
use hardline_proto::host::Authority;
use hardline_proto::initiator::Initiator;
use hardline_proto::visitors::{Enrolled, Invitation, MAX_VISITOR_NAME, PATH, visitor_name};
use http::StatusCode;
use maud::html;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Gateway;
use super::answer::{Answer, Content};
use super::errors;
use crate::dial::AcceptError;
use crate::transport::read_onto;

/// Most bytes of what the button sends: the name, each byte of it as `%41`.
const MAX_FORM: usize = 1024;

/// Time for it to come.
const FORM_TIMEOUT: Duration = Duration::from_secs(5);

/// The field of the form.
const NAME: &str = "name";

/// Whether a request is one for this page.
pub(super) fn is_asked_for(head: &RequestHead) -> bool {
    matches!(head.authority, Authority::Gateway) && head.target.starts_with(PATH)
}

impl Gateway {
    /// Shows the invitation, or accepts it when the button was pressed.
    pub(super) async fn invitation(&self, browser: &mut TcpStream, bytes: &[u8], head: &RequestHead) -> Answer {
        if head.initiator == Initiator::Other {
            return errors::other_origin();
        }
        let invitation = match Invitation::parse(&head.target) {
            Ok(invitation) => invitation,
            Err(error) => {
                return Answer::new(StatusCode::BAD_REQUEST, "no_invitation", "No invitation")
                    .say(errors::sentence(&error));
            }
        };
        match head.method.as_str() {
            "GET" | "HEAD" => form(&invitation),
            "POST" if head.initiator == Initiator::Own => {
                let Some(body) = read_form(browser, bytes, head.len).await else {
                    return Answer::new(StatusCode::BAD_REQUEST, "malformed", "This form cannot be read");
                };
                match self.dialler.accept(&invitation, name_in(&body)).await {
                    Ok(enrolled) => accepted(&invitation, &enrolled, self.port),
                    Err(error) => refused(&error),
                }
            }
            "POST" => errors::other_origin(),
            _ => errors::read_only(),
        }
    }
}

fn form(invitation: &Invitation) -> Answer {
    let key = invitation.key;
    let mut answer = Answer::new(StatusCode::OK, "invitation", "You are invited").with_form();
    let html = html! {
        div .card {
            p { "Whoever sent you this link lets you in to a private service of theirs:" }
            p .key { (key) }
            p { "Accept if you know who that is. This computer makes a key for this service alone, and tells it the name below and nothing else." }
        }
        form method="post" {
            p {
                label for=(NAME) { "What this computer is to be called there" } br;
                input id=(NAME) name=(NAME) maxlength=(MAX_VISITOR_NAME) autocomplete="off" autofocus;
            }
            p { button type="submit" { "Accept the invitation" } }
        }
    };
    let text = format!("An invitation to the private service {key}.\n`hardline accept LINK` accepts it.\n");
    answer.content = Some(Content { html, text, json: json!({ "invitation": true, "key": key.to_string() }) });
    answer
}

fn accepted(invitation: &Invitation, enrolled: &Enrolled, port: u16) -> Answer {
    let link = format!("http://{}.localhost:{port}/", invitation.key);
    let mut answer = Answer::new(StatusCode::OK, "accepted", "You are in");
    let html = html! {
        div .card {
            p { "This computer may come in as " strong { (enrolled.name) } ", by this link:" }
            p { a href=(link) { (link) } }
        }
    };
    let text = format!("This computer may come in as {}:\n{link}\n", enrolled.name);
    let json = json!({ "accepted": true, "name": enrolled.name, "link": link, "expires_ms": enrolled.expires_ms });
    answer.content = Some(Content { html, text, json });
    answer
}

fn refused(error: &AcceptError) -> Answer {
    let answer = Answer::new(StatusCode::BAD_GATEWAY, "not_accepted", "The invitation was not accepted");
    let answer = answer.say(errors::sentence(error));
    match error {
        AcceptError::NotReached(error) => answer
            .say("Load this page again when the other computer is there, and press the button once more.")
            .tried(&error.report),
        AcceptError::NoAnswer => answer.say("Press the button once more: that does no harm."),
        _ => answer,
    }
}

/// What the form sends, behind a head of `head_len` bytes in `bytes`. `None` if it does not come as
/// a whole, or is too long.
async fn read_form(browser: &mut TcpStream, bytes: &[u8], head_len: usize) -> Option<String> {
    let (head, body) = bytes.split_at_checked(head_len)?;
    let length = content_length(head)?;
    let mut body = body.to_vec();
    let reading = async {
        while body.len() < length {
            if read_onto::<MAX_FORM>(browser, &mut body).await.ok()? == 0 {
                return None;
            }
        }
        Some(())
    };
    timeout(FORM_TIMEOUT, reading).await.ok()??;
    body.truncate(length);
    String::from_utf8(body).ok()
}

/// The length of the body; 0 where there is none. `None` if that is too much.
fn content_length(head: &[u8]) -> Option<usize> {
    let head = String::from_utf8_lossy(head);
    let of = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())
    };
    match head.lines().find_map(of) {
        Some(length) => length.filter(|length| *length <= MAX_FORM),
        None => Some(0),
    }
}

/// The name in a form as browsers send it (`application/x-www-form-urlencoded`).
fn name_in(body: &str) -> Option<String> {
    let value = body.split('&').find_map(|field| field.strip_prefix(NAME)?.strip_prefix('='))?;
    let value = value.replace('+', " ");
    visitor_name(&percent_decode_str(&value).decode_utf8_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_as_browsers_write_it() {
        assert_eq!(name_in("name=Alice%27s+laptop"), Some("Alice's laptop".into()));
        assert_eq!(name_in("x=1&name=%C3%84"), Some("Ä".into()));
        assert_eq!(name_in("name=%1b%0a"), None);
        assert_eq!(name_in(""), None);
    }

    #[test]
    fn a_body_is_as_long_as_its_head_says_and_not_too_long() {
        assert_eq!(content_length(b"POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\n"), Some(12));
        assert_eq!(content_length(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(0));
        assert_eq!(content_length(b"POST / HTTP/1.1\r\ncontent-length: 99999\r\n\r\n"), None);
        assert_eq!(content_length(b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n"), None);
    }
}
