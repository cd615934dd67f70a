//! The REST proxy of OpenDHT: asking others, and being one.

pub mod client; // values through somebody else's node, where no UDP is possible
pub mod server; // values through our node, for others
mod value; // values as the proxies write them

use hardline_dht::InfoHash;

/// Longest JSON line of a value, in bytes: base64 of the largest value, and room for the rest.
const MAX_LINE: usize = 128 * 1024;

/// The key that a path segment stands for: 40 hex digits are the key itself, whatever follows them;
/// anything else is its name. Released proxies do not decode percent signs, so neither does this.
fn key_of(segment: &str) -> InfoHash {
    let literal = segment.get(..2 * InfoHash::LEN).and_then(|digits| digits.parse().ok());
    literal.filter(|key: &InfoHash| !key.is_zero()).unwrap_or_else(|| InfoHash::of(segment.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_a_key_when_it_begins_with_one_and_else_a_name() {
        let hex = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
        assert_eq!(key_of(hex).to_string(), hex);
        assert_eq!(key_of(&format!("{}tail", hex.to_uppercase())).to_string(), hex);
        assert_eq!(key_of("hello").to_string(), hex);
        assert_eq!(key_of("/a%20b"), InfoHash::of(b"/a%20b"));
        assert_eq!(key_of(&"0".repeat(40)), InfoHash::of("0".repeat(40).as_bytes()));
        assert_eq!(key_of(&"ä".repeat(30)), InfoHash::of("ä".repeat(30).as_bytes()));
    }
}
