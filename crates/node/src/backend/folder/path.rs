//! A request's path ↔ names in the shared folder.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::system::names::{is_separator, os_string};

/// Everything but the characters that RFC 3986, section 2.3, calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where something is in the shared folder. Each name is one step down: never empty, never hidden,
/// never up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharedPath {
    pub(super) names: Vec<OsString>,
    /// Whether the request asked for a folder.
    pub(super) ends_with_slash: bool,
}

impl SharedPath {
    /// Reads the path of a request. `None` when it is not absolute, or a part of it is empty,
    /// hidden, or no name.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        if path.is_empty() {
            return Some(Self { names: Vec::new(), ends_with_slash: true });
        }
        let (path, ends_with_slash) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let names = path.split('/').map(|part| name(percent_decode_str(part).collect())).collect::<Option<_>>()?;
        Some(Self { names, ends_with_slash })
    }

    /// The path for a link, without a slash at its end.
    pub(super) fn url(&self) -> String {
        url(&self.names)
    }

    /// The path below the shared folder.
    pub(super) fn relative(&self) -> PathBuf {
        self.names.iter().collect()
    }
}

/// A path for a link, without a slash at its end.
pub(super) fn url(names: &[OsString]) -> String {
    names.iter().fold(String::new(), |mut url, name| {
        // Writing to a string cannot fail.
        let _ = write!(url, "/{}", encode(name));
        url
    })
}

/// One name as a part of a link.
pub(super) fn encode(name: &OsStr) -> String {
    percent_encode(name.as_encoded_bytes(), ENCODED).to_string()
}

/// Whether the name is kept from visitors.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn name(bytes: Vec<u8>) -> Option<OsString> {
    if bytes.is_empty() || bytes.iter().any(|byte| *byte == 0 || is_separator(*byte)) {
        return None;
    }
    let name = os_string(bytes)?;
    (!is_hidden(&name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read() {
        check("/", Some((&[], true)));
        check("/a", Some((&["a"], false)));
        check("/a/b.txt", Some((&["a", "b.txt"], false)));
        check("/a/b/", Some((&["a", "b"], true)));
        check("/a%20b/%23%3F%25%22%3Cscript%3E", Some((&["a b", "#?%\"<script>"], false)));
        check("/%C3%A4/ö", Some((&["ä", "ö"], false)));
        check("/100%", Some((&["100%"], false)));
        check("/a..b/c.", Some((&["a..b", "c."], false)));
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in [
            "",
            "*",
            "a",
            "//",
            "//example.org/",
            "/a//b",
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/etc",
            "/%2E./etc",
            "/a%2fb",
            "/%2Fetc%2Fpasswd",
            "/..%2f..%2fetc",
            "/.ssh/id",
            "/a/.git/",
            "/%2egit",
            "/...",
            "/a%00b",
            "/%00",
        ] {
            check(path, None);
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_need_not_be_utf_8() {
        use std::os::unix::ffi::OsStringExt;
        let name = OsString::from_vec(b"caf\xe9".to_vec());
        let path = SharedPath::parse("/caf%E9/").unwrap();
        assert_eq!(path.names, [name]);
        assert_eq!(path.url(), "/caf%E9");
    }

    #[test]
    fn a_name_in_a_link_cannot_be_taken_for_anything_else() {
        assert_eq!(
            encode(OsStr::new("javascript:a//b?c#d&e=<f>\"' %")),
            "javascript%3Aa%2F%2Fb%3Fc%23d%26e%3D%3Cf%3E%22%27%20%25"
        );
    }

    proptest! {
        #[test]
        fn a_link_leads_to_the_name_it_was_made_from(names in prop::collection::vec("[^./\0][^/\0]{0,20}", 1..4), ends_with_slash: bool) {
            let names: Vec<OsString> = names.into_iter().map(OsString::from).collect();
            let link = url(&names) + if ends_with_slash { "/" } else { "" };
            prop_assert_eq!(SharedPath::parse(&link), Some(SharedPath { names, ends_with_slash }));
        }

        #[test]
        fn whatever_is_asked_every_step_leads_down(path in "(/|%2[eEfF]|\\.|%00|%5[cC]|[a-z%:]|\\PC){0,40}") {
            if let Some(path) = SharedPath::parse(&path) {
                let relative = path.relative();
                prop_assert_eq!(relative.components().count(), path.names.len());
                prop_assert!(relative.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert!(path.names.iter().all(|name| !is_hidden(name)));
            }
        }
    }

    #[track_caller]
    fn check(path: &str, expected: Option<(&[&str], bool)>) {
        let expected = expected.map(|(names, ends_with_slash)| SharedPath {
            names: names.iter().map(OsString::from).collect(),
            ends_with_slash,
        });
        assert_eq!(SharedPath::parse(path), expected, "{path}");
    }
}
