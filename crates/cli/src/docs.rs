//! Command line and settings → man pages, completions, markdown, the example file.

use std::fmt::Write as _;

use clap::Command;

use crate::failure::Exit;
use crate::help;
use crate::settings::Settings;
use crate::settings::schema::{FORWARD_KEYS, KEYS, Key, OTHER_VARIABLES, PEER_KEYS, SERVICE_KEYS};

/// The whole command line, ready for generators of manuals.
#[must_use]
pub fn command() -> Command {
    let mut command = help::command();
    command.build();
    command
}

/// Every command that is shown, as a row of words from the program's name on, parents first.
#[must_use]
pub fn commands() -> Vec<(String, Command)> {
    fn walk(name: String, command: &Command, found: &mut Vec<(String, Command)>) {
        found.push((name.clone(), command.clone()));
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            walk(format!("{name} {}", sub.get_name()), sub, found);
        }
    }
    let mut found = Vec::new();
    walk("hardline".into(), &command(), &mut found);
    found
}

/// The man page of one of [`commands`].
#[must_use]
pub fn man_page(name: &str, command: &Command) -> Vec<u8> {
    let titled = command.clone().name(name.replace(' ', "-")).version(env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    // Writing into memory cannot fail.
    let _ = clap_mangen::Man::new(titled).render(&mut page);
    page
}

/// `docs/cli.md`.
#[must_use]
pub fn cli_markdown() -> String {
    let mut text =
        String::from("# The command line\n\nThis page is generated from `hardline --help`.\n\n## Exit codes\n\n");
    text.push_str("| code | meaning |\n| --- | --- |\n");
    for (exit, meaning) in Exit::ALL {
        let _ = writeln!(text, "| {} | {meaning} |", *exit as u8);
    }
    text.push_str(EVENTS);
    text.push_str(
        "\nThe numbers under `metrics` count since the start:\n\n| name | unit | meaning |\n| --- | --- | --- |\n",
    );
    for metric in hardline_node::metrics::DESCRIPTIONS {
        let _ = writeln!(text, "| `{}` | {} | {} |", metric.name, metric.unit, metric.help);
    }
    for (name, command) in commands() {
        let help = command.clone().bin_name(&name).term_width(100).render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    }
    text
}

/// `docs/configuration.md`.
#[must_use]
pub fn configuration_markdown() -> String {
    let mut text = String::from(CONFIGURATION_INTRODUCTION);
    let defaults = Settings::default();
    text.push_str("\n## Keys\n\n| key | default | environment variable | must be |\n| --- | --- | --- | --- |\n");
    for key in KEYS {
        let default = (key.get)(&defaults).map_or_else(|| "the platform's".into(), |value| format!("`{value}`"));
        let _ = writeln!(text, "| `{}` | {default} | `{}` | {} |", key.name, key.env().unwrap_or_default(), key.form);
    }
    text.push_str("\n## What they do\n\n");
    for key in KEYS {
        let _ = writeln!(text, "- `{}`: {}", key.name, key.help);
    }
    for (name, variable_help) in OTHER_VARIABLES {
        let _ = writeln!(text, "- `{name}` (environment only): {variable_help}");
    }
    table_markdown(&mut text, "service", "One table for each service of this computer.", SERVICE_KEYS);
    table_markdown(
        &mut text,
        "peer",
        "One table for each service elsewhere whose address is known by hand.",
        PEER_KEYS,
    );
    table_markdown(&mut text, "forward", FORWARD, FORWARD_KEYS);
    text
}

/// `packaging/hardline.toml`: every key, commented out, with its default or an example.
#[must_use]
pub fn example_file() -> String {
    let mut text = String::from(
        "# Hardline's configuration. Every key is here with its default; take the # away to change one.\n",
    );
    let defaults = Settings::default();
    let mut table = "";
    for key in KEYS {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != table {
            let _ = write!(text, "\n[{of}]\n");
            table = of;
        }
        let value = (key.get)(&defaults).map_or_else(|| key.example.to_owned(), |value| value.to_string());
        let _ = write!(text, "\n{}# {}\n#{name} = {value}\n", comment(key.help), key.env().unwrap_or_default());
    }
    example_tables(&mut text, "service", "A service of this computer; one such table for each.", SERVICE_KEYS);
    example_tables(&mut text, "peer", "A service elsewhere whose address is known by hand.", PEER_KEYS);
    example_tables(&mut text, "forward", "A service elsewhere as a port or a socket of this computer.", FORWARD_KEYS);
    text
}

const EVENTS: &str = "
## What programs read

With `--json` stdout is one JSON object a line, each with an `event`. Logs and errors stay on stderr; `--log-format json`
makes each log line an object too.

| command | events |
| --- | --- |
| `hardline`, `share`, `relay` | `ready` first: `version`; `gateway` and `p2p`, the bound addresses; `services`, each with `key`, `title`, `target`, `link` (on this computer) and `link_elsewhere`; `forwards` of the configuration, each with `local` and `key`; `dns`, addresses; `relay`, the address of the relay that runs here; `notices`, sentences. Then `stopping` and `stopped` |
| `browse` | `ready`; then `found`, `changed` and `lost`, each with `key`, `title`, `link` and `addresses`; `done` |
| `forward` | `ready` with `forwards`, each with `local`, the bound address, and `key`; of the first these two also stand alone |
| `peers` | `peer` for each: `key`, `title`, `link`, `addresses` (each `address`, `origin`: `told`, `lan`, `given`, `dht` or `imported`, `told_at` and `worked_at` in Unix seconds), and the `paths` over which it is connected now. `forgotten` with `key` |
| `id`, `key` | `identity` for each: `name`, `key`, `link`, `files` |
| `relay token` | an object for each token: `name`, and `address` when it is made, `created` in a list, `revoked` with the name |
| `open` | `opened` with `link` |
| `status` | one object without `event`: `gateway`, `p2p`, `services` (each with its state in the `dht`), `reach`, `relay`, `relays`, `peers` (services that are connected: each `key`, `at`, `path`, `tunnels` and `idle` sessions), `visitors` (sessions of others with services of this computer: each `service`, `path` and open `tunnels`), `dht`, `tunnels` open now, `metrics` (what was refused and dropped at a limit, too), `tasks`, and all of it in `sentences` |
| `doctor` | `finding` for each: `about`, `state` (`fine`, `note` or `wrong`), `sentence`, `remedy`. `done` with `wrong`, a count |
| `config check` | `problem` for each: `where`, `message`; or `checked` with `file`, `services` and `peers` |
| `config show` | `key` for each: `key`, `value`, `where`; `service`, `peer` and `forward` |

A `path` has the keys `kind` (`this_computer`, `lan`, `direct`, `punched`, `relay` or `mesh`), `via` (the relay's host, else
null), `transport` (`tcp` or `quic`), `rtt_ms` (a round trip to the other computer as measured last, or null) and `text`, the same
in words: \"relay vps.example, 48 ms\". What was dialled in vain has one too, in the gateway's JSON: `tried.attempts[].path`.

A link contains the password of its service, if there is one. `connect` has no events: its stdout is the service's.
";

const FORWARD: &str = "One table for each service elsewhere that shall have a port or a socket of this computer, for as long as \
    `hardline` runs. Each connection finds the service anew, whatever network this computer is in by then.";

const CONFIGURATION_INTRODUCTION: &str = "\
# The configuration

This page is generated from the program's table of keys. `hardline config example` prints a file with all of them,
`hardline config check` reports every problem with its line, `hardline config show` says where each value comes from.

The file is TOML. It is read from `--config`, else from `HARDLINE_CONFIG`, else from the platform's place: on Linux
`~/.config/hardline/hardline.toml`. Without a file everything has its default.

The environment overrides the file, and flags override the environment. `--set KEY=VALUE` sets any key. In the
environment and in `--set`, the parts of a list are separated by commas. Services, peers and forwards have no variables: they
stand in the file or on the command line.

Relative paths begin at the folder of the file, and `~/` is the home folder.
";

fn table_markdown<T>(text: &mut String, name: &str, about: &str, keys: &[Key<T>]) {
    let _ = write!(text, "\n## `[[{name}]]`\n\n{about}\n\n| key | example | meaning |\n| --- | --- | --- |\n");
    for key in keys {
        let _ = writeln!(text, "| `{}` | `{}` | {} |", key.name, key.example, key.help);
    }
}

fn example_tables<T>(text: &mut String, name: &str, about: &str, keys: &[Key<T>]) {
    let _ = write!(text, "\n# {about}\n#[[{name}]]\n");
    for key in keys {
        let _ = write!(text, "\n{}#{} = {}\n", comment(key.help), key.name, key.example);
    }
}

/// A text as comment lines of at most 100 characters.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split(' ') {
        let is_full = lines.last().is_some_and(|line| line.len() + word.len() >= 100);
        if is_full {
            lines.push("#".into());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}
