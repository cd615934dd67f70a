//! What is answered when the program behind a service does not, or is not asked.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hardline_proto::framing::Refusal;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use maud::html;

use crate::page::{self, page};

/// Why a request has no answer of the program.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It does not run, or not there.
    #[error("The program behind this service is not reached")]
    Unreached(#[source] io::Error),
    /// Nobody that should be believed.
    #[error("The program behind this service is not verified: {0}")]
    Unverified(io::Error),
    /// It hung up.
    #[error("The program behind this service closed the connection before it had answered")]
    Closed,
    /// It speaks something else.
    #[error("The program behind this service does not answer in HTTP/1.1")]
    Garbage,
    /// Longer than a head may be.
    #[error("The program behind this service answers with too long a head")]
    TooLarge,
    /// It takes too long.
    #[error("The program behind this service has not answered within {}", in_words(*.0))]
    Silent(Duration),
    /// The visitor did not send what it said it would.
    #[error("The body of the request is malformed or was cut off")]
    BadBody,
}

impl Failure {
    /// What hyper says of a request that was sent.
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::TooLarge
        } else if error.is_parse() {
            Self::Garbage
        } else if error.is_user() {
            Self::BadBody
        } else {
            Self::Closed
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::BadBody => StatusCode::BAD_REQUEST,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// The answer, as a page where `asked` likes pages.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response<Full<Bytes>> {
        let sentence = self.to_string();
        let mut accepts = asked.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (text, content_type) = if accepts.any(|accept| accept.contains("text/html")) {
            let body = html! {
                h1 { (self.status().canonical_reason().unwrap_or("Error")) }
                p { (sentence) "." }
                p .muted { "Said by Hardline on the computer that publishes this service." }
            };
            (page("No answer", &body).into_string(), page::CONTENT_TYPE)
        } else {
            (format!("{sentence}.\n"), "text/plain; charset=utf-8")
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = self.status();
        let headers = [
            (header::CONTENT_TYPE, content_type),
            (header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
            (header::CACHE_CONTROL, "no-store"),
        ];
        for (name, value) in headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// The whole answer to a request that never reached hyper.
pub(super) fn refusal(refusal: Refusal) -> Bytes {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let text = format!("Hardline passes no such request on: {refusal}.\n");
    let head = "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\nCache-Control: no-store";
    format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into()
}
