//! A real browser without a window, driven step by step.
//!
//! Steps: `open:URL`, `wait:EXPRESSION` (JavaScript, until it is true), `read:EXPRESSION` (its
//! value is printed), `shot:FILE` (the page as a PNG), `console:` (what the browser has to say of
//! the page, in Chromium); the first may be `pac:URL` (the script that says which proxy is asked
//! for what). Each prints a line of JSON; the first that fails ends it.

mod bidi;
mod devtools;
mod socket;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a browser may take to start, on a busy machine with a cold disk.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long one step may take, waiting for the page to do its work included.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// How often a page is asked whether it is so far.
const POLL: Duration = Duration::from_millis(50);

/// Size of the window, in CSS pixels.
const WINDOW: (u32, u32) = (1000, 700);

/// Runs the steps in `chromium` or `firefox-esr`, with a new profile under `folder`.
pub(crate) async fn run(kind: &str, folder: &str, steps: &[&str]) -> Result<ExitCode> {
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;
    let pac = steps.first().and_then(|step| step.strip_prefix("pac:"));
    let (_browser, mut page) = match kind {
        "chromium" => start_chromium(folder, pac).await?,
        "firefox-esr" => start_firefox(folder, pac).await?,
        _ => bail!("no such browser: {kind}"),
    };
    for step in steps {
        let outcome = match timeout(STEP_LIMIT, page.step(step)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow!("out of time; the page reads: {}", page.text().await)),
        };
        let error = outcome.as_ref().err().map(|err| format!("{err:#}"));
        println!("{}", json!({"step": step, "value": outcome.ok(), "error": error}));
        if error.is_some() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn start_chromium(folder: &Path, pac: Option<&str>) -> Result<(Child, Page)> {
    let mut command = Command::new("chromium");
    command.args(pac.map(|url| format!("--proxy-pac-url={url}")));
    command.arg(format!("--user-data-dir={}", folder.display()));
    command.arg(format!("--window-size={},{}", WINDOW.0, WINDOW.1));
    // The sandbox refuses to run as root; the rest keeps it from calling its maker.
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
        "about:blank",
    ]);
    let (child, url) = start(command, "DevTools listening on ").await?;
    Ok((child, Page::Chromium(devtools::Page::connect(&url).await?)))
}

async fn start_firefox(folder: &Path, pac: Option<&str>) -> Result<(Child, Page)> {
    // Nobody is there to be asked about forms that are sent to plain http.
    let preferences = "user_pref('app.update.enabled', false);\n\
                       user_pref('security.warn_submit_secure_to_insecure', false);\n\
                       user_pref('datareporting.policy.dataSubmissionEnabled', false);\n\
                       user_pref('network.captive-portal-service.enabled', false);\n\
                       user_pref('network.connectivity-service.enabled', false);\n";
    // Otherwise it asks no proxy for names below localhost, whatever the script says.
    let by_script = pac.map(|url| {
        format!(
            "user_pref('network.proxy.type', 2);\nuser_pref('network.proxy.autoconfig_url', '{url}');\n\
             user_pref('network.proxy.allow_hijacking_localhost', true);\n"
        )
    });
    std::fs::write(folder.join("user.js"), [preferences, &by_script.unwrap_or_default()].concat())?;
    let mut command = Command::new("firefox-esr");
    command.args(["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"]).arg(folder);
    command.args(["--width", &WINDOW.0.to_string(), "--height", &WINDOW.1.to_string(), "about:blank"]);
    let (child, url) = start(command, "WebDriver BiDi listening on ").await?;
    Ok((child, Page::Firefox(bidi::Page::connect(&format!("{url}/session")).await?)))
}

/// Starts the browser and waits for the line with the address it is driven at.
async fn start(mut command: Command, announcement: &str) -> Result<(Child, String)> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("starting the browser")?;
    let mut lines = BufReader::new(child.stderr.take().context("a piped stderr")?).lines();
    let finding = async {
        while let Some(line) = lines.next_line().await? {
            if let Some((_, url)) = line.split_once(announcement) {
                return Ok(url.trim().to_owned());
            }
            eprintln!("{line}");
        }
        bail!("the browser ended")
    };
    let url = timeout(START_LIMIT, finding).await.context("the browser does not start")??;
    // Nobody reads the rest, but a full pipe would stop the browser.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, url))
}

/// The one page of a browser.
enum Page {
    Chromium(devtools::Page),
    Firefox(bidi::Page),
}

impl Page {
    async fn step(&mut self, step: &str) -> Result<Value> {
        match step.split_once(':').context("a step is VERB:ARGUMENT")? {
            ("open", url) => self.open(url).await,
            ("pac", _) => Ok(Value::Null), // the browser was started with it
            ("read", expression) => self.evaluate(expression).await,
            ("wait", expression) => self.wait(expression).await,
            ("shot", file) => self.screenshot(PathBuf::from(file)).await,
            ("console", _) => match self {
                Self::Chromium(page) => page.console().await,
                Self::Firefox(_) => bail!("only Chromium is asked for its console"),
            },
            (verb, _) => bail!("no such step: {verb}"),
        }
    }

    async fn open(&mut self, url: &str) -> Result<Value> {
        match self {
            Self::Chromium(page) => page.open(url).await?,
            Self::Firefox(page) => page.open(url).await?,
        }
        Ok(Value::Null)
    }

    async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        match self {
            Self::Chromium(page) => page.evaluate(expression).await,
            Self::Firefox(page) => page.evaluate(expression).await,
        }
    }

    async fn text(&mut self) -> String {
        let text = timeout(STEP_LIMIT, self.evaluate("document.body.innerText")).await;
        text.map_or_else(|_| "nothing".to_owned(), |text| format!("{text:?}"))
    }

    /// A page may be gone in the middle of a question, when it loads itself again; the next
    /// question finds the new one.
    async fn wait(&mut self, expression: &str) -> Result<Value> {
        loop {
            if let Ok(Value::Bool(true)) = self.evaluate(&format!("Boolean({expression})")).await {
                return Ok(Value::Bool(true));
            }
            sleep(POLL).await;
        }
    }

    async fn screenshot(&mut self, file: PathBuf) -> Result<Value> {
        let base64 = match self {
            Self::Chromium(page) => page.screenshot().await?,
            Self::Firefox(page) => page.screenshot().await?,
        };
        let png = data_encoding::BASE64.decode(base64.as_bytes())?;
        ensure!(png.starts_with(b"\x89PNG"), "a screenshot that is no PNG");
        std::fs::create_dir_all(file.parent().context("a folder for screenshots")?)?;
        std::fs::write(file, png)?;
        Ok(Value::Null)
    }
}
