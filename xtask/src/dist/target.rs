//! What the program is built for.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// A system and a processor, by Rust's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Any Linux on a PC or server; static
    #[value(name = "x86_64-unknown-linux-musl")]
    LinuxX86,
    /// Linux on 64-bit ARM, and Android; static
    #[value(name = "aarch64-unknown-linux-musl", alias = "android")]
    LinuxArm64,
    /// Linux on 32-bit ARM from version 7 on: old Raspberry Pis; static
    #[value(name = "armv7-unknown-linux-musleabihf")]
    LinuxArm32,
    /// Windows 10 and later on a PC
    #[value(name = "x86_64-pc-windows-gnu")]
    Windows,
    /// macOS on Apple's own processors; checked, not linked
    #[value(name = "aarch64-apple-darwin")]
    MacArm,
    /// macOS on Intel's; checked, not linked
    #[value(name = "x86_64-apple-darwin")]
    MacX86,
}

impl Target {
    /// What is built and packed. macOS is not: its linker needs Apple's own files.
    pub(crate) const HANDED_OUT: &[Self] = &[Self::LinuxX86, Self::LinuxArm64, Self::LinuxArm32, Self::Windows];

    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::LinuxX86 => "x86_64-unknown-linux-musl",
            Self::LinuxArm64 => "aarch64-unknown-linux-musl",
            Self::LinuxArm32 => "armv7-unknown-linux-musleabihf",
            Self::Windows => "x86_64-pc-windows-gnu",
            Self::MacArm => "aarch64-apple-darwin",
            Self::MacX86 => "x86_64-apple-darwin",
        }
    }

    /// Whether its program is what Android runs.
    pub(crate) fn is_android(self) -> bool {
        self == Self::LinuxArm64
    }

    pub(crate) fn is_linux(self) -> bool {
        matches!(self, Self::LinuxX86 | Self::LinuxArm64 | Self::LinuxArm32)
    }

    pub(crate) fn is_windows(self) -> bool {
        self == Self::Windows
    }

    /// The program's file.
    pub(crate) fn program(self) -> &'static str {
        if self == Self::Windows { "hardline.exe" } else { "hardline" }
    }

    /// zig's words for the target, where zig compiles its C and links it.
    pub(super) fn zig(self) -> Option<&'static str> {
        match self {
            Self::LinuxX86 => Some("-target x86_64-linux-musl"),
            Self::LinuxArm64 => Some("-target aarch64-linux-musl"),
            Self::LinuxArm32 => Some("-target arm-linux-musleabihf -mcpu=generic+v7a+vfp3d16+thumb2"),
            Self::Windows => None,
            Self::MacArm => Some("-target aarch64-macos"),
            Self::MacX86 => Some("-target x86_64-macos"),
        }
    }

    /// Refuses what can be checked only.
    ///
    /// # Errors
    /// For macOS.
    pub(crate) fn must_be_packed(self) -> Result<()> {
        match self {
            Self::MacArm | Self::MacX86 => {
                bail!("{} cannot be linked here: Apple's own files are needed; --check compiles it", self.triple())
            }
            Self::LinuxX86 | Self::LinuxArm64 | Self::LinuxArm32 | Self::Windows => Ok(()),
        }
    }
}
