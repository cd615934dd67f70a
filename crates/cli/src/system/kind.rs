//! Which system this is, for what people are advised to type.

/// Systems whose users are told different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Windows,
    Macos,
    /// Linux, mostly, and what resembles it.
    Other,
}

/// The one that this program was built for.
pub(crate) const HERE: System = if cfg!(windows) {
    System::Windows
} else if cfg!(target_os = "macos") {
    System::Macos
} else {
    System::Other
};
