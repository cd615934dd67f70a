//! The container image: read by others' tools, and run as an engine would run it.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hardline_lab::{Hardline, Host, Lab};
use serde_json::Value;

use crate::debian::succeed;
use crate::packed::packed;

const TEXT: &str = "served by the container\n";

/// Runs a command as the container's user, in its folder and with its environment, in a root that
/// cannot be written but for the volume.
const INSIDE: &str = r#"set -eu
bundle=$1 user=$2 folder=$3 volume=$4; shift 4
root=$bundle/rootfs
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --bind "$bundle/volume" "$root$volume"
mount --rbind /proc "$root/proc"
mount --bind "$bundle/shared" "$root/mnt"
cd "$root$folder"
exec env -i "$(command -v env)" "$@"
"#;

/// The image, unpacked.
struct Container {
    bundle: PathBuf,
    /// What an engine is told of the process.
    process: Value,
    /// The folder of the volume.
    volume: String,
}

impl Container {
    fn unpack(folder: &Path) -> Result<Self> {
        let (layout, bundle) = (folder.join("layout"), folder.join("bundle"));
        // umoci reads layouts with one image only: that for this machine.
        let to = format!("oci:{}:own", layout.display());
        succeed(Command::new("skopeo").args(["--insecure-policy", "copy", &source()?, &to]))?;
        succeed(Command::new("umoci").args(["unpack", "--image", &format!("{}:own", layout.display())]).arg(&bundle))?;
        let runtime: Value = serde_json::from_slice(&std::fs::read(bundle.join("config.json"))?)?;
        let config = config()?;
        let volumes = config["config"]["Volumes"].as_object().context("volumes")?;
        let volume = volumes.keys().next().context("a volume")?.clone();
        // A new volume is like the image's folder.
        let own = bundle.join("volume");
        std::fs::create_dir(&own)?;
        let like = std::fs::metadata(bundle.join("rootfs").join(volume.trim_start_matches('/')))?;
        chown(&own, Some(like.uid()), Some(like.gid()))?;
        std::fs::set_permissions(&own, Permissions::from_mode(like.mode()))?;
        for mounted in ["proc", "mnt"] {
            std::fs::create_dir(bundle.join("rootfs").join(mounted))?;
        }
        std::fs::create_dir(bundle.join("shared"))?;
        std::fs::write(bundle.join("shared/text"), TEXT)?;
        Ok(Self { bundle, process: runtime["process"].clone(), volume })
    }

    /// The program as the image starts it, with these arguments behind.
    fn command(&self, host: &Host, words: &[&str]) -> Result<Command> {
        let (user, group) = (&self.process["user"]["uid"], &self.process["user"]["gid"]);
        let folder = self.process["cwd"].as_str().context("a folder to start in")?;
        let mut command = host.command("sh");
        command.args(["-c", INSIDE, "sh"]).arg(&self.bundle);
        command.args([&format!("{user}:{group}"), folder, &self.volume]);
        command.args(strings(&self.process["env"])?).arg("chroot").arg(format!("--userspec={user}:{group}"));
        command.arg(self.bundle.join("rootfs")).args(words);
        Ok(command)
    }

    fn share(&self, host: &Host) -> Result<Hardline> {
        let entrypoint = strings(&self.process["args"])?;
        let mut words: Vec<&str> = entrypoint.iter().map(String::as_str).collect();
        words.extend(["--json", "share", "/mnt"]);
        Hardline::started(host.spawn("hardline in a container", &mut self.command(host, &words)?)?)
    }

    /// Whether the program is found healthy by the image's own check.
    fn is_healthy(&self, host: &Host) -> Result<bool> {
        let test = strings(&config()?["config"]["Healthcheck"]["Test"])?;
        let (kind, words) = test.split_first().context("a check")?;
        assert_eq!(kind, "CMD");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(self.command(host, &words)?.output()?.status.success())
    }
}

fn image() -> Result<PathBuf> {
    packed("hardline-", "-oci.tar")
}

fn version() -> Result<String> {
    let name = image()?.file_name().context("a name")?.to_string_lossy().into_owned();
    Ok(name.trim_start_matches("hardline-").trim_end_matches("-oci.tar").to_owned())
}

/// Where the image is, in skopeo's words.
fn source() -> Result<String> {
    Ok(format!("oci-archive:{}:{}", image()?.display(), version()?))
}

/// The configuration of the image for this machine.
fn config() -> Result<Value> {
    // Raw, since skopeo's own form knows no check.
    let said = succeed(Command::new("skopeo").args(["inspect", "--config", "--raw", &source()?]))?;
    Ok(serde_json::from_str(&said)?)
}

fn strings(list: &Value) -> Result<Vec<String>> {
    let list = list.as_array().with_context(|| format!("a list: {list}"))?;
    list.iter().map(|word| Ok(word.as_str().context("a word")?.to_owned())).collect()
}

#[test]
fn an_image_says_what_it_is() -> Result<()> {
    let config = config()?;
    assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &"amd64".into()));
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], version()?);
    let raw: Value = serde_json::from_str(&succeed(Command::new("skopeo").args(["inspect", "--raw", &source()?]))?)?;
    let platforms = raw["manifests"].as_array().context("an index")?;
    assert!(platforms.iter().any(|it| it["platform"]["architecture"] == "amd64"), "{raw}");
    Ok(())
}

/// Every sum and size is looked at when an image is copied.
#[test]
fn an_image_is_copied_whole() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let to = format!("oci:{}:copy", folder.path().display());
    succeed(Command::new("skopeo").args(["--insecure-policy", "copy", "--all", &source()?, &to])).map(drop)
}

#[test]
fn a_container_serves_is_healthy_and_keeps_its_name_in_the_volume() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    if !lab.has_users()? {
        return Ok(());
    }
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let container = Container::unpack(lab.dir())?;
    assert_ne!(container.process["user"]["uid"], 0, "not as root");
    assert!(!container.is_healthy(&alice)?, "nothing runs");

    let mut server = container.share(&alice)?;
    let name = server.service_name()?;
    let client = bob.hardline(&[])?;
    let gateway = client.gateway()?;
    let get = || -> Result<String> {
        let link = format!("http://{name}/text");
        Ok(bob.curl(&["--fail", "--connect-to", &format!("::{gateway}"), &link])?.success()?.stdout)
    };
    assert_eq!(get()?, TEXT);
    assert!(container.is_healthy(&alice)?, "it serves");
    assert_eq!(server.process.terminate(Duration::from_secs(40))?.code(), Some(0));
    assert!(!container.is_healthy(&alice)?, "it has stopped");

    let again = container.share(&alice)?;
    assert_eq!(again.service_name()?, name, "the volume has the key");
    assert_eq!(get()?, TEXT);
    Ok(())
}

/// A file of compose that compose cannot read helps nobody, nor one that forgets the image's check.
#[test]
fn compose_reads_its_file_and_asks_for_the_images_check() -> Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/compose.yaml");
    let said = succeed(Command::new("docker-compose").args(["--file", file, "config"]))?;
    for line in ["image: hardline", "network_mode: host", "read_only: true", "- ALL"] {
        assert!(
            said.lines().any(|it| it.trim().trim_start_matches("- ").contains(line.trim_start_matches("- "))),
            "{line}: {said}"
        );
    }
    for word in strings(&config()?["config"]["Healthcheck"]["Test"])? {
        assert!(said.lines().any(|it| it.trim() == format!("- {word}")), "{word}: {said}");
    }
    Ok(())
}
