//! Which system this is, for what people are advised to type.

/// Windows.
pub(crate) const IS_WINDOWS: bool = cfg!(windows);

/// macOS.
pub(crate) const IS_MACOS: bool = cfg!(target_os = "macos");
