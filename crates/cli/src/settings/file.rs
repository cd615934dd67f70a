//! A TOML file → settings. Every problem is noted with its line, and reading goes on.

use std::ops::Range;
use std::path::Path;

use hardline_node::config::IdentityConfig;
use toml_edit::{Document, Item, TableLike};

use super::problem::{Origin, Problem};
use super::raw::Raw;
use super::schema::{self, Key};
use super::{ForwardSettings, Loaded, PeerSettings, ServiceSettings, set};

/// Largest configuration file, in bytes. One with a thousand services has 100 KiB.
const MAX_FILE: u64 = 1024 * 1024;

/// Said of a table where a value should be.
const FOUND_TABLE: &str = "found a table";

/// Reads `path` into `loaded`.
pub(super) fn read(path: &Path, loaded: &mut Loaded, problems: &mut Vec<Problem>) {
    match read_text(path) {
        Ok(text) => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
            let base = absolute.parent().unwrap_or(&absolute);
            File { path, base, text: &text, problems, service_lines: Vec::new(), peer_lines: Vec::new() }.read(loaded);
        }
        Err(message) => problems.push(Problem { origin: Origin::File { path: path.into(), line: 1 }, message }),
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|err| err.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!("the file has {size} bytes, more than the {MAX_FILE} it may have"));
    }
    std::fs::read_to_string(path).map_err(|err| err.to_string())
}

struct File<'a> {
    path: &'a Path,
    /// Where the file's relative paths begin.
    base: &'a Path,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
    /// Line of each service of the settings.
    service_lines: Vec<usize>,
    /// Line of each peer of the settings.
    peer_lines: Vec<usize>,
}

impl File<'_> {
    fn read(&mut self, loaded: &mut Loaded) {
        match Document::parse(self.text) {
            Ok(document) => {
                self.table("", document.as_table(), loaded);
                self.refuse_twins(loaded);
                self.problems.sort_by_key(|problem| problem.origin.line());
            }
            Err(err) => self.note(err.span(), err.message().trim().replace('\n', ", ")),
        }
    }

    fn table(&mut self, prefix: &str, table: &dyn TableLike, loaded: &mut Loaded) {
        for (name, item) in table.iter() {
            let full = format!("{prefix}{name}");
            let span = table.get_key_value(name).and_then(|(key, _)| key.span());
            let is_table = schema::KEYS.iter().any(|key| key.name.starts_with(&format!("{full}.")));
            if full == "service" {
                self.each(item, &full, span, loaded, Self::service);
            } else if full == "peer" {
                self.each(item, &full, span, loaded, Self::peer);
            } else if full == "forward" {
                self.each(item, &full, span, loaded, Self::forward);
            } else if is_table {
                match item.as_table_like() {
                    Some(inner) => self.table(&format!("{full}."), inner, loaded),
                    None => self.note(span, format!("{full} must be a table: [{full}]")),
                }
            } else {
                self.value(&full, item, span, loaded);
            }
        }
    }

    fn value(&mut self, name: &str, item: &Item, span: Option<Range<usize>>, loaded: &mut Loaded) {
        let origin = self.origin(span);
        match (schema::KEYS.iter().find(|key| key.name == name), item.as_value()) {
            (Some(_), Some(value)) => set(name, &Raw::toml(value, self.base), origin, loaded, self.problems),
            (Some(key), None) => self.problems.push(Problem::bad_value(origin, name, key.form, FOUND_TABLE)),
            (None, _) => {
                let keys = schema::KEYS.iter().map(|key| key.name);
                let tables = schema::KEYS.iter().filter_map(|key| Some(key.name.split_once('.')?.0));
                let known = keys.chain(tables).chain(["service", "peer", "forward"]);
                self.problems.push(Problem::unknown_key(origin, name, known));
            }
        }
    }

    /// Reads the tables of `[[service]]`, `[[peer]]` or `[[forward]]`.
    fn each(
        &mut self,
        item: &Item,
        name: &str,
        span: Option<Range<usize>>,
        loaded: &mut Loaded,
        one: fn(&mut Self, &dyn TableLike, Option<Range<usize>>, &mut Loaded),
    ) {
        if let Some(tables) = item.as_array_of_tables() {
            tables.iter().for_each(|table| one(self, table, table.span(), loaded));
        } else if let Some(array) = item.as_array().filter(|array| array.iter().all(toml_edit::Value::is_inline_table))
        {
            array
                .iter()
                .filter_map(|value| value.as_inline_table())
                .for_each(|table| one(self, table, table.span(), loaded));
        } else {
            self.note(span, format!("{name} must be written [[{name}]], once for each"));
        }
    }

    fn service(&mut self, table: &dyn TableLike, span: Option<Range<usize>>, loaded: &mut Loaded) {
        let mut service = ServiceSettings::default();
        let before = self.problems.len();
        self.keys("service", table, schema::SERVICE_KEYS, &mut service);
        if service.target.is_none() && self.problems.len() == before {
            self.note(span.clone(), "service has no target".into());
        }
        let ways = [service.name.is_some(), service.certfile.is_some(), service.ephemeral];
        if ways.into_iter().filter(|is_given| *is_given).count() > 1 {
            self.note(span.clone(), "service has more than one of name, certfile and ephemeral".into());
        }
        for outcome in [service.read_password(), service.check_http()] {
            if let Err(reason) = outcome {
                self.note(span.clone(), reason);
            }
        }
        self.service_lines.push(self.line(span));
        loaded.settings.services.push(service);
    }

    fn peer(&mut self, table: &dyn TableLike, span: Option<Range<usize>>, loaded: &mut Loaded) {
        let mut peer = PeerSettings::default();
        let before = self.problems.len();
        self.keys("peer", table, schema::PEER_KEYS, &mut peer);
        let says_something = peer.is_ready || peer.is_trusted || !peer.addresses.is_empty();
        let is_whole = peer.name.is_some() && says_something;
        if !is_whole && self.problems.len() == before {
            self.note(span.clone(), "peer needs link, and addresses, ready or trusted".into());
        }
        self.peer_lines.push(self.line(span));
        loaded.settings.peers.push(peer);
    }

    fn forward(&mut self, table: &dyn TableLike, span: Option<Range<usize>>, loaded: &mut Loaded) {
        let mut forward = ForwardSettings::default();
        let before = self.problems.len();
        self.keys("forward", table, schema::FORWARD_KEYS, &mut forward);
        let is_whole = forward.name.is_some() && forward.local.is_some();
        if !is_whole && self.problems.len() == before {
            self.note(span.clone(), "forward needs link and local".into());
        }
        loaded.settings.forwards.push(forward);
    }

    fn keys<T>(&mut self, of: &str, table: &dyn TableLike, keys: &'static [Key<T>], into: &mut T) {
        for (name, item) in table.iter() {
            let origin = self.origin(table.get_key_value(name).and_then(|(key, _)| key.span()));
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                self.problems.push(Problem::unknown_key(origin, name, keys.iter().map(|key| key.name)));
                continue;
            };
            let outcome = match item.as_value() {
                Some(value) => (key.set)(into, &Raw::toml(value, self.base)),
                None => Err(FOUND_TABLE.into()),
            };
            if let Err(reason) = outcome {
                self.problems.push(Problem::bad_value(origin, &format!("{of}.{name}"), key.form, &reason));
            }
        }
    }

    /// Two services of one identity would answer for each other; two peers of one link hide a slip.
    fn refuse_twins(&mut self, loaded: &Loaded) {
        let data_dir = Path::new("");
        let identity = |service: &ServiceSettings| {
            let identity = service.node_config(data_dir)?.identity;
            (identity != IdentityConfig::Ephemeral).then_some(identity)
        };
        let identities: Vec<_> = loaded.settings.services.iter().map(identity).collect();
        let links: Vec<_> = loaded.settings.peers.iter().map(|peer| Some(peer.name.as_ref()?.key)).collect();
        self.refuse_repeats("service", "identity; give one of them another name", &identities, |file| {
            &file.service_lines
        });
        self.refuse_repeats("peer", "link; put the addresses together", &links, |file| &file.peer_lines);
    }

    fn refuse_repeats<T: PartialEq>(
        &mut self,
        of: &str,
        what: &str,
        items: &[Option<T>],
        lines: fn(&Self) -> &[usize],
    ) {
        for (index, item) in items.iter().enumerate().filter(|(_, item)| item.is_some()) {
            let Some(first) = items.iter().position(|other| other == item).filter(|first| *first < index) else {
                continue;
            };
            let (Some(first), Some(line)) = (lines(self).get(first), lines(self).get(index).copied()) else { continue };
            let message = format!("{of} and the one in line {first} have the same {what}");
            self.problems.push(Problem { origin: Origin::File { path: self.path.into(), line }, message });
        }
    }

    fn note(&mut self, span: Option<Range<usize>>, message: String) {
        let origin = self.origin(span);
        self.problems.push(Problem { origin, message });
    }

    fn origin(&self, span: Option<Range<usize>>) -> Origin {
        Origin::File { path: self.path.into(), line: self.line(span) }
    }

    fn line(&self, span: Option<Range<usize>>) -> usize {
        let before = span.and_then(|span| self.text.get(..span.start)).unwrap_or_default();
        before.matches('\n').count() + 1
    }
}
