//! What went wrong → exit code, cause, remedy.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use hardline_node::gateway::GatewayBindError;
use hardline_node::node::{Cause, ReachError, StartError};
use hardline_node::proto::tunnel::Reason;
use hardline_node::services::ServiceError;
use hardline_node::store::StoreError;
use hardline_node::tls::identity::IdentityError;
use hardline_node::transport::relay::tokens::TokenError;

use crate::settings::NoDataDir;

/// How the program ends. Scripts may rely on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or stopped by a signal as asked.
    Done = 0,
    /// Something failed that has no number of its own.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// The configuration has problems, in its file or in the environment.
    Configuration = 3,
    /// A port or another thing needed is in use by another program.
    InUse = 4,
    /// The service was not found, or nobody answered.
    NotReached = 5,
    /// Somebody else's certificate answered.
    WrongKey = 6,
    /// An identity's files cannot be used, or none has that name.
    Identity = 7,
    /// `hardline doctor` found something wrong.
    ChecksFailed = 8,
}

impl Exit {
    /// Every number with its meaning, in order.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Done, "done, or stopped by a signal as asked"),
        (Self::Failed, "failed for a reason without a number of its own"),
        (Self::Usage, "the command line cannot be understood"),
        (Self::Configuration, "the configuration has problems"),
        (Self::InUse, "a port is in use by another program"),
        (Self::NotReached, "the service was not found, or nobody answered"),
        (Self::WrongKey, "somebody else's certificate answered"),
        (Self::Identity, "an identity cannot be used, or none has that name"),
        (Self::ChecksFailed, "doctor found something wrong"),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    status: Option<u8>,
    cause: Option<String>,
    remedy: Option<String>,
}

impl Failure {
    /// A failure with its cause: a sentence without a capital and without a full stop.
    pub fn new(exit: Exit, cause: impl Display) -> Self {
        Self { exit, status: None, cause: Some(cause.to_string()), remedy: None }
    }

    /// A failure whose cause is an error and what led to it.
    pub fn of(exit: Exit, doing: &str, error: &dyn Error) -> Self {
        Self::new(exit, format!("{doing}: {}", chain(error)))
    }

    /// Adds what the person can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }

    /// Ends the program without a word: all there is to say has been said, or nobody listens any
    /// more.
    #[must_use]
    pub fn silent(exit: Exit) -> Self {
        Self { exit, status: None, cause: None, remedy: None }
    }

    /// Ends the program with another number: that of a program that it ran.
    #[must_use]
    pub fn status(mut self, status: u8) -> Self {
        self.status = Some(status);
        self
    }

    /// The cause and the remedy in one line, for a program that shows them.
    #[must_use]
    pub fn message(&self) -> String {
        [self.cause.as_deref(), self.remedy.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The number the program ends with.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        self.status.map_or_else(|| self.exit.into(), ExitCode::from)
    }

    /// Writes cause and remedy on stderr. A stderr that is closed is nobody's loss.
    pub fn print(&self) {
        let mut stderr = std::io::stderr().lock();
        if let Some(cause) = &self.cause {
            let _ = writeln!(stderr, "error: {cause}");
        }
        if let Some(remedy) = &self.remedy {
            let _ = writeln!(stderr, "  help: {remedy}");
        }
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::of(Exit::Identity, "the identity cannot be used", &error).remedy(error.remedy())
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        let exit = if matches!(error, TokenError::Name(_)) { Exit::Usage } else { Exit::Failed };
        Self::new(exit, chain(&error)).remedy(token_remedy(&error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::of(Exit::Failed, "what is remembered cannot be read", &error).remedy(error.remedy())
    }
}

impl From<NoDataDir> for Failure {
    fn from(_: NoDataDir) -> Self {
        Self::new(Exit::Configuration, "this user has no home, and so no folder for data")
            .remedy("name a folder with --data-dir or HARDLINE_DATA_DIR")
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let failure = Self::new(start_exit(&error), chain(&error));
        match error {
            StartError::Gateway(GatewayBindError { source, .. })
            | StartError::Service(ServiceError::P2p { source, .. }) => failure.remedy(port_remedy(source.kind())),
            StartError::Service(ServiceError::Identity { source, .. }) | StartError::RelayIdentity(source) => {
                failure.remedy(source.remedy())
            }
            StartError::Forward { .. } => failure.remedy("choose another port or path in its [[forward]]"),
            StartError::Dns { .. } => {
                failure.remedy("choose another port with dns.port; those below 1024 need privileges")
            }
            StartError::RelayTokens(error) => failure.remedy(token_remedy(&error)),
            StartError::Store(source) => failure.remedy(source.remedy()),
            StartError::Service(ServiceError::SameIdentity { .. }) => {
                failure.remedy("give one of the services another name or certfile")
            }
            StartError::Service(ServiceError::Backend { .. }) => {
                failure.remedy("check that it is there and that this user may read it")
            }
            _ => failure,
        }
    }
}

impl From<&ReachError> for Failure {
    fn from(error: &ReachError) -> Self {
        let (exit, remedy) = match &error.cause {
            Cause::NotFound => (Exit::NotReached, NOT_FOUND_REMEDY),
            Cause::WrongKey { .. } => (Exit::WrongKey, WRONG_KEY_REMEDY),
            Cause::Closed { .. } => {
                (Exit::NotReached, "start the program behind the service, and check the password in the link")
            }
            Cause::Refused { refusal, with_password, .. } => {
                (Exit::NotReached, refused_remedy(&refusal.reason, *with_password))
            }
            Cause::Unnameable => (Exit::NotReached, "the service needs another identity"),
            _ => (Exit::NotReached, "check that hardline runs there, and that no firewall is in between"),
        };
        let tried: Vec<String> =
            error.report.attempts.iter().map(|attempt| format!("\n  {}: {}", attempt.addr, attempt.outcome)).collect();
        Self::new(exit, format_args!("{error}{}", tried.concat())).remedy(remedy)
    }
}

fn token_remedy(error: &TokenError) -> &'static str {
    match error {
        TokenError::Exists(_) => "choose another name, or revoke that token first",
        TokenError::Missing(_) => "`hardline relay token list` lists them",
        TokenError::Malformed { .. } => "restore the file, or delete it to begin anew: every token is lost then",
        TokenError::Name(_) => "choose a name such as bob",
        TokenError::TooMany => "`hardline relay token revoke NAME` takes one back",
        _ => "check that the data folder is there and that this user may write in it",
    }
}

fn refused_remedy(reason: &Reason, with_password: bool) -> &'static str {
    match reason {
        Reason::Backend => "start the program behind the service",
        Reason::Password if with_password => "check the password in the link",
        Reason::Password => "put the password in front of the key hash: PASSWORD-KEYHASH",
        Reason::Udp => "`hardline forward LINK=udp:PORT` reaches it",
        Reason::NoUdp => "forward it without udp: in front of the port",
        _ => "ask whoever runs the service",
    }
}

const NOT_FOUND_REMEDY: &str = "check that hardline runs on the other computer and that both are on one network, \
    or say where it is with --address HOST:PORT";

const WRONG_KEY_REMEDY: &str = "do not trust what answers there; if it is your own computer with a new certificate, \
    its link is a new one too";

fn start_exit(error: &StartError) -> Exit {
    match error {
        StartError::Gateway(GatewayBindError { source, .. })
        | StartError::Forward { source, .. }
        | StartError::Dns { source, .. }
        | StartError::Service(ServiceError::P2p { source, .. })
            if source.kind() == io::ErrorKind::AddrInUse =>
        {
            Exit::InUse
        }
        StartError::Service(ServiceError::Identity { .. }) | StartError::RelayIdentity(_) => Exit::Identity,
        StartError::Service(ServiceError::SameIdentity { .. }) => Exit::Configuration,
        _ => Exit::Failed,
    }
}

fn port_remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "stop the other program, or choose another port (see `hardline doctor`)",
        io::ErrorKind::PermissionDenied => "choose a port above 1023",
        _ => "see `hardline doctor`",
    }
}

/// An error and its causes, from the outermost on, each said once.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_in_the_table_at_its_own_number() {
        for (index, (exit, meaning)) in Exit::ALL.iter().enumerate() {
            assert_eq!(*exit as usize, index);
            assert!(!meaning.is_empty());
        }
        assert_eq!(Exit::ChecksFailed as usize + 1, Exit::ALL.len());
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        let inner = std::io::Error::other("disk full");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), "disk full");
    }
}
