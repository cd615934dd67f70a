//! What the node is doing → a page, for people and for `hardline status`: it listens on loopback
//! anyway and answers one origin only. Runner-up: a Unix socket, which would need a second way on
//! Windows. A program without a gateway cannot be asked.

use http::StatusCode;
use maud::html;

use super::answer::{Answer, Content};
use crate::status::Live;

/// The page; every user of this computer can read it, so it holds no password.
pub(super) fn status(live: &Live) -> Answer {
    let status = live.status();
    let sentences = status.sentences();
    let mut answer = Answer::new(StatusCode::OK, "status", "Status");
    let html = html! { @for sentence in &sentences { p { (sentence) } } };
    answer.content = Some(Content { html, text: sentences.join("\n") + "\n", json: status.to_json() });
    answer
}
