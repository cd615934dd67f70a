//! The parts, for machines: CycloneDX 1.5 in JSON.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Part;
use crate::dist::target::Target;

/// Its name in the archives.
pub(super) const FILE: &str = "hardline.cdx.json";

/// The document. It has no serial number and no time but the commit's: the same parts give the same
/// bytes.
///
/// # Errors
/// If the program is not among the parts, or the time is none.
pub(super) fn json(parts: &[Part], target: Target, time: u64) -> Result<String> {
    let program = parts.iter().find(|part| part.name == "hardline").context("the program among its parts")?;
    let time = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + std::time::Duration::from_secs(time));
    let mut root = component(program, "application");
    root["properties"] = json!([{ "name": "hardline:target", "value": target.triple() }]);
    let others = parts.iter().filter(|part| part.reference() != program.reference());
    let components: Vec<Value> = others.map(|part| component(part, "library")).collect();
    let compiled_in = parts.iter().filter(|part| part.purl.is_none() && part.name != "hardline");
    let of_every_program: Vec<String> = compiled_in.map(Part::reference).collect();
    let dependencies: Vec<Value> = parts.iter().map(|part| depends(part, program, &of_every_program)).collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "timestamp": time.to_string(), "component": root },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn component(part: &Part, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": part.reference(),
        "name": part.name,
        "version": part.version,
        "licenses": [{ "expression": part.licence }],
    });
    if let Some(purl) = &part.purl {
        component["purl"] = json!(purl);
    }
    if let Some(sum) = &part.sha256 {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

/// The program also needs what the compilers put into it, which no crate names.
fn depends(part: &Part, program: &Part, of_every_program: &[String]) -> Value {
    let mut on = part.needs.clone();
    if part.reference() == program.reference() {
        on.extend(of_every_program.iter().cloned());
    }
    on.sort();
    on.dedup();
    json!({ "ref": part.reference(), "dependsOn": on })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use cyclonedx_bom::prelude::{Bom, Validate as _};

    use super::super::crates;
    use super::*;

    /// By another's reader, and of the crates as they are.
    #[test]
    fn the_document_is_valid_and_names_every_crate() {
        std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
        let parts = crates::of(Target::LinuxX86).unwrap();
        let text = json(&parts, Target::LinuxX86, 1_700_000_000).unwrap();
        let bom = Bom::parse_from_json(text.as_bytes()).unwrap();
        let result = bom.validate();
        assert!(result.passed(), "{result:?}");
        let names: Vec<String> = bom.components.unwrap().0.iter().map(|part| part.name.to_string()).collect();
        for expected in ["rustls", "ring", "quinn", "jemalloc", "sqlite", "hardline-node"] {
            assert!(names.iter().any(|name| name == expected), "{expected} is missing of {names:?}");
        }
        // In the compiler and in the tests only.
        for other in ["serde_derive", "proptest", "hardline-lab"] {
            assert!(!names.iter().any(|name| name == other), "{other}");
        }
        let without = parts.iter().filter(|part| part.texts.is_empty() && !part.is_own()).collect::<Vec<_>>();
        assert!(without.is_empty(), "{without:?}");
    }
}
