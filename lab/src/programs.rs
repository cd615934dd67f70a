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
}

const NOTEBOOK: &str = r#"{"cells": [{"cell_type": "code", "execution_count": null, "metadata": {}, "outputs": [],
  "source": ["print('answer', 6 * 7)"]}], "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python",
  "name": "python3"}}, "nbformat": 4, "nbformat_minor": 4}"#;
