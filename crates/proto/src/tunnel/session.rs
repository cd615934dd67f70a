//! The two ends of a session as state machines: plaintext in, events and plaintext out.

use super::frame::{self, FrameReader, FrameTooLong, HEADER, Piece, ResetReason};
use super::lines::{Answer, Kind, Open, Refusal};
use crate::preamble::{MAX_PREAMBLE, PreambleError};

/// One end of a session behind both preambles: first idle, then in use, then idle again, and so on.
///
/// Give what arrived to [`receive`](Self::receive) until it returns `None`. What a sending method
/// returns goes out in the order of the calls; `None` from one of them means that nothing may be
/// sent in this phase.
///
/// - The dialler alone opens; payload may follow its line at once, before the answer.
/// - Between the open line and the answer the listener reads no further: what the dialler sent
///   meanwhile waits.
/// - A refused tunnel is ended like another: the dialler ends its direction, and the session is
///   idle.
/// - A reset ends the session with the tunnel. So does anything that has no meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    is_dialler: bool,
    phase: Phase,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    incoming: FrameReader,
    has_ended: bool,
    has_refused: bool,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a tunnel.
    Idle,
    /// The dialler has asked and waits for the answer.
    Opening,
    /// The listener owes the answer.
    Deciding,
    /// It carries a tunnel; one of its directions may have ended.
    Open,
    /// Nothing more can be sent or received.
    Closed,
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// To the listener: a tunnel is asked for. Answer with [`Session::answer`].
    Open(Open),
    /// To the dialler: the tunnel is there, and carries this.
    Opened(Kind),
    /// To the dialler: it is not. Call [`Session::end`] to have the session idle again.
    Refused(Refusal),
    /// Payload, in order.
    Payload(&'a [u8]),
    /// The other side has said its all.
    End,
    /// The other side broke off: the session is closed.
    Reset(ResetReason),
}

/// What it means that the connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// No tunnel was lost.
    Unused,
    /// The listener closed the session while it was idle, before it read what was asked: nothing
    /// reached the backend.
    NotOpened,
    /// The tunnel asked for may have reached the backend, or not.
    Unanswered,
    /// A tunnel was cut off.
    Broken,
}

/// The other side broke the protocol: the session is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The line is malformed.
    #[error(transparent)]
    Line(#[from] PreambleError),
    /// The frame is malformed.
    #[error(transparent)]
    Frame(#[from] FrameTooLong),
    /// Bytes where none belong: while idle, or behind the end of a direction.
    #[error("bytes between two tunnels")]
    Unasked,
}

impl Session {
    /// The dialler's end.
    #[must_use]
    pub fn dialler() -> Self {
        Self::new(true)
    }

    /// The listener's end.
    #[must_use]
    pub fn listener() -> Self {
        Self::new(false)
    }

    fn new(is_dialler: bool) -> Self {
        Self {
            is_dialler,
            phase: Phase::Idle,
            line: Vec::new(),
            incoming: FrameReader::default(),
            has_ended: false,
            has_refused: false,
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a direction of a tunnel is open for sending.
    #[must_use]
    pub fn can_send(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Open) && !self.has_ended
    }

    /// Whether payload may come.
    #[must_use]
    pub fn can_receive(&self) -> bool {
        self.phase == Phase::Open && !self.incoming.is_ended()
    }

    /// The dialler asks for a tunnel of this kind on an idle session.
    pub fn open(&mut self, kind: Kind) -> Option<&'static [u8]> {
        if !self.is_dialler || self.phase != Phase::Idle {
            return None;
        }
        self.begin(Phase::Opening);
        Some(Open::line(kind))
    }

    /// The listener answers an [`Event::Open`].
    pub fn answer(&mut self, answer: &Answer) -> Option<Vec<u8>> {
        if self.phase != Phase::Deciding {
            return None;
        }
        self.phase = Phase::Open;
        self.has_refused = matches!(answer, Answer::Refused(_));
        self.has_ended = self.has_refused;
        Some(answer.encode())
    }

    /// Begins a frame of `length` bytes of payload, which go behind this header.
    pub fn payload(&mut self, length: usize) -> Option<[u8; HEADER]> {
        frame::header(length).filter(|_| self.can_send())
    }

    /// Ends our direction.
    pub fn end(&mut self) -> Option<[u8; HEADER]> {
        if !self.can_send() {
            return None;
        }
        self.has_ended = true;
        self.rest_if_done();
        Some(frame::END)
    }

    /// Breaks the tunnel off and closes the session. A listener that has not answered yet has no
    /// word for it.
    pub fn reset(&mut self, reason: ResetReason) -> Option<[u8; 4]> {
        let can_tell = matches!(self.phase, Phase::Opening | Phase::Open);
        self.phase = Phase::Closed;
        can_tell.then(|| frame::reset(reason))
    }

    /// Closes an idle session, so that the connection may be ended cleanly. Returns whether it was
    /// one: no other may be, because a clean end in the place of an answer tells the dialler that
    /// nothing reached the backend.
    pub fn close(&mut self) -> bool {
        let was_idle = self.phase == Phase::Idle && self.line.is_empty();
        self.phase = Phase::Closed;
        was_idle
    }

    /// The other side has ended the connection; cleanly, if it said so with `close_notify` (RFC
    /// 8446, section 6.1).
    pub fn closed(&mut self, cleanly: bool) -> Closed {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Idle | Phase::Closed => Closed::Unused,
            Phase::Opening if cleanly && self.line.is_empty() => Closed::NotOpened,
            Phase::Opening => Closed::Unanswered,
            Phase::Deciding | Phase::Open => Closed::Broken,
        }
    }

    /// Takes the next event off the front of `input`; `None` when more bytes are needed, or when a
    /// listener has to answer first: then `input` keeps the rest.
    ///
    /// # Errors
    /// [`SessionError`], and the session is closed.
    pub fn receive<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, SessionError> {
        let event = match self.phase {
            Phase::Idle if !self.is_dialler => self.receive_open(input),
            Phase::Opening => self.receive_answer(input),
            Phase::Open if self.can_receive() => self.receive_frame(input),
            Phase::Idle | Phase::Open if !input.is_empty() => Err(SessionError::Unasked),
            Phase::Idle | Phase::Open | Phase::Deciding | Phase::Closed => Ok(None),
        };
        if event.is_err() {
            self.phase = Phase::Closed;
        }
        event
    }

    fn receive_open<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, SessionError> {
        let Some(line) = self.receive_line(input)? else { return Ok(None) };
        let open = Open::parse(&line)?;
        self.begin(Phase::Deciding);
        Ok(Some(Event::Open(open)))
    }

    fn receive_answer<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, SessionError> {
        let Some(line) = self.receive_line(input)? else { return Ok(None) };
        self.phase = Phase::Open;
        match Answer::parse(&line)? {
            Answer::Opened(kind) => Ok(Some(Event::Opened(kind))),
            Answer::Refused(refusal) => {
                self.incoming.end();
                self.rest_if_done();
                Ok(Some(Event::Refused(refusal)))
            }
        }
    }

    fn receive_frame<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, SessionError> {
        loop {
            match self.incoming.next(input)? {
                None => return Ok(None),
                // Sent before the dialler knew of the refusal.
                Some(Piece::Payload(_)) if self.has_refused => {}
                Some(Piece::Payload(payload)) => return Ok(Some(Event::Payload(payload))),
                Some(Piece::End) => {
                    self.rest_if_done();
                    return Ok(Some(Event::End));
                }
                Some(Piece::Reset(reason)) => {
                    self.phase = Phase::Closed;
                    return Ok(Some(Event::Reset(reason)));
                }
            }
        }
    }

    /// Takes a whole line, at most [`MAX_PREAMBLE`] bytes of it.
    fn receive_line(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, PreambleError> {
        let end = input.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let (part, rest) = input.split_at(end.unwrap_or(input.len()));
        if self.line.len() + part.len() > MAX_PREAMBLE {
            return Err(PreambleError::TooLong);
        }
        self.line.extend_from_slice(part);
        *input = rest;
        Ok(end.map(|_| std::mem::take(&mut self.line)))
    }

    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.incoming = FrameReader::default();
        self.has_ended = false;
        self.has_refused = false;
    }

    fn rest_if_done(&mut self) {
        if self.phase == Phase::Open && self.has_ended && self.incoming.is_ended() {
            self.phase = Phase::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::lines::Reason;

    /// Everything that `bytes` are to `session`, read one byte at a time, payload put together; and
    /// how many bytes it left.
    fn hear(session: &mut Session, bytes: &[u8]) -> (Vec<String>, usize) {
        let (mut events, mut payload, mut left) = (Vec::new(), Vec::new(), 0);
        for byte in bytes {
            let mut input = std::slice::from_ref(byte);
            while let Some(event) = session.receive(&mut input).unwrap() {
                match event {
                    Event::Payload(part) => payload.extend_from_slice(part),
                    other => events.push(format!("{other:?}")),
                }
            }
            left += input.len();
        }
        if !payload.is_empty() {
            events.push(String::from_utf8(payload).unwrap());
        }
        (events, left)
    }

    /// A session with a tunnel, both ends.
    fn opened() -> (Session, Session) {
        let (mut dialler, mut listener) = (Session::dialler(), Session::listener());
        hear(&mut listener, dialler.open(Kind::Stream).unwrap());
        let answer = listener.answer(&Answer::Opened(Kind::Stream)).unwrap();
        assert_eq!(hear(&mut dialler, &answer).0, ["Opened(Stream)"]);
        assert_eq!((dialler.phase(), listener.phase()), (Phase::Open, Phase::Open));
        (dialler, listener)
    }

    fn refusal() -> Answer {
        Answer::Refused(Refusal { reason: Reason::Backend, unknown: Vec::new() })
    }

    #[test]
    fn a_session_carries_one_tunnel_after_the_other() {
        let (mut dialler, mut listener) = opened();
        for _ in 0..3 {
            assert_eq!(hear(&mut listener, &dialler.end().unwrap()).0, ["End"]);
            assert_eq!((dialler.phase(), listener.phase()), (Phase::Open, Phase::Open), "the other direction goes on");
            let header = listener.payload(2).unwrap();
            assert_eq!(hear(&mut dialler, &[&header[..], b"ab"].concat()).0, ["ab"]);
            assert_eq!(hear(&mut dialler, &listener.end().unwrap()).0, ["End"]);
            assert_eq!((dialler.phase(), listener.phase()), (Phase::Idle, Phase::Idle));
            hear(&mut listener, dialler.open(Kind::Stream).unwrap());
            hear(&mut dialler, &listener.answer(&Answer::Opened(Kind::Stream)).unwrap());
        }
    }

    #[test]
    fn payload_sent_with_the_question_waits_for_the_answer() {
        let (mut dialler, mut listener) = (Session::dialler(), Session::listener());
        let question = [dialler.open(Kind::Stream).unwrap(), &dialler.payload(5).unwrap(), b"early"].concat();
        let mut input = &question[..];
        assert_eq!(listener.receive(&mut input), Ok(Some(Event::Open(Open::default()))));
        assert_eq!(listener.receive(&mut input), Ok(None));
        assert_eq!(input.len(), 7, "not looked at before the answer");
        listener.answer(&Answer::Opened(Kind::Stream)).unwrap();
        assert_eq!(listener.receive(&mut input), Ok(Some(Event::Payload(b"early"))));
    }

    #[test]
    fn a_refused_session_is_idle_when_the_dialler_has_ended_too() {
        let (mut dialler, mut listener) = (Session::dialler(), Session::listener());
        let question = [dialler.open(Kind::Stream).unwrap(), &dialler.payload(5).unwrap(), b"early"].concat();
        let mut input = &question[..];
        listener.receive(&mut input).unwrap();
        let answer = listener.answer(&refusal()).unwrap();
        assert_eq!(listener.receive(&mut input), Ok(None), "thrown away");
        assert!(input.is_empty() && !listener.can_send());
        assert_eq!(hear(&mut dialler, &answer).0.len(), 1);
        assert_eq!(dialler.phase(), Phase::Open);
        assert_eq!(hear(&mut listener, &dialler.end().unwrap()).0, ["End"]);
        assert_eq!((dialler.phase(), listener.phase()), (Phase::Idle, Phase::Idle));
    }

    #[test]
    fn a_reset_closes_both_ends() {
        let (mut dialler, mut listener) = opened();
        let reset = dialler.reset(ResetReason::STOPPING).unwrap();
        assert_eq!(hear(&mut listener, &reset).0, ["Reset(ResetReason(3))"]);
        assert_eq!((dialler.phase(), listener.phase()), (Phase::Closed, Phase::Closed));
        assert_eq!(
            (dialler.open(Kind::Stream), dialler.end(), listener.end(), listener.payload(1)),
            (None, None, None, None)
        );
    }

    #[test]
    fn what_the_end_of_the_connection_means_depends_on_where_it_comes() {
        let asked = |heard: &[u8]| {
            let mut session = Session::dialler();
            session.open(Kind::Stream);
            hear(&mut session, heard);
            session
        };
        assert_eq!(Session::dialler().closed(false), Closed::Unused);
        assert_eq!(Session::listener().closed(true), Closed::Unused);
        assert_eq!(asked(b"").closed(true), Closed::NotOpened);
        assert_eq!(asked(b"").closed(false), Closed::Unanswered);
        assert_eq!(asked(b"{\"ope").closed(true), Closed::Unanswered);
        assert_eq!(opened().0.closed(true), Closed::Broken);
        assert_eq!(opened().1.closed(true), Closed::Broken);
    }

    #[test]
    fn only_an_idle_session_may_be_closed_cleanly() {
        assert!(Session::listener().close());
        assert!(!opened().1.close());
        let mut asked = Session::listener();
        hear(&mut asked, Open::LINE);
        assert!(!asked.close());
        let mut being_asked = Session::listener();
        hear(&mut being_asked, &Open::LINE[..5]);
        assert!(!being_asked.close(), "the rest may be on its way");
    }

    #[test]
    fn bytes_between_two_tunnels_close_the_session() {
        let mut idle = Session::dialler();
        assert_eq!(idle.receive(&mut &b"x"[..]), Err(SessionError::Unasked));
        assert_eq!(idle.phase(), Phase::Closed);
        let (_, mut listener) = opened();
        hear(&mut listener, &frame::END);
        assert_eq!(listener.receive(&mut &b"x"[..]), Err(SessionError::Unasked));
    }

    #[test]
    fn a_line_without_end_is_given_up_at_the_limit() {
        let endless = vec![b' '; MAX_PREAMBLE];
        let mut listener = Session::listener();
        assert_eq!(listener.receive(&mut &endless[..]), Ok(None));
        assert_eq!(listener.receive(&mut &b" "[..]), Err(PreambleError::TooLong.into()));
    }

    #[test]
    fn each_side_may_do_only_what_is_its_own() {
        assert_eq!(Session::listener().open(Kind::Stream), None);
        assert_eq!(Session::dialler().answer(&Answer::Opened(Kind::Stream)), None);
        assert_eq!(Session::dialler().payload(1), None);
        let mut dialler = Session::dialler();
        dialler.open(Kind::Stream);
        assert_eq!(dialler.open(Kind::Stream), None);
        assert_eq!(dialler.payload(0), None);
        assert!(dialler.end().is_some() && dialler.end().is_none());
    }
}
