//! Both directions of a browser's connection → what may pass, and where the browser is told what a
//! page may do.
//!
//! Heads are read, bodies are only followed: their bytes are never looked at, but for the sizes of
//! chunks. Whatever could be read in two ways ends the connection: a service that could make us and
//! the browser disagree about where an answer ends could send one without the [`POLICY`].

mod answers; // bytes of a service → where each answer begins and ends
mod asked; // what is not answered yet
#[cfg(test)]
mod tests;

pub use answers::BadAnswer;

use self::answers::{AnswerFollower, Followed};
use self::asked::{Asked, Kind};
use crate::framing::{Refusal, RequestFollower, Step};
use crate::host::{Authority, ServiceName, parse_host};

/// The line that is added to every answer of an isolated service, behind the first. A page may load
/// from its own service and from whoever proves a name by HTTPS, and from nobody else: not from
/// programs of this computer and its network.
///
/// A browser that has several policies obeys all of them, so the service's own stays in force
/// (Content Security Policy Level 3, section 8.1). Every answer has it and not pages alone: a
/// script that runs as a worker has the policy of the answer it came with.
pub const POLICY: &[u8] = b"Content-Security-Policy: default-src 'self' data: blob: https: wss: \
    'unsafe-inline' 'unsafe-eval'; form-action 'self' https:\r\n";

/// Follows one connection, on which everything is for one service.
#[derive(Debug)]
pub struct Exchange {
    requests: RequestFollower,
    answers: AnswerFollower,
    asked: Asked,
    name: ServiceName,
    /// The first request's `Host`, as it was written.
    host: Option<Box<[u8]>>,
    is_isolated: bool,
    left: Option<Leave>,
    content: Content,
}

/// What goes over the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Http,
    /// HTTP, if it begins with a request.
    Unknown,
    Other,
}

/// Bytes by which a method has ended. Programs send longer ones only if they speak something else.
const LONGEST_METHOD: usize = 64;

/// What may be done with bytes of the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestStep {
    /// So many of them may pass; never 0.
    Pass(usize),
    /// More are needed first.
    More,
    /// What was asked before must be answered first.
    Wait,
    /// A request begins here that is not for this tunnel: see [`Exchange::left`]. It is to be
    /// served anew when all is [answered](Exchange::is_answered).
    Leave,
}

/// Why a request is not for the tunnel at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It names another service, or none.
    Elsewhere,
    /// It asks for the script of a service worker, which could answer in the service's place
    /// without the [`POLICY`].
    ServiceWorker,
    /// It cannot be passed on.
    Refused(Refusal),
}

impl From<Refusal> for Leave {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What may be done with bytes of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerStep {
    /// So many of them may pass as they are; never 0.
    Pass(usize),
    /// So many of them are a head, which may pass with [`POLICY`] put in at `insert_at`.
    Head {
        /// Bytes of the head.
        length: usize,
        /// Where the line is to be put.
        insert_at: usize,
    },
    /// More are needed first.
    More,
}

impl Exchange {
    /// Follows a connection to `name`. With `is_isolated`, answers get the [`POLICY`].
    #[must_use]
    pub fn new(name: ServiceName, is_isolated: bool) -> Self {
        Self {
            requests: RequestFollower::default(),
            answers: AnswerFollower::default(),
            asked: Asked::default(),
            name,
            host: None,
            is_isolated,
            left: None,
            content: Content::Http,
        }
    }

    /// Follows an isolated connection to `name` if it begins with a request of HTTP/1. Of another
    /// one, and of one whose service speaks first, nothing is looked at.
    #[must_use]
    pub fn if_http(name: ServiceName) -> Self {
        Self { content: Content::Unknown, ..Self::new(name, true) }
    }

    /// Says what may be done with `bytes` of the browser, which begin where the last ones that
    /// passed ended. What passes is counted as passed.
    ///
    /// # Errors
    /// [`Refusal`] in the middle of a body: nothing more may pass.
    pub fn request(&mut self, bytes: &[u8]) -> Result<RequestStep, Refusal> {
        if self.content == Content::Other {
            return Ok(if bytes.is_empty() { RequestStep::More } else { RequestStep::Pass(bytes.len()) });
        }
        if self.left.is_some() {
            return Ok(RequestStep::Leave);
        }
        let is_head = self.requests.is_at_head();
        let (asked, name, host, is_isolated) = (&mut self.asked, &self.name, &mut self.host, self.is_isolated);
        let step = self.requests.step_if(bytes, |head, asks_upgrade| {
            if asked.is_full() {
                return Err(Stop::Full);
            }
            admit(head, name, host, is_isolated)?;
            asked.push(Kind { is_head: head.method == Some("HEAD"), asks_upgrade });
            Ok(())
        });
        let is_other = match &step {
            Ok(Step::More) => bytes.len() > LONGEST_METHOD && !bytes[..LONGEST_METHOD].contains(&b' '),
            Err(Stop::Leave(Leave::Refused(refusal))) => *refusal == Refusal::Malformed,
            _ => false,
        };
        match step {
            _ if is_other && self.content == Content::Unknown => {
                self.content = Content::Other;
                Ok(RequestStep::Pass(bytes.len()))
            }
            Ok(Step::Pass(count)) => {
                self.content = Content::Http;
                Ok(RequestStep::Pass(count))
            }
            Ok(Step::More) => Ok(RequestStep::More),
            Ok(Step::Undecided) | Err(Stop::Full) => Ok(RequestStep::Wait),
            Err(Stop::Leave(Leave::Refused(refusal))) if !is_head => Err(refusal),
            Err(Stop::Leave(why)) => {
                self.content = Content::Http;
                self.left = Some(why);
                Ok(RequestStep::Leave)
            }
        }
    }

    /// Why a request is not for this tunnel.
    #[must_use]
    pub fn left(&self) -> Option<Leave> {
        self.left
    }

    /// Whether everything that was asked is answered to the end.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.asked.is_empty() && self.answers.is_at_head()
    }

    /// Whether another protocol has begun, of which nothing is looked at.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.answers.is_raw() || self.content == Content::Other
    }

    /// Whether the next byte of the service belongs to a head.
    #[must_use]
    pub fn is_at_answers_head(&self) -> bool {
        self.content == Content::Http && self.answers.is_at_head()
    }

    /// Says what may be done with `bytes` of the service, which begin where the last ones that
    /// passed ended. What passes is counted as passed.
    ///
    /// # Errors
    /// [`BadAnswer`]: nothing more may pass.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<AnswerStep, BadAnswer> {
        if self.content != Content::Http {
            self.content = Content::Other;
            return Ok(if bytes.is_empty() { AnswerStep::More } else { AnswerStep::Pass(bytes.len()) });
        }
        Ok(match self.answers.step(bytes, &mut self.asked)? {
            Followed::More => AnswerStep::More,
            Followed::Body(count) | Followed::Interim(count) => AnswerStep::Pass(count),
            Followed::Head(head) => {
                if let Some(is_upgraded) = head.is_upgraded {
                    self.requests.decide(is_upgraded);
                }
                if self.is_isolated {
                    AnswerStep::Head { length: head.length, insert_at: head.first_line }
                } else {
                    AnswerStep::Pass(head.length)
                }
            }
        })
    }
}

/// Why a head does not pass.
enum Stop {
    Leave(Leave),
    Full,
}

impl<T: Into<Leave>> From<T> for Stop {
    fn from(why: T) -> Self {
        Self::Leave(why.into())
    }
}

/// Whether the request `head` is for the service `name`. The first one is: by it the tunnel was
/// chosen. How its host was written is kept in `host`; nearly always the next one's is the same.
fn admit(
    head: &httparse::Request<'_, '_>,
    name: &ServiceName,
    host: &mut Option<Box<[u8]>>,
    is_isolated: bool,
) -> Result<(), Leave> {
    let mut named = &[][..];
    for header in head.headers.iter() {
        if is_isolated && header.name.eq_ignore_ascii_case("service-worker") {
            return Err(Leave::ServiceWorker);
        }
        if header.name.eq_ignore_ascii_case("host") {
            named = header.value;
        }
    }
    let Some(host) = host else {
        *host = Some(named.into());
        return Ok(());
    };
    let is_for_proxy = !head.path.is_some_and(|target| target.starts_with('/') || target == "*");
    if is_for_proxy {
        return Err(Leave::Elsewhere);
    }
    if **host == *named {
        return Ok(());
    }
    match parse_host(named) {
        Ok(Authority::Service(this)) if this == *name => Ok(()),
        _ => Err(Leave::Elsewhere),
    }
}
