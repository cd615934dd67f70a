//! One value, from TOML or from text (environment and flags) → what a key wants.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use hardline_node::apps::{self, App};
use hardline_node::config::{BackendCertificate, HttpSettings, LocalAddr, Target};
use hardline_node::drivers::dht::proxy::client::ProxyClient;
use hardline_node::proto::candidate::TransportAddr;
use hardline_node::proto::host::ServiceName;
use hardline_node::proto::link::parse_link;
use hardline_node::proto::relay::{RelayUrl, RelayUrlError};
use toml_edit::Value;

use crate::logging::LogFormat;

/// Longest title, in bytes: what listeners on the LAN keep of one.
pub const MAX_TITLE: usize = 256;

/// Longest password, in characters: with a `-` and the key hash it fills the 63 characters a label
/// of a host name may have.
pub const MAX_PASSWORD: usize = 22;

/// A value that has not been understood yet. Its errors say what was found instead, without what it
/// must be.
pub struct Raw<'a> {
    form: Form<'a>,
    base: &'a Path,
}

enum Form<'a> {
    Toml(&'a Value),
    Text(&'a str),
}

impl<'a> Raw<'a> {
    /// A value of a file in the folder `base`.
    pub(super) fn toml(value: &'a Value, base: &'a Path) -> Self {
        Self { form: Form::Toml(value), base }
    }

    /// A variable or a flag, given in the folder `base`. Lists are separated by commas.
    pub(super) fn text(text: &'a str, base: &'a Path) -> Self {
        Self { form: Form::Text(text), base }
    }

    pub(super) fn boolean(&self) -> Result<bool, String> {
        match self.form {
            Form::Toml(value) => value.as_bool().ok_or_else(|| found(value)),
            Form::Text("true" | "1" | "yes" | "on") => Ok(true),
            Form::Text("false" | "0" | "no" | "off") => Ok(false),
            Form::Text(text) => Err(found_text(text)),
        }
    }

    pub(super) fn port(&self) -> Result<u16, String> {
        match self.form {
            Form::Toml(value) => {
                let number = value.as_integer().ok_or_else(|| found(value))?;
                u16::try_from(number).map_err(|_| format!("found {number}"))
            }
            Form::Text(text) => text.parse().map_err(|_| found_text(text)),
        }
    }

    /// A port, or `quic` for the one that QUIC has.
    pub(super) fn port_or_quic(&self) -> Result<Option<u16>, String> {
        match self.string() {
            Ok(text) if text == "quic" => Ok(None),
            _ => self.port().map(Some),
        }
    }

    /// A limit: 1 to a million.
    pub(super) fn limit(&self) -> Result<u32, String> {
        let number = match self.form {
            Form::Toml(value) => value.as_integer().ok_or_else(|| found(value))?,
            Form::Text(text) => text.parse().map_err(|_| found_text(text))?,
        };
        match u32::try_from(number) {
            Ok(limit @ 1..=1_000_000) => Ok(limit),
            _ => Err(format!("found {number}")),
        }
    }

    pub(super) fn string(&self) -> Result<String, String> {
        match self.form {
            Form::Toml(value) => value.as_str().map(Into::into).ok_or_else(|| found(value)),
            Form::Text(text) => Ok(text.into()),
        }
    }

    pub(super) fn title(&self) -> Result<String, String> {
        let title = self.string()?;
        check_title(&title).map(|()| title)
    }

    pub(super) fn duration(&self) -> Result<Duration, String> {
        let text = self.string()?;
        humantime::parse_duration(&text).map_err(|_| found_text(&text))
    }

    /// A time of so many seconds.
    pub(super) fn time(&self, seconds: RangeInclusive<u64>) -> Result<Duration, String> {
        let time = self.duration()?;
        let (least, most) = (Duration::from_secs(*seconds.start()), Duration::from_secs(*seconds.end()));
        if time < least {
            Err(format!("found {}", humantime::format_duration(time)))
        } else if time > most {
            Err(format!(
                "found {}, and {} is the most",
                humantime::format_duration(time),
                humantime::format_duration(most)
            ))
        } else {
            Ok(time)
        }
    }

    /// A time between two numbers of seconds, or `none`.
    pub(super) fn time_or_none(&self, seconds: RangeInclusive<u64>) -> Result<Option<Duration>, String> {
        match self.string() {
            Ok(text) if text == "none" => Ok(None),
            _ => self.time(seconds).map(Some),
        }
    }

    /// A path; `~/` is the home folder, and others are taken from where the value was written.
    pub(super) fn path(&self) -> Result<PathBuf, String> {
        let text = self.string()?;
        if text.is_empty() {
            return Err("found nothing".into());
        }
        Ok(self.base.join(expand_home(&text)))
    }

    pub(super) fn target(&self) -> Result<Target, String> {
        let text = match self.form {
            Form::Toml(value) if value.is_integer() => self.port()?.to_string(),
            _ => self.string()?,
        };
        crate::target::parse(&expand_home(&text), self.base)
    }

    /// A port or a socket of this computer; a path as [`Raw::path`].
    pub(super) fn local_address(&self) -> Result<LocalAddr, String> {
        let text = match self.form {
            Form::Toml(value) if value.is_integer() => self.port()?.to_string(),
            _ => expand_home(&self.string()?),
        };
        match text.parse().map_err(|_| found_text(&text))? {
            LocalAddr::Unix(path) => Ok(LocalAddr::Unix(self.base.join(path))),
            port => Ok(port),
        }
    }

    pub(super) fn log_format(&self) -> Result<LogFormat, String> {
        let text = self.string()?;
        clap::ValueEnum::from_str(&text, false).map_err(|_| found_text(&text))
    }

    pub(super) fn log_filter(&self) -> Result<String, String> {
        let text = self.string()?;
        crate::logging::check_filter(&text).map(|()| text)
    }

    pub(super) fn identity_name(&self) -> Result<String, String> {
        let name = self.string()?;
        crate::identities::check_name(&name).map(|()| name)
    }

    /// A password; what was found is not repeated, because it may be a password.
    pub(super) fn password(&self) -> Result<String, String> {
        let password = self.string().map_err(|_| "found something that is no text".to_owned())?;
        check_password(&password).map(|()| password)
    }

    pub(super) fn app(&self) -> Result<&'static App, String> {
        let name = self.string()?;
        apps::find(&name).ok_or_else(|| found_text(&name))
    }

    /// A certificate of a backend; a path as [`Raw::path`].
    pub(super) fn backend_certificate(&self) -> Result<BackendCertificate, String> {
        BackendCertificate::read(&expand_home(&self.string()?), self.base)
    }

    /// Headers; their values are not repeated, because they may be keys.
    pub(super) fn headers(&self, into: &mut HttpSettings) -> Result<(), String> {
        let Form::Toml(value) = self.form else { return Err("found a text".into()) };
        let table = value.as_inline_table().ok_or_else(|| format!("found the {}", value.type_name()))?;
        table.iter().try_for_each(|(name, value)| {
            let text = value.as_str().ok_or_else(|| format!("found a value of {name} that is no text"))?;
            into.add_header(name, text)
        })
    }

    pub(super) fn link(&self) -> Result<ServiceName, String> {
        parse_link(&self.string()?).map_err(|err| err.to_string())
    }

    /// IP addresses, of one family where `T` is one.
    pub(super) fn addresses<T: FromStr>(&self) -> Result<Vec<T>, String> {
        self.list()?.iter().map(|text| text.parse().map_err(|_| found_text(text))).collect()
    }

    pub(super) fn number(&self) -> Result<u32, String> {
        match self.form {
            Form::Toml(value) => {
                let number = value.as_integer().ok_or_else(|| found(value))?;
                u32::try_from(number).map_err(|_| format!("found {number}"))
            }
            Form::Text(text) => text.parse().map_err(|_| found_text(text)),
        }
    }

    /// Like [`Raw::addresses`]; the text `none` is no address at all.
    pub(super) fn addresses_or_none<T: FromStr>(&self) -> Result<Vec<T>, String> {
        if self.is_none() { Ok(Vec::new()) } else { self.addresses() }
    }

    /// URLs of proxies of the DHT; the text `none` is none at all.
    pub(super) fn proxies_or_none(&self) -> Result<Vec<String>, String> {
        let list = if self.is_none() { Vec::new() } else { self.list()? };
        ProxyClient::new(&list).map_err(|err| err.to_string())?;
        Ok(list)
    }

    /// Relays; the text `none` is none at all. What was found is not repeated: it holds a token.
    pub(super) fn relays(&self) -> Result<Vec<RelayUrl>, String> {
        let list = if self.is_none() { Vec::new() } else { self.list().map_err(|_| "found no list of texts")? };
        list.iter().map(|text| text.parse().map_err(|err: RelayUrlError| err.to_string())).collect()
    }

    /// A number from 0 to `most`.
    pub(super) fn up_to(&self, most: u64) -> Result<u64, String> {
        let number = match self.form {
            Form::Toml(value) => value.as_integer().ok_or_else(|| found(value))?,
            Form::Text(text) => text.parse().map_err(|_| found_text(text))?,
        };
        u64::try_from(number).ok().filter(|number| *number <= most).ok_or_else(|| format!("found {number}"))
    }

    fn is_none(&self) -> bool {
        matches!(self.form, Form::Text("none"))
    }

    pub(super) fn places(&self) -> Result<Vec<TransportAddr>, String> {
        let hosts: Vec<TransportAddr> = self
            .list()?
            .iter()
            .map(|text| TransportAddr::typed(text).map_err(|_| found_text(text)))
            .collect::<Result<_, _>>()?;
        if hosts.is_empty() { Err("found none".into()) } else { Ok(hosts) }
    }

    fn list(&self) -> Result<Vec<String>, String> {
        match self.form {
            Form::Toml(value) => {
                let array = value.as_array().ok_or_else(|| found(value))?;
                array.iter().map(|item| item.as_str().map(Into::into).ok_or_else(|| found(item))).collect()
            }
            Form::Text(text) => {
                Ok(text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
            }
        }
    }
}

/// Whether a password can stand in front of the key hash in the name of a host: browsers make every
/// letter of a name lower case, and the released peers end the password at the first `-`.
///
/// # Errors
/// The reason, without the password.
pub fn check_password(password: &str) -> Result<(), String> {
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(format!("found {} characters", password.chars().count()));
    }
    if !password.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err("found other characters".into());
    }
    Ok(())
}

/// Whether a title can be announced.
///
/// # Errors
/// The reason.
pub fn check_title(title: &str) -> Result<(), String> {
    if title.len() > MAX_TITLE {
        return Err(format!("found {} bytes", title.len()));
    }
    if title.chars().any(char::is_control) {
        return Err("found a control character".into());
    }
    Ok(())
}

fn expand_home(text: &str) -> String {
    match (text.strip_prefix("~/"), directories::BaseDirs::new()) {
        (Some(rest), Some(dirs)) => dirs.home_dir().join(rest).to_string_lossy().into_owned(),
        _ => text.to_owned(),
    }
}

fn found(value: &Value) -> String {
    format!("found the {} {}", value.type_name(), value.to_string().trim())
}

fn found_text(text: &str) -> String {
    format!("found {text:?}")
}
