//! `relay://TOKEN@HOST:PORT/KEYHASH`: what a publisher needs to use a relay.

use std::fmt;
use std::str::FromStr;

use super::{Id, IdError};
use crate::hosts::{HostPort, HostPortError};
use crate::key::{KeyHash, KeyHashError};

const SCHEME: &str = "relay";

/// A relay's address for one publisher. Its `Debug` text hides the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl {
    /// Admits the publisher.
    pub token: Id,
    /// Where the relay listens; `None` when it is looked up by its key hash, like a service.
    pub at: Option<HostPort>,
    /// Whose certificate must answer.
    pub key: KeyHash,
}

/// Why a text is not a relay's address. None of the texts repeats the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayUrlError {
    /// It does not begin with `relay://`.
    #[error("a relay's address begins with relay://, as in relay://TOKEN@HOST:PORT/KEYHASH")]
    Scheme,
    /// No `@` parts token and host.
    #[error("no token in front of an @, as in relay://TOKEN@HOST:PORT/KEYHASH")]
    NoToken,
    /// The token is malformed.
    #[error("the token is {0}")]
    Token(#[from] IdError),
    /// The host or port is malformed.
    #[error(transparent)]
    Host(#[from] HostPortError),
    /// No key hash behind the last `/`.
    #[error("no key hash behind the host, as in relay://TOKEN@HOST:PORT/KEYHASH: {0}")]
    Key(#[from] KeyHashError),
}

impl FromStr for RelayUrl {
    type Err = RelayUrlError;

    /// Reads the address with white space around it and one `/` behind it; the scheme's case does
    /// not matter.
    fn from_str(text: &str) -> Result<Self, RelayUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(RelayUrlError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(RelayUrlError::Scheme);
        }
        let (token, rest) = rest.split_once('@').ok_or(RelayUrlError::NoToken)?;
        let token = token.parse()?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, key) = rest.split_once('/').unwrap_or(("", rest));
        let at = if host.is_empty() { None } else { Some(host.parse()?) };
        Ok(Self { token, at, key: key.parse()? })
    }
}

impl RelayUrl {
    /// The address without its token, for people to recognise it by.
    #[must_use]
    pub fn masked(&self) -> String {
        self.to_string().replace(&self.token.to_string(), "********")
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}@", self.token)?;
        if let Some(at) = &self.at {
            write!(f, "{at}")?;
        }
        write!(f, "/{}", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "000102030405060708090a0b0c0d0e0f";
    const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

    /// Reads `text`, with `TOKEN` and `KEY` replaced.
    #[track_caller]
    fn check(text: &str, expected: Result<Option<&str>, RelayUrlError>) {
        let read: Result<RelayUrl, _> = text.replace("TOKEN", TOKEN).replace("KEY", KEY).parse();
        let url = |at: Option<&str>| RelayUrl {
            token: TOKEN.parse().unwrap(),
            at: at.map(|at| at.parse().unwrap()),
            key: KEY.parse().unwrap(),
        };
        assert_eq!(read, expected.map(url), "{text:?}");
    }

    #[test]
    fn host_and_port_may_be_missing() {
        check("relay://TOKEN@vps.example:7008/KEY", Ok(Some("vps.example:7008")));
        check("relay://TOKEN@[2001:db8::1]:7008/KEY", Ok(Some("[2001:db8::1]:7008")));
        check(" RELAY://TOKEN@192.0.2.1:7008/KEY/\n", Ok(Some("192.0.2.1:7008")));
        check("relay://TOKEN@/KEY", Ok(None));
        check("relay://TOKEN@KEY", Ok(None));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["relay://TOKEN@vps.example:7008/KEY", "relay://TOKEN@/KEY"] {
            let text = text.replace("TOKEN", TOKEN).replace("KEY", KEY);
            assert_eq!(text.parse::<RelayUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_mistake_has_its_own_word() {
        check("http://TOKEN@vps.example:7008/KEY", Err(RelayUrlError::Scheme));
        check("TOKEN@vps.example:7008/KEY", Err(RelayUrlError::Scheme));
        check("relay://vps.example:7008/KEY", Err(RelayUrlError::NoToken));
        check("relay://secret@vps.example:7008/KEY", Err(RelayUrlError::Token(IdError)));
        check("relay://TOKEN@vps.example/KEY", Err(HostPortError::Port("vps.example".into()).into()));
        check("relay://TOKEN@vps.example:7008", Err(KeyHashError::Digit { found: 'v' }.into()));
        check("relay://TOKEN@vps.example:7008/abc", Err(KeyHashError::Length { len: 3 }.into()));
    }

    #[test]
    fn no_message_repeats_a_mistyped_token() {
        let error = "relay://se-cret@vps.example:7008/00".parse::<RelayUrl>().unwrap_err();
        assert!(!error.to_string().contains("cret"), "{error}");
        let url: RelayUrl = format!("relay://{TOKEN}@/{KEY}").parse().unwrap();
        assert!(!format!("{url:?}").contains(TOKEN), "{url:?}");
        assert_eq!(url.masked(), format!("relay://********@/{KEY}"));
    }
}
