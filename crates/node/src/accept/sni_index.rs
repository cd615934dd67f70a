//! What services are called in a ClientHello → which one is meant.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hardline_proto::KeyHash;
use hardline_proto::host::parse_service_name;
use hardline_proto::rolling::{Day, RollingCode};

/// The names of this node's services: key hashes, and the rolling codes of yesterday, today and
/// tomorrow. Only who knows the key hash knows those.
///
/// The codes are made anew when the day or the table has changed, by the first who asks.
#[derive(Debug, Default)]
pub(super) struct SniIndex(Mutex<Codes>);

/// The rolling codes around one day, with whose they are.
#[derive(Debug, Default)]
struct Codes {
    /// The day and the generation of the table for which they were made.
    made_for: Option<(Day, u64)>,
    keys: HashMap<[u8; KeyHash::LEN], KeyHash>,
}

impl SniIndex {
    /// The service that `server_name` means `today`, of those with `keys`, which are the table's of
    /// this `generation`.
    pub(super) fn find(
        &self,
        server_name: &str,
        today: Day,
        generation: u64,
        keys: impl Iterator<Item = KeyHash> + Clone,
    ) -> Option<KeyHash> {
        let name = parse_service_name(server_name).ok()?.key;
        if keys.clone().any(|key| key == name) {
            return Some(name);
        }
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.made_for != Some((today, generation)) {
            let coded = |key: KeyHash| today.with_neighbours().map(|day| (*RollingCode::of(&key, day).as_bytes(), key));
            *codes = Codes { made_for: Some((today, generation)), keys: keys.flat_map(coded).collect() };
        }
        codes.keys.get(name.as_bytes()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_key_hash_and_by_the_codes_of_three_days() {
        let keys = [KeyHash::from_bytes([7; 20]), KeyHash::from_bytes([8; 20])];
        let index = SniIndex::default();
        let find = |name: &str, day| index.find(name, day, 1, keys.into_iter());
        let today = Day(20_000);
        for key in keys {
            assert_eq!(find(&key.to_string(), today), Some(key));
            for (day, is_known) in [(19_998, false), (19_999, true), (20_000, true), (20_001, true), (20_002, false)] {
                let code = RollingCode::of(&key, Day(day)).to_string();
                assert_eq!(find(&code, today), is_known.then_some(key), "{day}");
            }
            let code = RollingCode::of(&key, Day(20_002)).to_string();
            assert_eq!(find(&code, Day(20_003)), Some(key), "as the days go by");
        }
        assert_eq!(find("localhost", today), None);
        let removed = RollingCode::of(&keys[0], today).to_string();
        assert_eq!(index.find(&removed, today, 2, keys[1..].iter().copied()), None, "as the table changes");
    }
}
