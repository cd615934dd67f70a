//! What services are called in a ClientHello → which one is meant.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hardline_proto::KeyHash;
use hardline_proto::host::parse_service_name;
use hardline_proto::rolling::{Day, RollingCode};

/// The names of this node's services: key hashes, and the rolling codes of yesterday, today and
/// tomorrow. Only who knows the key hash knows those.
#[derive(Debug)]
pub(super) struct Names {
    keys: Vec<KeyHash>,
    codes: Mutex<Codes>,
}

/// The rolling codes around one day, with whose they are.
#[derive(Debug, Default)]
struct Codes {
    today: Option<Day>,
    keys: HashMap<[u8; KeyHash::LEN], KeyHash>,
}

impl Names {
    pub(super) fn of(keys: impl IntoIterator<Item = KeyHash>) -> Self {
        Self { keys: keys.into_iter().collect(), codes: Mutex::default() }
    }

    /// The service that `server_name` means `today`.
    pub(super) fn find(&self, server_name: &str, today: Day) -> Option<KeyHash> {
        let name = parse_service_name(server_name).ok()?.key;
        if self.keys.contains(&name) {
            return Some(name);
        }
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.today != Some(today) {
            let coded = |key: &KeyHash| {
                let key = *key;
                today.with_neighbours().map(|day| (*RollingCode::of(&key, day).as_bytes(), key))
            };
            *codes = Codes { today: Some(today), keys: self.keys.iter().flat_map(coded).collect() };
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
        let names = Names::of(keys);
        let today = Day(20_000);
        for key in keys {
            assert_eq!(names.find(&key.to_string(), today), Some(key));
            for (day, is_known) in [(19_998, false), (19_999, true), (20_000, true), (20_001, true), (20_002, false)] {
                let code = RollingCode::of(&key, Day(day)).to_string();
                assert_eq!(names.find(&code, today), is_known.then_some(key), "{day}");
            }
            let code = RollingCode::of(&key, Day(20_002)).to_string();
            assert_eq!(names.find(&code, Day(20_003)), Some(key), "as the days go by");
        }
        assert_eq!(names.find("localhost", today), None);
    }
}
