//! Programs that people put behind a service, as their makers ship them.

use std::fs;

use anyhow::{Context as _, Result};

use crate::network::Host;
use crate::process::{Process, run};

/// What opens Jupyter.
const TOKEN: &str = "a-token";

impl Host {
    /// Starts Jupyter at 127.0.0.1:8888, with a notebook whose one cell works out 6 * 7, and
    /// returns the path that opens it.
    pub fn jupyter(&self) -> Result<(Process, String)> {
        let check = "import jupyter_server, nbclassic, ipykernel";
        let environment = crate::python::environment("jupyter", check, "requirements-jupyter.txt")?;
        let folder = self.home().join("notebooks");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("try.ipynb"), NOTEBOOK)?;
        let mut command = self.command(environment.join("bin/jupyter"));
        // The path where it finds its kernels begins with the environment's own.
        command.args(["nbclassic", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=8888"]);
        command.arg(format!("--IdentityProvider.token={TOKEN}"));
        command.arg(format!("--ServerApp.root_dir={}", folder.display()));
        let process = self.spawn("jupyter", &mut command)?;
        process.wait_for_line("is running at:")?;
        Ok((process, format!("/notebooks/try.ipynb?token={TOKEN}")))
    }

    /// Starts Transmission with its RPC at 127.0.0.1:9091, as it is but for other computers, which
    /// it does not talk to.
    pub fn transmission(&self) -> Result<Process> {
        let folder = self.home().join("transmission");
        fs::create_dir_all(&folder)?;
        let settings = "{\"rpc-bind-address\": \"127.0.0.1\", \"rpc-whitelist-enabled\": false, \"dht-enabled\": false,
            \"lpd-enabled\": false, \"utp-enabled\": false, \"port-forwarding-enabled\": false}";
        fs::write(folder.join("settings.json"), settings)?;
        let mut command = self.command("transmission-daemon");
        let process = self.spawn("transmission", command.args(["--foreground", "--config-dir"]).arg(&folder))?;
        let is_there = || self.curl(&["http://127.0.0.1:9091/transmission/rpc"]).is_ok_and(|it| it.status.success());
        crate::process::until(is_there).context("Transmission's RPC")?;
        Ok(process)
    }

    /// Starts Syncthing with its page at 127.0.0.1:8384, which needs no password, and returns the
    /// key of its REST API. It talks to nobody.
    pub fn syncthing(&self) -> Result<(Process, String)> {
        let home = self.home().join("syncthing");
        self.run("syncthing", &["generate", "--home", "syncthing", "--no-default-folder"])?.success()?;
        let settings = fs::read_to_string(home.join("config.xml"))?;
        let part = |name: &str| settings.split_once(&format!("<{name}>"))?.1.split_once('<').map(|(part, _)| part);
        let key = part("apikey").context("a key")?.to_owned();
        let mut quiet = settings.clone();
        for name in ["globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "natEnabled"] {
            quiet = quiet.replace(&format!("<{name}>true"), &format!("<{name}>false"));
        }
        fs::write(home.join("config.xml"), quiet)?;
        let mut command = self.command("syncthing");
        command.args(["serve", "--home", "syncthing", "--no-browser", "--no-restart", "--no-upgrade"]);
        let process = self.spawn("syncthing", command.arg("--gui-address=127.0.0.1:8384"))?;
        process.wait_for_line("GUI and API listening on")?;
        Ok((process, key))
    }

    /// Starts Home Assistant at 127.0.0.1:8123, new: its page asks for the first user. `http` are
    /// lines for its web server.
    pub fn home_assistant(&self, http: &[&str]) -> Result<Process> {
        let check = "import homeassistant.bootstrap, hass_frontend, sqlalchemy, aiohttp_cors";
        let environment = crate::python::environment("home-assistant", check, "requirements-home-assistant.txt")?;
        let folder = self.home().join("home-assistant");
        fs::create_dir_all(&folder)?;
        let lines: String = http.iter().map(|line| format!("  {line}\n")).collect();
        let settings = format!("homeassistant:\nfrontend:\nhttp:\n  server_host: 127.0.0.1\n{lines}");
        fs::write(folder.join("configuration.yaml"), settings)?;
        let mut command = self.command(environment.join("bin/hass"));
        let process = self.spawn("home assistant", command.arg("--config").arg(&folder).arg("--skip-pip"))?;
        let is_there = || self.curl(&["http://127.0.0.1:8123/manifest.json"]).is_ok_and(|it| it.status.success());
        crate::process::until(is_there).context("Home Assistant's page")?;
        Ok(process)
    }

    /// Starts Radicale with its page at 127.0.0.1:5232, which lets in everybody.
    pub fn radicale(&self) -> Result<Process> {
        let mut command = self.command("radicale");
        command.args([
            "--config",
            "",
            "--logging-level",
            "info",
            "--server-hosts",
            "127.0.0.1:5232",
            "--auth-type",
            "none",
        ]);
        let server = self.spawn("radicale", command.args(["--storage-filesystem-folder", "collections"]))?;
        server.wait_for_line("Listening on")?;
        Ok(server)
    }

    /// Starts nginx with these `server` blocks, and a certificate of its own in `cert.pem`, whose
    /// fingerprint is returned as OpenSSL prints it.
    pub fn nginx(&self, servers: &str) -> Result<(Process, String)> {
        let folder = self.home().join("nginx");
        fs::create_dir_all(folder.join("site"))?;
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let mut openssl = self.command("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-subj", "/CN=nas", "-days", "3", "-out"]).arg(&certificate).arg("-keyout").arg(&key);
        run(&mut openssl)?.success()?;
        let mut openssl = self.command("openssl");
        let printed = run(openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&certificate))?;
        let printed = printed.success()?.stdout;
        let (_, fingerprint) = printed.trim().split_once('=').context("a fingerprint")?;
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path temp-{name};"))
            .collect();
        let configuration = format!(
            "daemon off; user root; pid nginx.pid; error_log stderr;
             events {{}}
             http {{ access_log off; {paths} {servers} }}"
        );
        fs::write(folder.join("nginx.conf"), configuration)?;
        let mut command = self.command("/usr/sbin/nginx");
        let process = self.spawn("nginx", command.arg("-p").arg(&folder).args(["-e", "stderr", "-c", "nginx.conf"]))?;
        crate::process::until(|| folder.join("nginx.pid").exists()).context("nginx")?;
        Ok((process, format!("SHA256:{fingerprint}")))
    }

    /// Starts mosquitto with a page in its site that says in its title what it hears, by MQTT.js.
    pub fn mosquitto_with_a_page(&self) -> Result<Process> {
        let site = self.home().join("site");
        fs::create_dir_all(&site)?;
        fs::copy(crate::npm::modules("pages")?.join("mqtt/dist/mqtt.min.js"), site.join("mqtt.js"))?;
        fs::write(site.join("index.html"), MQTT_PAGE)?;
        self.mosquitto()
    }
}

const MQTT_PAGE: &str = "<!doctype html><title>page</title><script src=mqtt.js></script><script>
  const client = mqtt.connect(`ws://${location.host}/mqtt`);
  client.on('message', (topic, message) => document.title = `${topic} ${message}`);
  client.subscribe('house/#', () => client.publish('house/door', 'open'));
</script>";

const NOTEBOOK: &str = r#"{"cells": [{"cell_type": "code", "execution_count": null, "metadata": {}, "outputs": [],
  "source": ["print('answer', 6 * 7)"]}], "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python",
  "name": "python3"}}, "nbformat": 4, "nbformat_minor": 4}"#;
