//! What the head of a program tells: whether a phone's kernel would take it.

use anyhow::{Result, bail};

/// Bytes of the pages of newer phones, to which a program's segments have to be aligned. Those of
/// older ones are smaller.
const PAGE: u64 = 16 * 1024;

/// `EM_AARCH64`.
const ARM64: u64 = 183;

/// A segment to be mapped, and the name of a loader.
const PT_LOAD: u64 = 1;
const PT_INTERP: u64 = 3;

/// Refuses a program that phones do not run: for another processor, in need of a loader that
/// Android does not have, or with segments for smaller pages.
///
/// # Errors
/// If it is one of those, or no program at all.
pub(super) fn must_run_on_phones(program: &[u8]) -> Result<()> {
    if program.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("not a 64-bit program, little-endian");
    }
    let machine = number(program, 18, 2)?;
    if machine != ARM64 {
        bail!("a program for machine {machine}, and phones have {ARM64}");
    }
    let (table, size, count) = (number(program, 32, 8)?, number(program, 54, 2)?, number(program, 56, 2)?);
    let mut loaded = 0;
    for index in 0..count {
        let segment = usize::try_from(table + index * size)?;
        match number(program, segment, 4)? {
            PT_INTERP => bail!("not a static program"),
            PT_LOAD => {
                loaded += 1;
                let (offset, address) = (number(program, segment + 8, 8)?, number(program, segment + 16, 8)?);
                let alignment = number(program, segment + 48, 8)?;
                if alignment < PAGE || offset % PAGE != address % PAGE {
                    bail!("a segment is aligned to {alignment} bytes, and pages may have {PAGE}");
                }
            }
            _ => {}
        }
    }
    if loaded == 0 {
        bail!("a program without segments");
    }
    Ok(())
}

/// A number of so many bytes at that place.
fn number(bytes: &[u8], at: usize, size: usize) -> Result<u64> {
    match bytes.get(at..).and_then(|rest| rest.get(..size)) {
        Some(bytes) => Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))),
        None => bail!("a program that ends in its head"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Heads as the linker writes them, one segment each of this kind and alignment.
    pub(crate) fn program(machine: u16, kind: u32, alignment: u64) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64 + 56, 0);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes[64 + 48..64 + 56].copy_from_slice(&alignment.to_le_bytes());
        bytes
    }

    #[test]
    fn programs_that_phones_do_not_run_are_refused() {
        let refused = |program: &[u8]| must_run_on_phones(program).unwrap_err().to_string();
        must_run_on_phones(&program(183, 1, 65_536)).unwrap();
        must_run_on_phones(&program(183, 1, 16_384)).unwrap();
        assert_eq!(refused(&program(62, 1, 65_536)), "a program for machine 62, and phones have 183");
        assert_eq!(refused(&program(183, 3, 1)), "not a static program");
        assert_eq!(refused(&program(183, 1, 4_096)), "a segment is aligned to 4096 bytes, and pages may have 16384");
        assert_eq!(refused(&program(183, 0, 0)), "a program without segments");
        let mut shifted = program(183, 1, 65_536);
        shifted[64 + 16] = 8;
        assert!(refused(&shifted).starts_with("a segment is aligned"));
        assert_eq!(refused(b"MZ"), "not a 64-bit program, little-endian");
        assert_eq!(refused(&program(183, 1, 65_536)[..80]), "a program that ends in its head");
    }

    #[test]
    fn the_program_of_this_test_is_read_as_what_it_is() {
        let itself = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(must_run_on_phones(&itself).is_err());
        assert_eq!(number(&itself, 18, 2).unwrap(), if cfg!(target_arch = "x86_64") { 62 } else { ARM64 });
    }
}
