//! What belongs to one connection alone is not passed on (RFC 9110, section 7.6.1).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version, request, response};

/// Headers of one connection, whether or not `Connection` names them.
const OF_ONE_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Never taken away because `Connection` names them: a visitor who could have them taken would have
/// the message read in another way.
const OF_THE_MESSAGE: [HeaderName; 3] = [header::HOST, header::CONTENT_LENGTH, header::TRAILER];

/// Takes a request's; `Upgrade` stays where it is asked for, and `TE: trailers`. Says whether
/// another protocol is asked for.
pub(super) fn take_from_request(head: &mut request::Parts) -> bool {
    let upgrade = upgrade(&head.headers).filter(|_| head.version == Version::HTTP_11);
    let wants_trailers = tokens(&head.headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    take(&mut head.headers);
    let asks_upgrade = upgrade.is_some();
    if let Some(upgrade) = upgrade {
        head.headers.insert(header::UPGRADE, upgrade);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    if wants_trailers {
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        head.headers.append(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    asks_upgrade
}

/// Takes an answer's; `Upgrade` stays where it says which protocol begins, or is required.
pub(super) fn take_from_response(head: &mut response::Parts) {
    let is_about_upgrade = matches!(head.status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED);
    let upgrade = head.headers.get(header::UPGRADE).cloned().filter(|_| is_about_upgrade);
    take(&mut head.headers);
    if let Some(upgrade) = upgrade {
        head.headers.insert(header::UPGRADE, upgrade);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
}

fn take(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
        .filter_map(|token| HeaderName::try_from(token).ok())
        .filter(|name| !OF_THE_MESSAGE.contains(name))
        .collect();
    for name in named.iter().chain(&OF_ONE_CONNECTION) {
        headers.remove(name);
    }
}

fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut connection = tokens(headers, &header::CONNECTION);
    connection.any(|token| token.eq_ignore_ascii_case("upgrade")).then(|| headers.get(header::UPGRADE).cloned())?
}

/// The members of a list, over all lines of `name`, without parameters.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|member| member.split(';').next().unwrap_or_default().trim())
}
