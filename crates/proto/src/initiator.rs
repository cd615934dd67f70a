//! Who made a browser send a request (W3C Fetch Metadata; RFC 6454 for `Origin`).

/// Who made a browser send a request, as far as its headers tell. Browsers do not let pages forge
/// these headers; programs may send what they like, and read what they like anyway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Initiator {
    /// A person, a program, or a page of the same origin.
    #[default]
    Own,
    /// A link on another page, which the person followed. The other page cannot read the answer.
    Link,
    /// Another origin's page, which wants to load the answer, frame it, or send something.
    Other,
}

impl Initiator {
    /// Reads the headers of one request. `values` gives every value of a header, whatever the case
    /// of its name.
    pub fn of<'a, I: Iterator<Item = &'a [u8]>>(host: &[u8], values: impl Fn(&'static str) -> I) -> Self {
        if values("origin").any(|origin| !is_origin_of(origin, host)) {
            return Self::Other;
        }
        let all = |name, wanted: &[u8]| values(name).all(|value| value == wanted);
        let follows_link = || {
            let says_so = |name, wanted: &[u8]| values(name).next().is_some() && all(name, wanted);
            says_so("sec-fetch-mode", b"navigate") && says_so("sec-fetch-dest", b"document")
        };
        // Browsers that do not send it send nothing that could be trusted in its place.
        if all("sec-fetch-site", b"none") || all("sec-fetch-site", b"same-origin") {
            Self::Own
        } else if follows_link() {
            Self::Link
        } else {
            Self::Other
        }
    }
}

/// Whether `origin` is that of a page at `host`, spoken to without TLS.
fn is_origin_of(origin: &[u8], host: &[u8]) -> bool {
    origin.strip_prefix(b"http://").is_some_and(|at| at.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: Initiator) {
        let values = |name: &'static str| {
            headers.iter().filter(move |(named, _)| *named == name).map(|(_, value)| value.as_bytes())
        };
        assert_eq!(Initiator::of(b"localhost:7009", values), expected, "{headers:?}");
    }

    #[test]
    fn people_programs_and_own_pages_are_let_in() {
        check(&[], Initiator::Own);
        check(&[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], Initiator::Own);
        check(&[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], Initiator::Own);
        check(&[("origin", "http://localhost:7009")], Initiator::Own);
        check(&[("origin", "http://LOCALHOST:7009"), ("sec-fetch-site", "same-origin")], Initiator::Own);
    }

    #[test]
    fn a_link_elsewhere_may_lead_here() {
        for site in ["cross-site", "same-site"] {
            let mut headers =
                vec![("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            check(&headers, Initiator::Link);
            headers.push(("sec-fetch-dest", "iframe"));
            check(&headers, Initiator::Other);
        }
    }

    #[test]
    fn another_origin_may_neither_load_nor_frame_nor_send() {
        let cross = ("sec-fetch-site", "cross-site");
        check(&[cross], Initiator::Other);
        check(&[cross, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], Initiator::Other);
        check(&[cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], Initiator::Other);
        check(&[cross, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], Initiator::Other);
        check(&[("sec-fetch-site", "anything new")], Initiator::Other);
        check(&[("sec-fetch-site", "none"), cross], Initiator::Other);
    }

    #[test]
    fn an_origin_must_be_the_host_itself() {
        for origin in [
            "null",
            "",
            "localhost:7009",
            "https://localhost:7009",
            "http://localhost",
            "http://localhost:7009/",
            "http://localhost:70090",
            "http://e868423731872b8235a0adc9102bb45bb9e8321e.localhost:7009",
        ] {
            check(&[("origin", origin), ("sec-fetch-site", "same-origin")], Initiator::Other);
        }
        check(&[("origin", "http://localhost:7009"), ("origin", "null")], Initiator::Other);
    }
}
