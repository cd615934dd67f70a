//! What is done to the HTTP of a service, and how people write it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hardline_proto::rewrite::RESERVED;
use http::header::{HeaderName, HeaderValue};
use http::uri::Authority;

use crate::apps::App;

/// Most headers that are set in each request.
const MAX_HEADERS: usize = 64;

/// What is done to the HTTP between visitors and the program behind a service. What is `None` is
/// left to `app`, and without one to the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// Which certificate the program must have, where it is a [`Target::Https`]. Default: one that
    /// the system's authorities vouch for.
    pub backend_certificate: Option<BackendCertificate>,
    /// What the program is told in `Host`, and in `Origin` and `Referer` where they name this
    /// service. Default: what the visitor's browser says.
    pub host_header: Option<HostHeader>,
    /// Whether the program is told who asked, in `Forwarded` and `X-Forwarded-For`, `-Host` and
    /// `-Proto`; what a visitor says there is removed then. Default: not.
    pub forwarded: Option<bool>,
    /// Headers set in each request, in place of what the visitor sent by these names. None of
    /// [`RESERVED`](hardline_proto::rewrite::RESERVED).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether addresses of the program in `Location`, `Content-Location`, `Refresh` and `Domain=`
    /// of cookies become this service's own. Default: as soon as `host_header` is set.
    pub rewrite_redirects: Option<bool>,
    /// The settings that a known program needs.
    pub app: Option<&'static App>,
}

/// What a program is told that it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// As the service's target says.
    Target,
    /// `localhost`, with the target's port.
    Localhost,
    /// So.
    Is(Authority),
}

/// The certificate that the program behind a service must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendCertificate {
    /// The one with this SHA-256 fingerprint, whatever it says.
    Sha256([u8; 32]),
    /// One in this PEM file, or one for the target's name that one of them vouches for.
    File(PathBuf),
    /// Any: whoever answers at the target's address is believed.
    Any,
}

impl FromStr for HostHeader {
    type Err = String;

    /// Reads `target`, or a host with or without a port.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "target" {
            return Ok(Self::Target);
        }
        let authority = Authority::try_from(text).ok().filter(|authority| !authority.as_str().contains('@'));
        authority.map(Self::Is).ok_or_else(|| format!("found {text:?}"))
    }
}

impl fmt::Display for HostHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target => f.write_str("target"),
            Self::Localhost => f.write_str("localhost"),
            Self::Is(authority) => f.write_str(authority.as_str()),
        }
    }
}

impl BackendCertificate {
    /// Reads `any`, `SHA256:` with 64 hexadecimal digits, colons between them or not, or the path
    /// of a file, from `base` on.
    ///
    /// # Errors
    /// What was found instead.
    pub fn read(text: &str, base: &Path) -> Result<Self, String> {
        let Some((kind, digits)) = text.split_once(':').filter(|(kind, _)| kind.eq_ignore_ascii_case("sha256")) else {
            return match text {
                "" => Err("found nothing".to_owned()),
                "any" => Ok(Self::Any),
                path => Ok(Self::File(base.join(path))),
            };
        };
        let digits: Vec<u32> =
            digits.chars().filter(|digit| *digit != ':').map_while(|digit| digit.to_digit(16)).collect();
        let pairs = digits.chunks_exact(2).filter_map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok());
        let fingerprint = <[u8; 32]>::try_from(pairs.collect::<Vec<_>>()).ok().filter(|_| digits.len() == 64);
        fingerprint.map(Self::Sha256).ok_or_else(|| format!("found {} digits behind {kind}:", digits.len()))
    }
}

impl fmt::Display for BackendCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::File(path) => path.display().fmt(f),
            Self::Sha256(fingerprint) => {
                f.write_str("SHA256:")?;
                fingerprint.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl HttpSettings {
    /// Adds a header that is set in each request. Its value is shown nowhere: it may be a key.
    ///
    /// # Errors
    /// What was found instead, without the value.
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = HeaderName::from_str(name.trim()).map_err(|_| format!("found the name {name:?}"))?;
        if RESERVED.contains(&name) {
            return Err(format!("found {name}, which is not for headers to say"));
        }
        if self.headers.len() == MAX_HEADERS {
            return Err(format!("found more than {MAX_HEADERS} headers"));
        }
        let unusable = || format!("found a value of {name} with a character that is not allowed");
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| unusable())?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_read_in_every_form() {
        let base = Path::new("/etc");
        let read = |text: &str| BackendCertificate::read(text, base);
        let plain = format!("SHA256:{}", "ab".repeat(32));
        let openssl = format!("sha256:{}", vec!["AB"; 32].join(":"));
        assert_eq!(read(&plain), Ok(BackendCertificate::Sha256([0xab; 32])));
        assert_eq!(read(&openssl), read(&plain));
        assert_eq!(read(&plain).unwrap().to_string(), plain);
        assert_eq!(read("any"), Ok(BackendCertificate::Any));
        assert_eq!(read("nas.pem"), Ok(BackendCertificate::File("/etc/nas.pem".into())));
        for bad in ["", "SHA256:", "SHA256:abcd", &format!("{plain}ab"), &format!("SHA256:{}x", "a".repeat(63))] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_is_a_name_with_or_without_a_port() {
        assert_eq!("target".parse(), Ok(HostHeader::Target));
        for good in ["localhost:8888", "app.example", "[::1]:80"] {
            assert_eq!(good.parse::<HostHeader>().unwrap().to_string(), good);
        }
        for bad in ["", "a b", "http://localhost", "user@localhost", "a/b", "a\r\nb"] {
            assert!(bad.parse::<HostHeader>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn headers_that_say_where_a_message_goes_or_ends_cannot_be_set() {
        let mut settings = HttpSettings::default();
        settings.add_header("X-Key", " secret ").unwrap();
        assert_eq!(settings.headers[0].1, "secret");
        assert!(!format!("{settings:?}").contains("secret"));
        for (name, value) in [("Host", "a"), ("content-length", "5"), ("Connection", "x"), ("a b", "c"), ("a", "b\nc")]
        {
            let reason = settings.add_header(name, value).unwrap_err();
            assert!(!reason.contains("b\nc"), "{reason}");
        }
    }
}
