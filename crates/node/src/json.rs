//! What JSON says of values that have words of their own.

use std::fmt::Display;

use serde::Serializer;

/// For `serialize_with`: as people read it.
pub(crate) fn as_text<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}
