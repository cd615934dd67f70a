//! The one attribute of the manifest that Debian's aapt cannot write: the kind `specialUse` of a
//! foreground service is younger than its list of names.
//!
//! The format is Android's binary XML: chunks with a head of type, size of the head and size of
//! all, two, two and four bytes. One of them maps names to numbers of attributes, others begin
//! elements.

use anyhow::{Context as _, Result, bail};

const RESOURCE_MAP: u32 = 0x0180;
const START_ELEMENT: u32 = 0x0102;

/// Android's number of `android:foregroundServiceType`.
const SERVICE_TYPE: u32 = 0x0101_0599;

/// What the source says in its place, and what it has to be.
const DATA_SYNC: u32 = 1;
const SPECIAL_USE: u32 = 0x4000_0000;

/// Makes the service that the source calls `dataSync` one of `specialUse`.
///
/// # Errors
/// If there is not exactly one such service, or the bytes are no manifest.
pub(super) fn make_special_use(manifest: &mut [u8]) -> Result<()> {
    let mut numbers = Vec::new();
    let mut places = Vec::new();
    let mut at = usize::from(half(manifest, 2)?);
    while at < manifest.len() {
        let (kind, head, size) = (half(manifest, at)?, usize::from(half(manifest, at + 2)?), word(manifest, at + 4)?);
        let size = usize::try_from(size)?;
        if size < 8 || head < 8 || head > size {
            bail!("a piece of the manifest has {size} bytes");
        }
        match u32::from(kind) {
            RESOURCE_MAP => {
                numbers = (at + head..at + size).step_by(4).map(|at| word(manifest, at)).collect::<Result<_>>()?;
            }
            START_ELEMENT => places.extend(service_types(manifest, at + head, &numbers)?),
            _ => {}
        }
        at += size;
    }
    let [place] = places[..] else { bail!("{} foreground services in the manifest", places.len()) };
    let found = word(manifest, place)?;
    if found != DATA_SYNC {
        bail!("the foreground service has type {found:#x}");
    }
    manifest[place..place + 4].copy_from_slice(&SPECIAL_USE.to_le_bytes());
    Ok(())
}

/// Where an element has the values of that attribute.
fn service_types(manifest: &[u8], element: usize, numbers: &[u32]) -> Result<Vec<usize>> {
    let (start, size, count) =
        (half(manifest, element + 8)?, half(manifest, element + 10)?, half(manifest, element + 12)?);
    let mut places = Vec::new();
    for index in 0..usize::from(count) {
        let attribute = element + usize::from(start) + index * usize::from(size);
        let name = usize::try_from(word(manifest, attribute + 4)?)?;
        if numbers.get(name) == Some(&SERVICE_TYPE) {
            places.push(attribute + 16);
        }
    }
    Ok(places)
}

fn half(bytes: &[u8], at: usize) -> Result<u16> {
    let bytes = bytes.get(at..at + 2).context("a manifest that ends too early")?;
    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("a manifest that ends too early")?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
