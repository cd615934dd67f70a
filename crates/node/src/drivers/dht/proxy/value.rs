//! Values in JSON, as released proxies write and read them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hardline_dht::{Value, ValueError, ValueType};
use serde_json::{Value as Json, json};

/// Why a JSON text is no value.
#[derive(Debug, thiserror::Error)]
pub(super) enum JsonValueError {
    #[error("not JSON")]
    NotJson(#[from] serde_json::Error),
    #[error("not base64")]
    NotBase64(#[from] base64::DecodeError),
    #[error("not an object, or a member of the wrong type: {0}")]
    WrongType(&'static str),
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// A value as it is to be put.
#[derive(Debug, PartialEq)]
pub(super) struct Posted {
    pub(super) value: Value,
    pub(super) permanent: bool,
    /// Whether it says that the value is gone.
    pub(super) is_expired: bool,
}

/// The value as an object. Ids are text: JavaScript's numbers would round them.
pub(super) fn to_json(value: &Value) -> Json {
    let mut object = json!({"id": value.id().to_string()});
    if value.priority() != 0 {
        object["prio"] = value.priority().into();
    }
    if let Some(cypher) = value.cypher() {
        object["cypher"] = BASE64.encode(cypher).into();
        return object;
    }
    object["type"] = value.kind().0.into();
    object["data"] = BASE64.encode(value.data()).into();
    if !value.user_type().is_empty() {
        object["utype"] = String::from_utf8_lossy(value.user_type()).into();
    }
    if let Some(signed) = value.signed() {
        object["seq"] = value.seq().into();
        object["sig"] = BASE64.encode(signed.signature).into();
        object["owner"] = pem(signed.owner).into();
        if let Some(recipient) = value.recipient() {
            object["to"] = recipient.to_string().into();
        }
    }
    object
}

/// Reads a value. Without an id, `fallback_id` is its id. Unknown members are ignored; signed and
/// encrypted ones too, for their packed form, which signatures cover, cannot be had from JSON: such
/// a value comes without its signature.
pub(super) fn from_json(text: &[u8], fallback_id: u64) -> Result<Posted, JsonValueError> {
    let object: Json = serde_json::from_slice(text)?;
    let object = object.as_object().ok_or(JsonValueError::WrongType("the whole"))?;
    let id = match object.get("id") {
        None | Some(Json::Null) => 0,
        Some(Json::String(text)) => text.parse().map_err(|_| JsonValueError::WrongType("id"))?,
        Some(number) => number.as_u64().ok_or(JsonValueError::WrongType("id"))?,
    };
    let kind = match object.get("type") {
        None => 0,
        Some(kind) => {
            kind.as_u64().and_then(|kind| u16::try_from(kind).ok()).ok_or(JsonValueError::WrongType("type"))?
        }
    };
    let data = match object.get("data") {
        None => Vec::new(),
        Some(data) => BASE64.decode(data.as_str().ok_or(JsonValueError::WrongType("data"))?)?,
    };
    let user_type = object.get("utype").and_then(Json::as_str).unwrap_or_default();
    let id = if id == 0 { fallback_id } else { id };
    // Released proxies also take text for 0.
    let priority = match object.get("prio") {
        Some(Json::Number(number)) => number
            .as_u64()
            .and_then(|priority| u32::try_from(priority).ok())
            .ok_or(JsonValueError::WrongType("prio"))?,
        _ => 0,
    };
    let is_expired = object.get("expired").and_then(Json::as_bool).unwrap_or_default();
    let value = Value::with_priority(id, ValueType(kind), &data, user_type, priority)?;
    Ok(Posted { value, permanent: object.contains_key("permanent"), is_expired })
}

/// A public key as text; the NUL at its end is what released proxies send.
fn pem(der: &[u8]) -> String {
    let encoded = BASE64.encode(der);
    let lines = encoded.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_json() {
        let value = Value::with_priority(u64::MAX, ValueType(5), b"\0\xff", "text/plain", 7).unwrap();
        let json = to_json(&value);
        assert_eq!(json["prio"], 7);
        assert_eq!(json["id"], "18446744073709551615");
        let read = from_json(json.to_string().as_bytes(), 1).unwrap();
        assert_eq!(read, Posted { value, permanent: false, is_expired: false });
    }

    #[test]
    fn a_signed_value_tells_whom_it_is_for() {
        let body = b"\x85\xa3seq\x01\xa5owner\xc4\x01k\xa2to\xc4\x14ABCDEFGHIJKLMNOPQRST\xa4type\x00\xa4data\xc4\x00";
        let packed = [&b"\x82\xa2id\x01\xa3dat\x82\xa4body"[..], body, b"\xa3sig\xc4\x01s"].concat();
        let json = to_json(&Value::parse(&packed).unwrap());
        assert_eq!((&json["to"], &json["seq"]), (&"4142434445464748494a4b4c4d4e4f5051525354".into(), &1.into()));
    }

    #[test]
    fn what_is_missing_is_made_up_as_released_proxies_do() {
        let read = from_json(br#"{"foo":1,"permanent":false}"#, 7).unwrap();
        assert_eq!((read.value.id(), read.value.data(), read.permanent), (7, &b""[..], true));
        assert_eq!(from_json(br#"{"id":0}"#, 7).unwrap().value.id(), 7);
        assert_eq!(from_json(br#"{"id":12}"#, 7).unwrap().value.id(), 12);
    }

    #[test]
    fn garbage_is_refused() {
        for text in [
            "",
            "[]",
            "1",
            "{\"data\":1}",
            "{\"data\":\"*\"}",
            "{\"id\":-1}",
            "{\"type\":65536}",
            "{\"id\":\"x\"}",
            "{\"prio\":-1}",
        ] {
            assert!(from_json(text.as_bytes(), 1).is_err(), "{text}");
        }
    }
}
