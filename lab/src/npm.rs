//! Programs from npm, each exactly as its lock file says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::network::Host;
use crate::process::{Process, run};

/// The page that Vite serves: it shows what `text.js` says, with a hand from a worker, and says
/// in its title when Vite may tell it of changes. Who posts to `/change` has `text.js` changed.
const VITE_FILES: [(&str, &str); 5] = [
    ("index.html", "<!doctype html><title>page</title><p id=text></p><script type=module src=/main.js></script>"),
    (
        "main.js",
        "import { text } from './text.js';
         const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
         worker.onmessage = event => document.querySelector('#text').textContent = event.data;
         worker.postMessage(text);
         import.meta.hot.accept('./text.js', it => worker.postMessage(it.text));
         import.meta.hot.on('vite:ws:connect', () => document.title = 'connected');",
    ),
    (
        "vite.config.js",
        "import { writeFileSync } from 'node:fs';
         const change = (_, answer) => {
             writeFileSync(new URL('text.js', import.meta.url), `export const text = 'second';`);
             answer.end();
         };
         const configureServer = server => { server.middlewares.use('/change', change); };
         export default { plugins: [{ name: 'change', configureServer }] };",
    ),
    ("worker.js", "onmessage = event => postMessage(event.data + ', says the worker');"),
    ("text.js", "export const text = 'first';"),
];

impl Host {
    /// Starts Vite's server for developers at 127.0.0.1:5173, with the folder `page` in this host's
    /// home. A change of its `text.js` reaches the open page.
    pub fn vite(&self) -> Result<Process> {
        let folder = self.home().join("page");
        fs::create_dir_all(&folder)?;
        for (name, text) in VITE_FILES {
            fs::write(folder.join(name), text)?;
        }
        let mut command = self.node("vite", "vite/bin/vite.js")?;
        command.arg(&folder).args(["--host", "127.0.0.1", "--port", "5173", "--strictPort"]);
        let server = self.spawn("vite", &mut command)?;
        server.wait_for_line("ready in")?;
        Ok(server)
    }

    /// Starts Node-RED with its editor at 127.0.0.1:1880 and without flows.
    pub fn node_red(&self) -> Result<Process> {
        // Neither calls home nor shows newcomers around.
        let settings = "module.exports = { uiHost: '127.0.0.1', uiPort: 1880, flowFile: 'flows.json',
            telemetry: { enabled: false, updateNotification: false }, editorTheme: { tours: false } };";
        fs::create_dir_all(self.home().join("node-red"))?;
        fs::write(self.home().join("node-red/settings.js"), settings)?;
        let mut command = self.node("node-red", "node-red/red.js")?;
        let server = self.spawn("node-red", command.args(["--userDir", "node-red"]))?;
        server.wait_for_line("Server now running at")?;
        Ok(server)
    }

    /// Starts code-server at 127.0.0.1:8080, with a folder that holds `note.txt`, and returns the
    /// path that opens it. Whoever gets there may edit; terminals and searches need parts that are
    /// not installed.
    pub fn code_server(&self) -> Result<(Process, String)> {
        let folder = self.home().join("project");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("note.txt"), "A note.\n")?;
        let mut command = self.node("code-server", "code-server/out/node/entry.js")?;
        command.args(["--auth", "none", "--bind-addr", "127.0.0.1:8080", "--disable-workspace-trust"]);
        command.args(["--disable-telemetry", "--disable-update-check", "--disable-getting-started-override"]);
        let server = self.spawn("code-server", &mut command)?;
        server.wait_for_line("HTTP server listening on")?;
        Ok((server, format!("/?folder={}", folder.display())))
    }

    /// Starts TiddlyWiki at 127.0.0.1:8080, with an empty wiki.
    pub fn tiddlywiki(&self) -> Result<Process> {
        let program = "tiddlywiki/tiddlywiki.js";
        run(self.node("pages", program)?.args(["wiki", "--init", "server"]))?.success()?;
        let mut command = self.node("pages", program)?;
        let server = self.spawn("tiddlywiki", command.args(["wiki", "--listen", "host=127.0.0.1", "port=8080"]))?;
        server.wait_for_line("Serving on")?;
        Ok(server)
    }

    /// A program of the packages in `lab/npm/NAME`.
    fn node(&self, name: &str, program: &str) -> Result<Command> {
        let mut command = self.command("node");
        command.arg(modules(name)?.join(program));
        Ok(command)
    }
}

/// Where the packages of `lab/npm/NAME` are, which are installed when absent.
pub(crate) fn modules(name: &str) -> Result<PathBuf> {
    let (folder, _lock) = crate::python::claim(&format!("npm-{name}"))?;
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("npm").join(name);
    let wanted = fs::read(source.join("package-lock.json"))?;
    let installed = folder.join("installed");
    if fs::read(&installed).ok() != Some(wanted.clone()) {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.current_dir(&folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        run(&mut npm)?.success().with_context(|| format!("installing lab/npm/{name}"))?;
        let mut npm = Command::new("npm");
        npm.current_dir(&folder).args(["run", "build", "--if-present"]);
        run(&mut npm)?.success().with_context(|| format!("building lab/npm/{name}"))?;
        fs::write(installed, wanted)?;
    }
    Ok(folder.join("node_modules"))
}
