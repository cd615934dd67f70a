//! How each row's two ends are started. AES-GCM with 128 bits and ECDSA P-256 wherever there is a
//! choice.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use hardline_lab::{Lab, Process, Release, hardline_program};

use super::row::Row;
use super::secrets::{NAME, PASSWORD, Secrets};
use super::stage::{ENTRY_PORT, Stage, own_program};

/// Where the far end listens for the near one, or the near one for the far one, as the row has it.
const LINK_PORT: u16 = 7008;

/// The same of bore, where it cannot be set.
const BORE_PORT: u16 = 7835;

/// The cipher suite of those that let choose.
const SUITE: &str = "TLS_AES_128_GCM_SHA256";

/// What the launches share.
pub(super) struct World {
    pub(super) lab: Lab,
    tools: PathBuf,
    /// A build of Hardline to compare the one under test with.
    other_build: Option<PathBuf>,
    secrets: Secrets,
    /// `KEYHASH.localhost:7009` of the identity that the far end keeps.
    hardline_name: String,
    names: Cell<u32>,
}

/// A started row; nothing is waited for.
pub(super) struct Ends {
    pub(super) near: Option<Process>,
    pub(super) far: Option<Process>,
    /// What clients have to send as Host, where that matters.
    pub(super) host_header: Option<String>,
}

/// rathole's own kind of keys, Base64.
struct NoiseKeys {
    private: String,
    public: String,
}

impl World {
    /// Makes keys and certificates. `tools` is the folder where cargo installed rathole and bore.
    pub(super) fn new(lab: Lab, tools: &Path, other_build: Option<PathBuf>) -> Result<Self> {
        let secrets = Secrets::make(lab.dir())?;
        let (tools, hardline_name) = (tools.to_owned(), String::new());
        let mut world = Self { lab, tools, other_build, secrets, hardline_name, names: Cell::new(0) };
        world.hardline_name = world.make_hardline_identity()?;
        Ok(world)
    }

    /// A name for one more computer.
    pub(super) fn fresh_name(&self) -> String {
        self.names.set(self.names.get() + 1);
        format!("b{}", self.names.get())
    }

    /// What clients of this row send as Host.
    pub(super) fn host_header(&self, row: Row) -> &str {
        match row {
            Row::Hardline | Row::HardlineReady | Row::HardlineHttp | Row::HardlineTrusted | Row::OtherBuild => {
                &self.hardline_name
            }
            _ => NAME,
        }
    }

    /// Starts both ends of a row.
    pub(super) fn launch(&self, row: Row, stage: &Stage) -> Result<Ends> {
        match row {
            Row::Direct => Ok(Ends { near: None, far: None, host_header: None }),
            Row::Relays => self.relays(stage),
            Row::Stunnel => self.stunnel(stage),
            Row::Haproxy => self.haproxy(stage),
            Row::Socat => self.socat(stage),
            Row::RatholeTls => self.rathole(stage, &self.rathole_tls()),
            Row::RatholeNoise => self.rathole(stage, &rathole_noise(&NoiseKeys::generate(&self.tools)?)),
            Row::Bore => self.bore(stage),
            Row::Hardline => self.hardline(stage, hardline_program()?, "", ""),
            Row::HardlineReady => self.hardline(stage, hardline_program()?, "ready = true\n", ""),
            Row::HardlineHttp => {
                self.hardline(stage, hardline_program()?, "", "host_header = \"target\"\nforwarded = true\n")
            }
            Row::HardlineTrusted => self.hardline(stage, hardline_program()?, "trusted = true\n", ""),
            Row::OtherBuild => {
                self.hardline(stage, self.other_build.as_deref().context("no other build given")?, "", "")
            }
            Row::HardlineToPython => self.hardline_to_python(stage),
            Row::Python => python(stage),
        }
    }

    fn relays(&self, stage: &Stage) -> Result<Ends> {
        let relay = |label: &str, listen: u16, target: String| {
            let mut command = stage.host.command(own_program()?);
            stage.spawn(label, command.args(["relay", &format!("127.0.0.1:{listen}"), &target]))
        };
        let far = relay("far relay", LINK_PORT, stage.backend.to_string())?;
        let near = relay("near relay", ENTRY_PORT, format!("127.0.0.1:{LINK_PORT}"))?;
        Ok(Ends::of(near, far))
    }

    fn stunnel(&self, stage: &Stage) -> Result<Ends> {
        let common = format!(
            "foreground = yes\npid =\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\nciphersuites = {SUITE}\n"
        );
        let (certificate, combined) = (self.secrets.certificate.display(), self.secrets.combined.display());
        let far =
            format!("{common}[far]\naccept = 127.0.0.1:{LINK_PORT}\nconnect = {}\ncert = {combined}\n", stage.backend);
        let near = format!(
            "{common}[near]\nclient = yes\naccept = 127.0.0.1:{ENTRY_PORT}\nconnect = 127.0.0.1:{LINK_PORT}\n\
             CAfile = {certificate}\nverifyPeer = yes\n"
        );
        let start =
            |name: &str, text: &str| stage.spawn(name, stage.host.command("stunnel").arg(stage.file(name, text)?));
        Ok(Ends::of(start("near-stunnel", &near)?, start("far-stunnel", &far)?))
    }

    fn haproxy(&self, stage: &Stage) -> Result<Ends> {
        let common = "global\n maxconn 4000\n ssl-default-bind-options ssl-min-ver TLSv1.3\ndefaults\n mode tcp\n \
                      timeout connect 5s\n timeout client 1h\n timeout server 1h\n";
        let (certificate, combined) = (self.secrets.certificate.display(), self.secrets.combined.display());
        let far = format!(
            "{common}listen far\n bind 127.0.0.1:{LINK_PORT} ssl crt {combined} ciphersuites {SUITE}\n \
             server backend {}\n",
            stage.backend
        );
        let near = format!(
            "{common}listen near\n bind 127.0.0.1:{ENTRY_PORT}\n server far 127.0.0.1:{LINK_PORT} ssl \
             ca-file {certificate} verify required verifyhost {NAME} sni str({NAME}) ciphersuites {SUITE}\n"
        );
        let start = |name: &str, text: &str| {
            // `-db`: one process in the foreground.
            stage.spawn(name, stage.host.command("/usr/sbin/haproxy").args(["-db", "-f"]).arg(stage.file(name, text)?))
        };
        Ok(Ends::of(start("near-haproxy", &near)?, start("far-haproxy", &far)?))
    }

    fn socat(&self, stage: &Stage) -> Result<Ends> {
        let (certificate, combined) = (self.secrets.certificate.display(), self.secrets.combined.display());
        let far = [
            format!(
                "OPENSSL-LISTEN:{LINK_PORT},bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=1024,cert={combined},verify=0"
            ),
            format!("TCP:{},nodelay", stage.backend),
        ];
        let near = [
            format!("TCP-LISTEN:{ENTRY_PORT},bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=1024"),
            format!("OPENSSL:127.0.0.1:{LINK_PORT},nodelay,cafile={certificate},commonname={NAME}"),
        ];
        // As large as the relays' buffers; its default is 8 KiB.
        let start = |name: &str, words: &[String]| {
            stage.spawn(name, stage.host.command("socat").args(["-b", "65536"]).args(words))
        };
        Ok(Ends::of(start("near-socat", &near)?, start("far-socat", &far)?))
    }

    /// The near end is rathole's server: the far one calls it, as out of a home.
    fn rathole(&self, stage: &Stage, [server, client]: &[String; 2]) -> Result<Ends> {
        let near = format!(
            "[server]\nbind_addr = \"127.0.0.1:{LINK_PORT}\"\ndefault_token = \"bench\"\n{server}\
             [server.services.bench]\nbind_addr = \"127.0.0.1:{ENTRY_PORT}\"\n"
        );
        let far = format!(
            "[client]\nremote_addr = \"localhost:{LINK_PORT}\"\ndefault_token = \"bench\"\n{client}\
             [client.services.bench]\nlocal_addr = \"{}\"\n",
            stage.backend
        );
        let start = |name: &str, text: &str| {
            stage.spawn(name, stage.host.command(self.tools.join("rathole")).arg(stage.file(name, text)?))
        };
        Ok(Ends::of(start("near.toml", &near)?, start("far.toml", &far)?))
    }

    fn rathole_tls(&self) -> [String; 2] {
        let (pkcs12, certificate) = (self.secrets.pkcs12.display(), self.secrets.certificate.display());
        [
            format!(
                "[server.transport]\ntype = \"tls\"\n[server.transport.tls]\npkcs12 = \"{pkcs12}\"\n\
                 pkcs12_password = \"{PASSWORD}\"\n"
            ),
            format!(
                "[client.transport]\ntype = \"tls\"\n[client.transport.tls]\ntrusted_root = \"{certificate}\"\n\
                 hostname = \"{NAME}\"\n"
            ),
        ]
    }

    /// The near end is bore's server, likewise.
    fn bore(&self, stage: &Stage) -> Result<Ends> {
        let bore = || stage.host.command(self.tools.join("bore"));
        let near = stage.spawn("bore server", bore().args(["server", "--min-port", "7000"]))?;
        // It tries once only, so the server has to be there.
        near.wait_for_line("server listening")?;
        let (entry, backend) = (ENTRY_PORT.to_string(), stage.backend.port().to_string());
        let far = stage.spawn("bore local", bore().args(["local", "--to", "127.0.0.1", "--port", &entry, &backend]))?;
        Ok(Ends::of(near, far))
    }

    /// `more` is for the near end's peer, `of_service` for the far end's service.
    fn hardline(&self, stage: &Stage, program: &Path, more: &str, of_service: &str) -> Result<Ends> {
        let far = self.hardline_far(stage, program, of_service)?;
        if !more.is_empty() {
            // What is dialled ahead is dialled at the near end's start, and again much later.
            far.wait_for("event ready", |line| line.contains("\"ready\"").then_some(()))?;
        }
        let near = hardline_near(stage, program, &self.hardline_name, more)?;
        Ok(Ends { near: Some(near), far: Some(far), host_header: Some(self.hardline_name.clone()) })
    }

    fn hardline_far(&self, stage: &Stage, program: &Path, of_service: &str) -> Result<Process> {
        // Ten thousand tunnels come from one address here, as fast as they can.
        let service = format!(
            "[gateway]\nenabled = false\n[limits]\nhandshakes_per_second = 20000\n[p2p]\nport = {LINK_PORT}\n[[service]]\ntarget = \"{}\"\ncertfile = \"{}\"\n{of_service}",
            stage.backend,
            self.lab.dir().join("far.cert").display(),
        );
        stage.hardline(program, "far", &service)
    }

    fn hardline_to_python(&self, stage: &Stage) -> Result<Ends> {
        let server = stage.host.python_server(Release::Last, LINK_PORT, stage.backend)?;
        let name = format!("{}.localhost:{ENTRY_PORT}", server.name);
        let near = hardline_near(stage, hardline_program()?, &name, "")?;
        Ok(Ends { near: Some(near), far: Some(server.process), host_header: Some(name) })
    }

    /// Lets the program make the far end's identity, which stays the same from then on.
    fn make_hardline_identity(&self) -> Result<String> {
        let stage = Stage::new(&self.lab, &self.fresh_name(), Row::Hardline)?;
        let far = self.hardline_far(&stage, hardline_program()?, "")?;
        let link = far.wait_for("event ready", |line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(event["services"][0]["key"].as_str()?.to_owned())
        })?;
        far.discard();
        Ok(format!("{link}.localhost:{ENTRY_PORT}"))
    }
}

fn rathole_noise(keys: &NoiseKeys) -> [String; 2] {
    const PATTERN: &str = "pattern = \"Noise_NK_25519_AESGCM_SHA256\"\n";
    let NoiseKeys { private, public } = keys;
    [
        format!(
            "[server.transport]\ntype = \"noise\"\n[server.transport.noise]\n{PATTERN}\
             local_private_key = \"{private}\"\n"
        ),
        format!(
            "[client.transport]\ntype = \"noise\"\n[client.transport.noise]\n{PATTERN}\
             remote_public_key = \"{public}\"\n"
        ),
    ]
}

/// Hardline's near end, knowing nothing but the address of the far one. `more` stands below
/// `[[peer]]`.
fn hardline_near(stage: &Stage, program: &Path, name: &str, more: &str) -> Result<Process> {
    let peer = format!(
        "[gateway]\nport = {ENTRY_PORT}\n[[peer]]\nlink = \"http://{name}/\"\naddresses = [\"127.0.0.1:{LINK_PORT}\"]\n{more}"
    );
    stage.hardline(program, "near", &peer)
}

/// Where the two ends meet.
pub(super) fn link_port(row: Row) -> u16 {
    if row == Row::Bore { BORE_PORT } else { LINK_PORT }
}

fn python(stage: &Stage) -> Result<Ends> {
    let server = stage.host.python_server(Release::Last, LINK_PORT, stage.backend)?;
    let client = stage.host.python_client(Release::Last)?;
    let name = format!("{}.localhost:{ENTRY_PORT}", server.name);
    Ok(Ends { near: Some(client), far: Some(server.process), host_header: Some(name) })
}

impl Ends {
    fn of(near: Process, far: Process) -> Self {
        Self { near: Some(near), far: Some(far), host_header: None }
    }
}

impl Stage {
    fn spawn(&self, label: &str, command: &mut Command) -> Result<Process> {
        self.host.spawn(label, command)
    }

    /// Starts Hardline with a configuration. Where its peers are is given, so it discovers nothing.
    fn hardline(&self, program: &Path, name: &str, configuration: &str) -> Result<Process> {
        let file = self.file(&format!("{name}.toml"), configuration)?;
        let mut command = self.host.command(program);
        command.args(["--json", "--set", "lan.enabled=false", "--set", "dht.enabled=false", "--config"]).arg(file);
        self.spawn(&format!("hardline {name}"), command.arg("--data-dir").arg(self.host.home().join(name)))
    }

    /// Writes a file into the computer's home.
    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.host.home().join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

impl NoiseKeys {
    fn generate(tools: &Path) -> Result<Self> {
        let program = tools.join("rathole");
        let output = Command::new(&program).arg("--genkey").output();
        let output = output.with_context(|| format!("running {}", program.display()))?;
        let text = String::from_utf8(output.stdout)?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let [_, private, _, public] = lines[..] else { bail!("rathole --genkey printed {text:?}") };
        Ok(Self { private: private.to_owned(), public: public.to_owned() })
    }
}
