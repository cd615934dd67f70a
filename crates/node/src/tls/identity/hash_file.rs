//! Text of `NAME.hash` → access and key hash.
//!
//! Written as the hash alone, which the releases read as "no password". They write and read
//! `freetext-hash`.

use hardline_proto::KeyHash;
use hardline_proto::key::KeyHashError;

use crate::access::Access;

/// Reads a `.hash` file as the releases do: the password is the text in front of the first `-`, the
/// hash that behind the last.
pub(super) fn parse(text: &str) -> Result<(Access, KeyHash), KeyHashError> {
    let text = text.trim();
    let (_, hash) = text.rsplit_once('-').unwrap_or(("", text));
    let (password, _) = text.split_once('-').unwrap_or(("", text));
    let access = if password.is_empty() { Access::Open } else { Access::Password(password.to_owned()) };
    Ok((access, hash.parse()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

    #[test]
    fn the_hash_stands_alone_or_behind_the_password() {
        #[track_caller]
        fn check(text: &str, expected: Option<Option<&str>>) {
            let access = |password: &str| Access::Password(password.into());
            let expected = expected.map(|password| (password.map_or(Access::Open, access), HASH.parse().unwrap()));
            assert_eq!(parse(text).ok(), expected);
        }
        check(HASH, Some(None));
        check(&format!("  {HASH}\r\n"), Some(None));
        check(&format!("p7x4vqaxzmy3q-{HASH}"), Some(Some("p7x4vqaxzmy3q")));
        check(&format!("one-two-{HASH}\n"), Some(Some("one")));
        check(&format!("-{HASH}"), Some(None));
        check(&format!("--{HASH}"), Some(None));
        check(&format!("{HASH}-"), None);
        check(&HASH[1..], None);
        check(&format!("{HASH} {HASH}"), None);
        check("", None);
        check("-", None);
    }

    proptest! {
        #[test]
        fn a_password_and_hash_are_read_back(password in "[^-\\s]{1,40}", bytes: [u8; 20]) {
            let hash = KeyHash::from_bytes(bytes);
            prop_assert_eq!(parse(&format!("{password}-{hash}")), Ok((Access::Password(password), hash)));
        }

        #[test]
        fn no_text_panics(text in ".{0,100}") {
            let _ = parse(&text);
        }
    }
}
