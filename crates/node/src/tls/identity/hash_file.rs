//! Text of `NAME.hash` → password and key hash.
//!
//! Written as the hash alone, which the releases read as "no password". They write and read `freetext-hash`.

use hardline_proto::KeyHash;
use hardline_proto::key::KeyHashError;

/// Reads a `.hash` file as the releases do: the password is the text in front of the first `-`, the hash that behind the
/// last.
pub(super) fn parse(text: &str) -> Result<(Option<String>, KeyHash), KeyHashError> {
    let text = text.trim();
    let (_, hash) = text.rsplit_once('-').unwrap_or(("", text));
    let (password, _) = text.split_once('-').unwrap_or(("", text));
    Ok(((!password.is_empty()).then(|| password.to_owned()), hash.parse()?))
}
