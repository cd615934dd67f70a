//! The two ends of a session: against each other under any row of operations, and alone against any
//! bytes.

use std::collections::VecDeque;

use hardline_proto::preamble::MAX_PREAMBLE;
use hardline_proto::tunnel::frame::{MAX_PAYLOAD, ResetReason};
use hardline_proto::tunnel::{Answer, Closed, Event, Kind, MAX_UNKNOWN, Open, Phase, Reason, Refusal, Session};

/// Any bytes after the first, which chooses the end and what it does before: nothing of it may
/// panic or grow, how the bytes are cut makes no difference, and after an error nothing more
/// happens.
pub fn tunnel_bytes(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let whole = hear(kind, bytes, bytes.len().max(1));
    for cut in [1, 2, 7, 1000] {
        assert_eq!(hear(kind, bytes, cut), whole, "in reads of {cut}");
    }
}

/// What one end made of `bytes`, payload put together, and its phase in the end.
fn hear(kind: u8, bytes: &[u8], cut: usize) -> (Vec<String>, Vec<u8>, Phase) {
    let mut session = if kind.is_multiple_of(2) { Session::listener() } else { Session::dialler() };
    session.open(Kind::Stream);
    let (mut events, mut payload) = (Vec::new(), Vec::new());
    let mut waiting = Vec::new();
    for chunk in bytes.chunks(cut) {
        waiting.extend_from_slice(chunk);
        let mut input = &waiting[..];
        loop {
            match session.receive(&mut input) {
                Ok(Some(Event::Payload(part))) => {
                    assert!((1..=MAX_PAYLOAD).contains(&part.len()));
                    payload.extend_from_slice(part);
                }
                Ok(Some(event)) => {
                    check_bounds(&event);
                    events.push(format!("{event:?} after {}", payload.len()));
                    if matches!(event, Event::Open(_)) {
                        let answer = if kind & 2 == 0 { Answer::Opened(Kind::Stream) } else { refusal() };
                        assert!(session.answer(&answer).is_some());
                    }
                    // The other direction ends when it can, so that the session is used again.
                    session.end();
                    if session.phase() == Phase::Idle {
                        session.open(Kind::Stream);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    // Which of two things is wrong first may depend on the cut: a line may be too
                    // long before it is none.
                    assert!(!error.to_string().is_empty());
                    assert_eq!(session.phase(), Phase::Closed);
                    events.push("error".to_owned());
                }
            }
        }
        let left = input.len();
        assert!(left == 0 || session.phase() == Phase::Closed, "{left} bytes of a session that listens");
        waiting.drain(..waiting.len() - left);
        if session.phase() == Phase::Closed {
            assert_eq!((session.end(), session.payload(1), session.open(Kind::Stream)), (None, None, None));
            assert_eq!(session.closed(true), Closed::Unused);
            break;
        }
    }
    (events, payload, session.phase())
}

fn check_bounds(event: &Event<'_>) {
    let unknown = match event {
        Event::Open(open) => &open.unknown,
        Event::Refused(refusal) => &refusal.unknown,
        _ => return,
    };
    assert!(unknown.len() <= MAX_UNKNOWN);
    assert!(unknown.iter().all(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())));
    assert!(unknown.iter().map(String::len).sum::<usize>() < MAX_PREAMBLE);
}

fn refusal() -> Answer {
    Answer::Refused(Refusal { reason: Reason::Backend, unknown: vec!["key".to_owned()] })
}

/// Two bytes are one operation: which, and with what. Both ends keep to the protocol, so neither
/// may ever complain of the other, payload arrives as it was sent, and both agree in the end.
pub fn tunnel_ops(bytes: &[u8]) {
    let mut run = Run { dialler: End::new(Session::dialler()), listener: End::new(Session::listener()) };
    for operation in bytes.chunks_exact(2) {
        run.apply(operation[0] % 8, operation[1]);
    }
    run.finish();
}

struct Run {
    dialler: End,
    listener: End,
}

/// One end, what is on its way from it, and what was said.
struct End {
    session: Session,
    wire: VecDeque<u8>,
    /// Payload sent in each tunnel so far.
    sent: Vec<Vec<u8>>,
    /// Payload heard in each tunnel so far.
    heard: Vec<Vec<u8>>,
    was_refused: bool,
}

impl End {
    fn new(session: Session) -> Self {
        Self { session, wire: VecDeque::new(), sent: Vec::new(), heard: Vec::new(), was_refused: false }
    }

    fn begin(&mut self) {
        self.sent.push(Vec::new());
        self.heard.push(Vec::new());
        self.was_refused = false;
    }

    fn say(&mut self, fill: u8) {
        let length = usize::from(fill) * 64 + 1;
        if let Some(header) = self.session.payload(length) {
            let payload = vec![fill; length];
            self.wire.extend(header);
            self.wire.extend(&payload);
            self.sent.last_mut().expect("a tunnel is open").extend(payload);
        }
    }

    fn end(&mut self) {
        self.wire.extend(self.session.end().into_iter().flatten());
    }
}

impl Run {
    fn apply(&mut self, operation: u8, argument: u8) {
        match operation {
            0 => {
                if let Some(line) = self.dialler.session.open(Kind::Stream) {
                    self.dialler.wire.extend(line);
                    self.dialler.begin();
                }
            }
            1 => self.dialler.say(argument),
            2 => self.dialler.end(),
            3 => deliver(&mut self.dialler, &mut self.listener, usize::from(argument) * 16 + 1),
            4 => deliver(&mut self.listener, &mut self.dialler, usize::from(argument) * 16 + 1),
            5 => self.answer(!argument.is_multiple_of(4)),
            6 => self.listener.say(argument),
            _ if argument < 200 => self.listener.end(),
            _ => {
                let end = if argument.is_multiple_of(2) { &mut self.dialler } else { &mut self.listener };
                if end.session.can_send() {
                    end.wire.extend(end.session.reset(ResetReason(argument.into())).into_iter().flatten());
                }
            }
        }
    }

    fn answer(&mut self, grant: bool) {
        let answer = if grant { Answer::Opened(Kind::Stream) } else { refusal() };
        if let Some(line) = self.listener.session.answer(&answer) {
            self.listener.wire.extend(line);
            self.listener.was_refused = !grant;
        }
    }

    /// Lets everything arrive and every tunnel end.
    fn finish(mut self) {
        for _ in 0..4 {
            deliver(&mut self.dialler, &mut self.listener, usize::MAX);
            self.answer(true);
            self.dialler.end();
            self.listener.end();
            deliver(&mut self.listener, &mut self.dialler, usize::MAX);
        }
        let phases = (self.dialler.session.phase(), self.listener.session.phase());
        assert!(phases == (Phase::Idle, Phase::Idle) || phases == (Phase::Closed, Phase::Closed), "{phases:?}");
        if phases.0 == Phase::Idle {
            assert_eq!(self.dialler.heard, self.listener.sent);
        }
        assert_eq!(self.dialler.session.closed(false), Closed::Unused);
        assert_eq!(self.listener.session.close(), phases.1 == Phase::Idle);
    }
}

/// Lets `most` bytes arrive, or as many as the receiver takes.
fn deliver(from: &mut End, to: &mut End, most: usize) {
    let most = most.min(from.wire.len());
    let bytes: Vec<u8> = from.wire.drain(..most).collect();
    let mut input = &bytes[..];
    while let Some(event) = to.session.receive(&mut input).expect("both keep to the protocol") {
        match event {
            Event::Payload(part) => {
                let tunnel = to.heard.len() - 1;
                to.heard[tunnel].extend_from_slice(part);
                assert!(from.sent[tunnel].starts_with(&to.heard[tunnel]), "in order, and in its own tunnel");
            }
            Event::Open(open) => {
                assert_eq!(open, Open::default());
                to.begin();
            }
            Event::Refused(_) => to.was_refused = true,
            Event::End => {
                let tunnel = to.heard.len() - 1;
                assert!(to.was_refused || to.heard[tunnel] == from.sent[tunnel], "an end is an end of everything");
            }
            Event::Opened(_) | Event::Reset(_) => {}
        }
    }
    // A listener that owes an answer leaves the rest, and one that is closed hears nothing.
    for byte in input.iter().rev() {
        from.wire.push_front(*byte);
    }
    if to.session.phase() == Phase::Closed {
        from.wire.clear();
    }
}
