//! `hardline-VERSION-oci.tar`: a container image for every Linux of the release, as a layout of the
//! Open Container Initiative, made without a container engine.
//!
//! Written here because an image is three small JSON documents and an archive. Runners-up
//! `oci-spec`, whose maps come out in another order each time, and `umoci`, which knows no image
//! for several processors; the latter reads it in the tests.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType};

use super::archive::{self, append};
use super::build::Built;
use super::release::Release;
use super::sums::hexadecimal;
use super::target::Target;
use std::io::Write as _;

/// User and group in the container. There is no list of users inside, so it is a number; the one
/// that others use for nobody in particular.
const USER: u64 = 65532;

/// Where keys and what is remembered are kept.
const DATA: &str = "/data";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Packs those of the programs that run in containers, if any.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn pack(release: &Release, built: &[Built]) -> Result<Option<PathBuf>> {
    let mut layout = Layout::default();
    let mut manifests = Vec::new();
    for built in built {
        if let Some(platform) = platform(built.target) {
            manifests.push(manifest(&mut layout, release, built, platform)?);
        }
    }
    if manifests.is_empty() {
        return Ok(None);
    }
    let image = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": labels(release)?,
    });
    let mut image = layout.add_json(INDEX, &image)?;
    image["annotations"] = json!({ "org.opencontainers.image.ref.name": release.version });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [image] });
    let path = release.out.join(format!("{}-oci.tar", release.name()));
    std::fs::write(&path, layout.into_tar(&index, release.time)?)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(Some(path))
}

/// What containers call the target's system and processor.
fn platform(target: Target) -> Option<Value> {
    match target {
        Target::LinuxX86 => Some(json!({ "os": "linux", "architecture": "amd64" })),
        Target::LinuxArm64 => Some(json!({ "os": "linux", "architecture": "arm64", "variant": "v8" })),
        Target::LinuxArm32 => Some(json!({ "os": "linux", "architecture": "arm", "variant": "v7" })),
        _ => None,
    }
}

/// Adds the image for one target; gives its descriptor.
fn manifest(layout: &mut Layout, release: &Release, built: &Built, platform: Value) -> Result<Value> {
    let layer = layer(release, built)?;
    let config = config(release, platform.clone(), &format!("sha256:{}", hexadecimal(&Sha256::digest(&layer))))?;
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(&layer)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add_json(CONFIG, &config)?,
        "layers": [layout.add(LAYER, gzip.finish()?)],
    });
    let mut descriptor = layout.add_json(MANIFEST, &manifest)?;
    descriptor["platform"] = platform;
    Ok(descriptor)
}

/// All files of the container: the program, an empty folder for its data, licences and what it is
/// made of.
fn layer(release: &Release, built: &Built) -> Result<Vec<u8>> {
    let mut files = archive::contents(release, built)?;
    files.retain(|file| file.is_program || file.name.contains("LICENSE") || file.name.ends_with(".cdx.json"));
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let mut tar = Builder::new(Vec::new());
    let folder = DATA.trim_start_matches('/');
    append(&mut tar, &format!("{folder}/"), release.time, EntryType::Directory, 0o700, USER, &[])?;
    append(&mut tar, "licenses/", release.time, EntryType::Directory, 0o755, 0, &[])?;
    for file in files {
        let (name, mode) =
            if file.is_program { (file.name, 0o755) } else { (format!("licenses/{}", file.name), 0o644) };
        append(&mut tar, &name, release.time, EntryType::Regular, mode, 0, &file.bytes)?;
    }
    Ok(tar.into_inner()?)
}

/// How the container runs.
fn config(release: &Release, mut platform: Value, layer: &str) -> Result<Value> {
    platform["created"] = created(release)?.into();
    platform["config"] = json!({
        "User": format!("{USER}:{USER}"),
        "Env": [format!("HARDLINE_DATA_DIR={DATA}"), format!("HOME={DATA}")],
        "Entrypoint": ["/hardline"],
        "Volumes": { DATA: {} },
        "WorkingDir": DATA,
        "ExposedPorts": { "7008/tcp": {}, "7008/udp": {} },
        "StopSignal": "SIGTERM",
        "Labels": labels(release)?,
        // The specification has no such thing and reserves the name for Docker's, which looks here.
        // The times are in nanoseconds.
        "Healthcheck": {
            "Test": ["CMD", "/hardline", "status", "--quiet"],
            "Interval": 30_000_000_000_u64,
            "Timeout": 5_000_000_000_u64,
            "StartPeriod": 10_000_000_000_u64,
            "Retries": 3,
        },
    });
    platform["rootfs"] = json!({ "type": "layers", "diff_ids": [layer] });
    platform["history"] = json!([{ "created": created(release)?, "created_by": "cargo xtask dist" }]);
    Ok(platform)
}

fn labels(release: &Release) -> Result<Value> {
    Ok(json!({
        "org.opencontainers.image.title": "hardline",
        "org.opencontainers.image.description": "Opens a service of one computer in the browser of another",
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.created": created(release)?,
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
    }))
}

/// The commit's time (RFC 3339).
fn created(release: &Release) -> Result<String> {
    Ok(jiff::Timestamp::from_second(release.time.try_into()?)?.to_string())
}

/// Named by their sums: the documents and archives of an image.
#[derive(Default)]
struct Layout {
    blobs: Vec<(String, Vec<u8>)>,
}

impl Layout {
    /// Adds bytes; gives their descriptor.
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let sum = hexadecimal(&Sha256::digest(&bytes));
        let descriptor = json!({ "mediaType": media_type, "digest": format!("sha256:{sum}"), "size": bytes.len() });
        self.blobs.push((sum, bytes));
        descriptor
    }

    fn add_json(&mut self, media_type: &str, document: &Value) -> Result<Value> {
        Ok(self.add(media_type, serde_json::to_vec(document)?))
    }

    /// The archive of the layout's folder.
    fn into_tar(mut self, index: &Value, time: u64) -> Result<Vec<u8>> {
        self.blobs.sort();
        self.blobs.dedup();
        let mut tar = Builder::new(Vec::new());
        for folder in ["blobs/", "blobs/sha256/"] {
            append(&mut tar, folder, time, EntryType::Directory, 0o755, 0, &[])?;
        }
        for (sum, bytes) in &self.blobs {
            append(&mut tar, &format!("blobs/sha256/{sum}"), time, EntryType::Regular, 0o644, 0, bytes)?;
        }
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        for (name, document) in [("index.json", index), ("oci-layout", &version)] {
            append(&mut tar, name, time, EntryType::Regular, 0o644, 0, &serde_json::to_vec(document)?)?;
        }
        Ok(tar.into_inner()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The sum of nothing is that of FIPS 180-4's examples.
    #[test]
    fn a_descriptor_names_bytes_by_their_sum() {
        let descriptor = Layout::default().add(LAYER, Vec::new());
        let sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(descriptor, json!({ "mediaType": LAYER, "digest": sum, "size": 0 }));
    }

    #[test]
    fn a_layout_depends_on_nothing_but_what_is_in_it() {
        let packed = |blobs: &[&str]| {
            let mut layout = Layout::default();
            for blob in blobs {
                layout.add(LAYER, blob.as_bytes().to_vec());
            }
            layout.into_tar(&json!({}), 1_700_000_000).unwrap()
        };
        assert_eq!(packed(&["one", "two"]), packed(&["two", "one", "two"]));
        assert_ne!(packed(&["one"]), packed(&["two"]));
    }

    #[test]
    fn each_linux_has_an_image_and_nothing_else_has() {
        assert_eq!(platform(Target::LinuxArm32).unwrap()["variant"], "v7");
        assert_eq!(platform(Target::LinuxX86).unwrap()["architecture"], "amd64");
        assert_eq!(platform(Target::Windows), None);
    }
}
