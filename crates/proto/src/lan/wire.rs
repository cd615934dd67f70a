//! Bytes ⇄ datagrams.

use std::fmt;

use super::limits::{MAX_COOKIE, MAX_DATAGRAM, MAX_FREETEXT, MAX_LINES, MAX_TITLE};
use crate::key::{KeyHash, KeyHashError, hex};

/// One datagram of LAN discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datagram {
    /// Somebody looks for a service.
    Search(Search),
    /// Somebody says that a service is here: unasked or as an answer.
    Service(Announcement),
    /// Somebody says that a service is here no more.
    Goodbye(Goodbye),
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// What is looked for: a plain key hash or one of its codes. `None` asks every service to
    /// answer.
    pub code: Option<[u8; KeyHash::LEN]>,
    /// Who asks.
    pub cookie: Cookie,
    /// Whether who asks says that it knows version 2 of the protocol.
    pub speaks_v2: bool,
}

/// A claim that a service answers at `port` of the computer that sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// P2P port.
    pub port: u16,
    /// Which service.
    pub infohash: Infohash,
    /// Who says so.
    pub cookie: Cookie,
    /// What people may read of it.
    pub title: Title,
    /// Whether it says that it knows version 2 of the protocol. Nothing of this is authenticated.
    pub speaks_v2: bool,
}

/// The end of an announcement: the service answers no more at `port` of the computer that sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// P2P port.
    pub port: u16,
    /// Which service: its plain key hash.
    pub key: KeyHash,
    /// Who says so: the cookie of the announcements that this one ends.
    pub cookie: Cookie,
}

/// `Infohash` of an announcement: the hash, and text in front of it as released peers send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Infohash {
    /// What stands in front of the last `-`.
    pub freetext: Option<Freetext>,
    /// A plain key hash or one of its codes.
    pub hash: [u8; KeyHash::LEN],
}

/// Text in front of a key hash in an address. Its `Debug` text hides it, because it may be a
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct Freetext(String);

impl Freetext {
    /// Takes `text` if it may stand in a host name: 1 to [`MAX_FREETEXT`] ASCII letters, digits,
    /// `-` or `_`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= MAX_FREETEXT;
        let is_clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (fits && is_clean).then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Freetext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Freetext(MASKED)")
    }
}

/// Free text from a stranger, made fit for a terminal and a log: at most [`MAX_TITLE`] bytes, on
/// one line, without control characters. Not fit for a page without escaping.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Title(String);

impl Title {
    /// Keeps what is harmless of `text`.
    #[must_use]
    pub fn clean(text: &str) -> Self {
        let mut kept = String::new();
        for character in text.chars().filter(|&character| !is_control(character)) {
            if kept.len() + character.len_utf8() > MAX_TITLE {
                break;
            }
            kept.push(character);
        }
        Self(kept.trim().to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character can move the cursor, start a line, or change the direction of what stands
/// around it (Unicode Bidirectional Algorithm, UAX #9, section 2).
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
        || matches!(character, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A sender's own random text, to drop one's own datagrams: multicast comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie(String);

impl Cookie {
    /// Writes random bytes as hexadecimal digits.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex(&bytes))
    }

    /// Takes a cookie off the wire; what goes beyond its limit only makes it differ from ours.
    fn from_wire(text: &str) -> Self {
        let kept: String = text.chars().take(MAX_COOKIE).collect();
        Self(kept.trim_end().to_owned())
    }
}

/// Why a datagram is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// More bytes than any peer sends.
    #[error("{len} bytes")]
    TooLong {
        /// Bytes received.
        len: usize,
    },
    /// More lines than any peer sends.
    #[error("too many lines")]
    TooManyLines,
    /// The first line is that of no datagram of ours.
    #[error("neither a search nor an announcement nor a goodbye")]
    Unknown,
    /// A line that must be there is missing.
    #[error("no {name} line")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// `Port` is no number from 1 to 65,535.
    #[error("malformed port")]
    Port,
    /// `Infohash` is no key hash.
    #[error("malformed infohash")]
    Infohash(#[from] KeyHashError),
}

const SEARCH: &str = "HARDLINE-SEARCH";
const SERVICE: &str = "HARDLINE-SERVICE";

/// Released peers look for the other two words anywhere in a datagram, and pass over one that has
/// neither.
const GOODBYE: &str = "HARDLINE-GOODBYE";

impl Datagram {
    /// Reads a datagram: lines in any order, names in any case, spaces anywhere around names and
    /// values, lines ended by `\r\n` or `\n`, unknown lines ignored. Of a repeated line the last
    /// counts, as with the released peers.
    ///
    /// # Errors
    /// [`DatagramError`] says what does not fit.
    pub fn parse(bytes: &[u8]) -> Result<Self, DatagramError> {
        if bytes.len() > MAX_DATAGRAM {
            return Err(DatagramError::TooLong { len: bytes.len() });
        }
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split('\n');
        let kind = lines.next().and_then(|line| line.split_whitespace().next()).unwrap_or_default();
        let is = |word: &str| kind.eq_ignore_ascii_case(word);
        if is(SEARCH) {
            Fields::read(lines)?.search().map(Self::Search)
        } else if is(SERVICE) {
            Fields::read(lines)?.announcement().map(Self::Service)
        } else if is(GOODBYE) {
            Fields::read(lines)?.goodbye().map(Self::Goodbye)
        } else {
            Err(DatagramError::Unknown)
        }
    }

    /// Writes the datagram byte for byte as the released peers do; their readers depend on
    /// capitalisation and order.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Search(search) => search.to_text(),
            Self::Service(announcement) => announcement.to_text(),
            Self::Goodbye(goodbye) => goodbye.to_text(),
        }
        .into_bytes()
    }
}

impl Search {
    fn to_text(&self) -> String {
        let code = self.code.map(|code| hex(&code)).unwrap_or_default();
        let version = version_line(self.speaks_v2);
        format!("{SEARCH} * HTTP/1.1\r\nInfohash: {code}\r\ncookie: {}\r\n{version}\r\n\r\n", self.cookie.0)
    }
}

impl Announcement {
    fn to_text(&self) -> String {
        format!(
            "{SERVICE} * HTTP/1.1\r\nPort: {}\r\nInfohash: {}\r\ncookie: {}\r\ntitle: {}\r\n{}\r\n\r\n",
            self.port,
            self.infohash,
            self.cookie.0,
            self.title.0,
            version_line(self.speaks_v2)
        )
    }
}

impl Goodbye {
    fn to_text(&self) -> String {
        let Self { port, key, cookie } = self;
        format!("{GOODBYE} * HTTP/1.1\r\nPort: {port}\r\nInfohash: {key}\r\ncookie: {}\r\n\r\n\r\n", cookie.0)
    }
}

/// The line of peers that know version 2; released peers ignore it.
fn version_line(speaks_v2: bool) -> &'static str {
    if speaks_v2 { "version: 2\r\n" } else { "" }
}

impl fmt::Display for Infohash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Freetext(text)) = &self.freetext {
            write!(f, "{text}-")?;
        }
        f.write_str(&hex(&self.hash))
    }
}

impl Infohash {
    /// Reads `HASH` or `freetext-HASH`. Text that cannot be part of a host name is left out.
    fn parse(text: &str) -> Result<Self, KeyHashError> {
        let (freetext, hash) = text.rsplit_once('-').unwrap_or(("", text));
        Ok(Self { freetext: Freetext::new(freetext), hash: *hash.parse::<KeyHash>()?.as_bytes() })
    }
}

/// The values of the lines that mean something.
#[derive(Default)]
struct Fields<'a> {
    port: Option<&'a str>,
    infohash: Option<&'a str>,
    cookie: Option<&'a str>,
    title: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn read(lines: impl Iterator<Item = &'a str>) -> Result<Self, DatagramError> {
        let mut fields = Self::default();
        for (index, line) in lines.enumerate() {
            if index >= MAX_LINES {
                return Err(DatagramError::TooManyLines);
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let field = match name.trim() {
                name if name.eq_ignore_ascii_case("Port") => &mut fields.port,
                name if name.eq_ignore_ascii_case("Infohash") => &mut fields.infohash,
                name if name.eq_ignore_ascii_case("cookie") => &mut fields.cookie,
                name if name.eq_ignore_ascii_case("title") => &mut fields.title,
                name if name.eq_ignore_ascii_case("version") => &mut fields.version,
                _ => continue,
            };
            *field = Some(value.trim());
        }
        Ok(fields)
    }

    fn infohash(&self) -> Result<&'a str, DatagramError> {
        self.infohash.ok_or(DatagramError::Missing { name: "Infohash" })
    }

    /// Later versions will know the second one too.
    fn speaks_v2(&self) -> bool {
        self.version.and_then(|version| version.parse::<u32>().ok()).is_some_and(|version| version >= 2)
    }

    fn cookie(&self) -> Cookie {
        Cookie::from_wire(self.cookie.unwrap_or_default())
    }

    fn search(&self) -> Result<Search, DatagramError> {
        let code = match self.infohash()? {
            "" => None,
            text => Some(Infohash::parse(text)?.hash),
        };
        Ok(Search { code, cookie: self.cookie(), speaks_v2: self.speaks_v2() })
    }

    fn port(&self) -> Result<u16, DatagramError> {
        let port = self.port.ok_or(DatagramError::Missing { name: "Port" })?;
        port.parse().ok().filter(|&port| port != 0).ok_or(DatagramError::Port)
    }

    fn goodbye(&self) -> Result<Goodbye, DatagramError> {
        let port = self.port()?;
        let hash = Infohash::parse(self.infohash()?)?.hash;
        Ok(Goodbye { port, key: KeyHash::from_bytes(hash), cookie: self.cookie() })
    }

    fn announcement(&self) -> Result<Announcement, DatagramError> {
        Ok(Announcement {
            port: self.port()?,
            infohash: Infohash::parse(self.infohash()?)?,
            cookie: self.cookie(),
            title: Title::clean(self.title.unwrap_or_default()),
            speaks_v2: self.speaks_v2(),
        })
    }
}
