//! Key hash and day → keys of the DHT under which a service's addresses are stored.
//!
//! Each is the SHA-1 of a text, as OpenDHT makes keys of names.

use sha1::{Digest, Sha1};

use crate::call::CallId;
use crate::key::KeyHash;
use crate::rolling::{Day, RollingCode};

/// Length of a key of the DHT, in bytes.
pub const LEN: usize = 20;

/// What stands in front of the rolling code in the name of a sealed value.
const SEALED_PREFIX: &str = "hardline/2:";

/// What stands in front of the rolling code in the name of a call, and of an answer to one.
const CALL_PREFIX: &str = "hardline/2 call:";
const ANSWER_PREFIX: &str = "hardline/2 answer:";

/// Time before and after midnight UTC in which two days are published and looked up, in seconds:
/// clocks of two computers disagree, and a value put just before midnight is looked for just after
/// it.
const NEAR_MIDNIGHT: u64 = 30 * 60;

/// Where releases 0.0.12 to 0.0.14 publish and look: under the key hash itself.
#[must_use]
pub fn plain(key: &KeyHash) -> [u8; LEN] {
    sha1(&key.to_string())
}

/// Where release 0.0.18 and later ones publish and look: under the rolling code of the day.
#[must_use]
pub fn rolling(key: &KeyHash, day: Day) -> [u8; LEN] {
    sha1(&RollingCode::of(key, day).to_string())
}

/// Where sealed records are: see [`sealed`](crate::sealed).
#[must_use]
pub fn sealed(key: &KeyHash, day: Day) -> [u8; LEN] {
    sha1(&format!("{SEALED_PREFIX}{}", RollingCode::of(key, day)))
}

/// Where a service is called: see [`call`](crate::call).
#[must_use]
pub fn call(key: &KeyHash, day: Day) -> [u8; LEN] {
    sha1(&format!("{CALL_PREFIX}{}", RollingCode::of(key, day)))
}

/// Where the call of that identifier is answered.
#[must_use]
pub fn answer(id: &CallId) -> [u8; LEN] {
    sha1(&format!("{ANSWER_PREFIX}{id}"))
}

/// The days to publish and to look under at `unix_seconds`: today, and near midnight its neighbour.
#[must_use]
pub fn days_around(unix_seconds: u64) -> Vec<Day> {
    let today = Day::from_unix_seconds(unix_seconds);
    let neighbours = [unix_seconds.saturating_sub(NEAR_MIDNIGHT), unix_seconds.saturating_add(NEAR_MIDNIGHT)]
        .map(Day::from_unix_seconds);
    let mut days = vec![today];
    days.extend(neighbours.into_iter().filter(|day| *day != today));
    days
}

/// Unix time in seconds at which [`days_around`] next gives another answer.
#[must_use]
pub fn days_change_after(unix_seconds: u64) -> u64 {
    let midnight = |day: Day| day.0.saturating_mul(Day::SECONDS);
    let next = midnight(Day(Day::from_unix_seconds(unix_seconds).0.saturating_add(1)));
    let changes = [next - Day::SECONDS + NEAR_MIDNIGHT, next - NEAR_MIDNIGHT, next];
    changes.into_iter().find(|at| *at > unix_seconds).unwrap_or(next)
}

fn sha1(name: &str) -> [u8; LEN] {
    Sha1::digest(name.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::hex;

    /// Computed with Python: `hashlib.sha1(text.encode()).hexdigest()`.
    #[test]
    fn keys_are_the_sha_1_of_their_names() {
        let key = KeyHash::from_bytes([7; 20]);
        assert_eq!(hex(&plain(&key)), "79205857ebe6e1a619b6607bf9fe0e1d75d93191");
        assert_eq!(hex(&rolling(&key, Day(20_000))), "5044e29c98148848e89e5385aee8e01cdda5e1bc");
        assert_eq!(hex(&sealed(&key, Day(20_000))), "17177a54073364080674ec106222a7d0c62764a1");
        assert_eq!(hex(&call(&key, Day(20_000))), "df3e2987784c8fb94d1f3b0a2d36fd9521c4e985");
        assert_eq!(hex(&answer(&CallId::from_bytes([7; 16]))), "20d323af9a7394dc3761f2e99f795595e63f8a81");
    }

    #[test]
    fn near_midnight_there_are_two_days() {
        let midnight = 20_000 * 86_400;
        for (at, days) in [
            (midnight - 1801, &[19_999][..]),
            (midnight - 1800, &[19_999, 20_000]),
            (midnight - 1, &[19_999, 20_000]),
            (midnight, &[20_000, 19_999]),
            (midnight + 1799, &[20_000, 19_999]),
            (midnight + 1800, &[20_000]),
            (0, &[0]),
        ] {
            assert_eq!(days_around(at).iter().map(|day| day.0).collect::<Vec<_>>(), days, "at {at}");
        }
    }

    #[test]
    fn the_days_stay_the_same_until_they_are_said_to_change() {
        for start in [0, 1, 1799, 1800, 40_000, 84_599, 84_600, 86_399] {
            let start = start + 20_000 * 86_400;
            let change = days_change_after(start);
            assert_eq!(days_around(change - 1), days_around(start), "from {start}");
            assert_ne!(days_around(change), days_around(start), "from {start}");
        }
    }
}
