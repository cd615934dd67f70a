//! The gateway's port → environment variables that tell a program to use it as its proxy.

use std::fmt::Write as _;

use clap::ValueEnum;

use crate::system::kind::{HERE, System};

/// Which shell the variables are printed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VariablesFor {
    /// sh, bash, zsh and their kin
    Sh,
    /// fish
    Fish,
    /// `PowerShell`
    Powershell,
}

impl VariablesFor {
    /// The shell of this user, as far as the environment tells.
    pub(crate) fn here() -> Self {
        let shell = std::env::var("SHELL").unwrap_or_default();
        match shell.rsplit('/').next() {
            Some("fish") => Self::Fish,
            Some("") if HERE == System::Windows => Self::Powershell,
            _ => Self::Sh,
        }
    }

    /// A line for each variable.
    pub(crate) fn lines(self, variables: &[(&'static str, String)]) -> String {
        let mut text = String::new();
        for (name, value) in variables {
            let _ = match self {
                Self::Sh => writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''")),
                Self::Fish => {
                    writeln!(text, "set -gx {name} '{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
                }
                Self::Powershell => writeln!(text, "$env:{name} = '{}'", value.replace('\'', "''")),
            };
        }
        text
    }
}

/// The variables. Most programs read them in lower case, some in upper case.
///
/// Nothing says "this proxy for these names only", and the proxy refuses what is no service. So it
/// is named for plain HTTP, which services speak and other sites hardly do any more; with
/// `is_for_all` it is named for everything. `no_proxy` is what the environment says already.
pub(crate) fn variables(port: u16, is_for_all: bool, no_proxy: &str) -> Vec<(&'static str, String)> {
    let (http, socks) = (format!("http://127.0.0.1:{port}"), format!("socks5h://127.0.0.1:{port}"));
    let without = exceptions(no_proxy);
    let mut variables = vec![("http_proxy", http.clone()), ("HTTP_PROXY", http.clone())];
    if is_for_all {
        variables.extend([("https_proxy", http.clone()), ("HTTPS_PROXY", http)]);
        variables.extend([("all_proxy", socks.clone()), ("ALL_PROXY", socks)]);
    }
    variables.extend([("no_proxy", without.clone()), ("NO_PROXY", without)]);
    variables
}

/// What this process's environment asks for without a proxy.
pub(crate) fn no_proxy_here() -> String {
    std::env::var("no_proxy").or(std::env::var("NO_PROXY")).unwrap_or_default()
}

/// What is asked for without a proxy: programs of this computer by their address, and what was said
/// before, unless that would leave out services. (Most programs take `localhost` for all names
/// below it as well.)
fn exceptions(before: &str) -> String {
    let covers_services = |entry: &str| {
        let name = entry.trim_start_matches(['*', '.']).to_ascii_lowercase();
        name.is_empty() || name == "localhost" || name.ends_with(".localhost")
    };
    let own = ["127.0.0.1", "::1"];
    let kept = before.split([',', ' ']).filter(|entry| !covers_services(entry) && !own.contains(entry));
    kept.chain(own).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_kept_unless_they_leave_out_services() {
        for (before, expected) in [
            ("", "127.0.0.1,::1"),
            ("127.0.0.1,10.0.0.0/8 .example.org", "10.0.0.0/8,.example.org,127.0.0.1,::1"),
            ("localhost,.localhost,*.LOCALHOST,*,k.localhost", "127.0.0.1,::1"),
            ("localhost:3000,notlocalhost", "localhost:3000,notlocalhost,127.0.0.1,::1"),
        ] {
            assert_eq!(exceptions(before), expected, "{before}");
        }
    }

    #[test]
    fn a_value_is_quoted_for_each_shell() {
        let variables = [("no_proxy", r"it's\".to_owned())];
        for (shell, expected) in [
            (VariablesFor::Sh, r"export no_proxy='it'\''s\'"),
            (VariablesFor::Fish, r"set -gx no_proxy 'it\'s\\'"),
            (VariablesFor::Powershell, r"$env:no_proxy = 'it''s\'"),
        ] {
            assert_eq!(shell.lines(&variables), format!("{expected}\n"));
        }
    }

    #[test]
    fn other_traffic_is_sent_here_only_if_asked_for() {
        let names = |is_for_all| variables(1, is_for_all, "").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(false), ["http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"]);
        assert!(names(true).contains(&"https_proxy") && names(true).contains(&"ALL_PROXY"));
    }
}
