//! Programs that people reach over a tunnel without a browser, as their makers ship them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::network::Host;
use crate::process::{Process, run, until};

/// What opens the database.
const PASSWORD: &str = "a-password";

impl Host {
    /// Starts nginx at 127.0.0.1:8080 with git's own server for HTTP behind it, and in it a
    /// repository `project.git` with one file, `README`. Whoever gets there may push.
    pub fn git_server(&self) -> Result<[Process; 2]> {
        let root = self.repository()?;
        let folder = self.run("git", &["--exec-path"])?.success()?.stdout;
        self.nginx_with_programs(&format!(
            "location / {{ fastcgi_param SCRIPT_FILENAME {}/git-http-backend;
                 fastcgi_param GIT_PROJECT_ROOT {}; fastcgi_param GIT_HTTP_EXPORT_ALL 1;
                 fastcgi_param GIT_PROTOCOL $http_git_protocol;",
            folder.trim_end(),
            root.display()
        ))
    }

    /// Starts nginx at 127.0.0.1:8080 with gitweb behind it, and the same repository.
    pub fn gitweb(&self) -> Result<[Process; 2]> {
        let (root, settings) = (self.repository()?, self.home().join("gitweb.conf"));
        let text = format!(
            "$projectroot = '{}'; $javascript = '/static/gitweb.js'; @stylesheets = ('/static/gitweb.css');
             $logo = '/static/git-logo.png'; $favicon = '/static/git-favicon.png';
             $feature{{'javascript-actions'}}{{'default'}} = [1]; $feature{{'blame'}}{{'default'}} = [1]; 1;",
            root.display()
        );
        fs::write(&settings, text)?;
        self.nginx_with_programs(&format!(
            "location /static/ {{ root /usr/share/gitweb; include /etc/nginx/mime.types; }}
             location / {{ fastcgi_param SCRIPT_FILENAME /usr/share/gitweb/gitweb.cgi;
                 fastcgi_param GITWEB_CONFIG {};",
            settings.display()
        ))
    }

    /// Makes a folder with the repository `project.git` in it.
    fn repository(&self) -> Result<PathBuf> {
        let (work, root) = (self.home().join("work"), self.home().join("repositories"));
        fs::create_dir_all(&root)?;
        let git = |arguments: &[&str]| self.run("git", arguments)?.success();
        git(&["init", "--quiet", "--initial-branch=main", "work"])?;
        fs::write(work.join("README"), "A project.\n")?;
        git(&["-C", "work", "add", "README"])?;
        git(&["-C", "work", "-c", "user.name=Alice", "-c", "user.email=alice@example.org", "commit", "-qm", "begin"])?;
        git(&["clone", "--quiet", "--bare", "work", "repositories/project.git"])?;
        git(&["-C", "repositories/project.git", "config", "http.receivepack", "true"])?;
        Ok(root)
    }

    /// Starts nginx at 127.0.0.1:8080 with programs in its site: `location` is the block of one,
    /// without its end.
    fn nginx_with_programs(&self, location: &str) -> Result<[Process; 2]> {
        let socket = self.home().join("fcgiwrap.sock");
        let mut command = self.command("/usr/sbin/fcgiwrap");
        let wrap = self.spawn("fcgiwrap", command.arg("-s").arg(format!("unix:{}", socket.display())))?;
        until(|| socket.exists()).context("fcgiwrap")?;
        let variables = "fastcgi_param PATH_INFO $uri; fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param REMOTE_ADDR $remote_addr;
            fastcgi_param SERVER_NAME $host; fastcgi_param SERVER_PORT $server_port;
            fastcgi_param SERVER_PROTOCOL $server_protocol; fastcgi_param REQUEST_URI $request_uri;";
        let servers = format!(
            "server {{ listen 127.0.0.1:8080; client_max_body_size 0;
                 {location} {variables} fastcgi_pass unix:{}; }} }}",
            socket.display()
        );
        Ok([self.nginx(&servers)?.0, wrap])
    }

    /// Starts OpenSSH's server at 127.0.0.1:2222, which lets in whose public key is `key`, as the
    /// user who runs the tests.
    pub fn sshd(&self, key: &str) -> Result<Process> {
        let folder = self.home().join("sshd");
        fs::create_dir_all(&folder)?;
        // Where its unprivileged half is locked up: the system's own unit makes it at its start.
        fs::create_dir_all("/run/sshd")?;
        fs::write(folder.join("authorized_keys"), key)?;
        self.ssh_key("sshd/host_key")?;
        let at = folder.display();
        let settings = format!(
            "ListenAddress 127.0.0.1:2222\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/authorized_keys\n\
             PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        );
        fs::write(folder.join("sshd_config"), settings)?;
        let mut command = self.command("/usr/sbin/sshd");
        let server = self.spawn("sshd", command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")))?;
        server.wait_for_line("Server listening on")?;
        Ok(server)
    }

    /// Makes a key for ssh at `path` in this host's home, and returns its public half.
    pub fn ssh_key(&self, path: &str) -> Result<String> {
        self.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path])?.success()?;
        Ok(fs::read_to_string(self.home().join(format!("{path}.pub")))?)
    }

    /// Starts PostgreSQL at 127.0.0.1:5432 with a new cluster, and returns what opens it, without
    /// `HOST:PORT/DATABASE` at the end.
    pub fn postgres(&self) -> Result<(Process, String)> {
        let programs = postgres_programs()?;
        fs::write(self.home().join("password"), PASSWORD)?;
        let mut command = self.as_nobody_special(programs.join("initdb"));
        command.args(["-D", "cluster", "-U", "owner", "--auth=scram-sha-256", "--pwfile=password"]);
        run(command.args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]))?.success()?;
        let mut command = self.as_nobody_special(programs.join("postgres"));
        command.args(["-D", "cluster", "-h", "127.0.0.1", "-p", "5432", "-F", "-k"]).arg(self.home());
        let server = self.spawn("postgres", &mut command)?;
        server.wait_for_line("ready to accept connections")?;
        Ok((server, format!("postgresql://owner:{PASSWORD}@")))
    }

    /// Starts mosquitto: MQTT at 127.0.0.1:1883, over WebSocket at 127.0.0.1:9001, where it also
    /// serves the files of the folder `site` in this host's home.
    pub fn mosquitto(&self) -> Result<Process> {
        let site = self.home().join("site");
        fs::create_dir_all(&site)?;
        let settings = format!(
            "user root\nallow_anonymous true\nlistener 1883 127.0.0.1\nlistener 9001 127.0.0.1\nprotocol websockets\n\
             http_dir {}\n",
            site.display()
        );
        fs::write(self.home().join("mosquitto.conf"), settings)?;
        let mut command = self.command("/usr/sbin/mosquitto");
        let broker = self.spawn("mosquitto", command.args(["-c", "mosquitto.conf"]))?;
        broker.wait_for_line(" running")?;
        Ok(broker)
    }

    /// Starts a gRPC server that says again what it is told, at 127.0.0.1:50051.
    pub fn grpc_echo(&self) -> Result<Process> {
        let mut command = self.python_client_program("grpc_echo.py")?;
        let server = self.spawn("grpc echo", command.args(["serve", "127.0.0.1:50051"]))?;
        server.wait_for_line("ready")?;
        Ok(server)
    }

    /// One of the lab's Python programs, with the libraries that people use for MQTT and gRPC.
    pub fn python_client_program(&self, name: &str) -> Result<Command> {
        let environment = crate::python::environment("clients", "import grpc, paho.mqtt", "requirements-clients.txt")?;
        let mut command = self.command(environment.join("bin/python"));
        command.arg("-u").arg(format!("{}/python/{name}", env!("CARGO_MANIFEST_DIR")));
        Ok(command)
    }

    /// A program that refuses to be root, as a user that every system has.
    fn as_nobody_special(&self, program: PathBuf) -> Command {
        let mut command = self.command("unshare");
        command.args(["--user", "--map-user=1", "--map-group=1"]).arg(program);
        command
    }
}

/// Where the newest PostgreSQL has its programs.
fn postgres_programs() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("no PostgreSQL here")?;
    let folders = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    folders.filter(|folder| folder.join("postgres").exists()).max().context("no PostgreSQL's server here")
}
