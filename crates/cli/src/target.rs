//! What a person types for a service → target, and the name of the identity it keeps.

use std::path::{Path, PathBuf};

use hardline_node::config::Target;
use hardline_node::proto::KeyHash;
use hardline_node::proto::hosts::{Host, HostPort};

/// The forms a target may have, for messages and documents.
pub(crate) const FORMS: &str =
    "8080, 192.168.1.5:80, [::1]:80, https://nas:5001, udp://127.0.0.1:53, unix:/path/to/socket or ./folder";

/// Longest readable part of an identity's name, in characters: long enough to tell services apart,
/// short enough for every file system together with the hash and the suffixes.
const MAX_SLUG: usize = 40;

/// Reads a target. Relative paths are taken from `base`.
///
/// # Errors
/// A sentence that says which forms there are, or that the folder is absent.
pub(crate) fn parse(text: &str, base: &Path) -> Result<Target, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(&base.join(path));
    }
    if let Some(rest) = text.strip_prefix("https://") {
        return https(rest);
    }
    if let Some(rest) = text.strip_prefix("udp://") {
        return udp(rest);
    }
    if let Ok(port) = text.parse::<u16>() {
        return match port {
            0 => Err("port 0 is no port a service can have".into()),
            _ => Ok(Target::Tcp(HostPort { host: Host::Name("localhost".into()), port })),
        };
    }
    let path = base.join(text);
    if path.is_dir() && !text.is_empty() {
        return dunce::canonicalize(&path).map(Target::Folder).map_err(|err| format!("{}: {err}", path.display()));
    }
    if let Ok(at) = HostPort::typed(text) {
        return Ok(Target::Tcp(at));
    }
    Err(refusal(text, &path))
}

/// The name of the identity that this target keeps: readable, the same for ever, and different for
/// different targets.
///
/// What cannot stand in a file name is replaced by `-`; where that loses something, eight digits of
/// a hash of the written form follow.
#[must_use]
pub(crate) fn identity_name(target: &Target) -> String {
    let readable = match target {
        Target::Tcp(at) => at.to_string(),
        Target::Https(at) => format!("https-{at}"),
        Target::Udp(at) => format!("udp-{at}"),
        Target::Unix(path) => format!("unix-{}", last_part(path)),
        Target::Folder(path) => last_part(path),
    };
    let slug = slug(&readable);
    let is_exact = matches!(target, Target::Tcp(HostPort { host, .. }) if is_plain(host)) && slug.len() < MAX_SLUG;
    if is_exact { slug } else { format!("{slug}-{}", KeyHash::of_certificate(target.to_string().as_bytes()).short()) }
}

/// Where TLS is spoken: at port 443 if none is named. A path behind it says nothing here.
fn https(rest: &str) -> Result<Target, String> {
    let place = rest.strip_suffix('/').unwrap_or(rest);
    let with_port = || HostPort::typed(&format!("{place}:443")).ok();
    let at = if place.ends_with(']') { with_port() } else { HostPort::typed(place).ok().or_else(with_port) };
    at.map(Target::Https)
        .ok_or_else(|| format!("https://{rest} is no service: write https://HOST or https://HOST:PORT"))
}

/// Where UDP is spoken: `HOST:PORT`, or a port of this computer.
fn udp(rest: &str) -> Result<Target, String> {
    let place = rest.strip_suffix('/').unwrap_or(rest);
    let here = || place.parse::<u16>().ok().and_then(|port| HostPort::typed(&format!("localhost:{port}")).ok());
    HostPort::typed(place)
        .ok()
        .or_else(here)
        .map(Target::Udp)
        .ok_or_else(|| format!("udp://{rest} is no service: write udp://HOST:PORT"))
}

/// The absolute path of a socket, which need not exist yet: the service may start later.
fn unix(path: &Path) -> Result<Target, String> {
    let absolute = match (path.parent().map(dunce::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => std::path::absolute(path).map_err(|err| format!("{}: {err}", path.display()))?,
    };
    if absolute.file_name().is_none() || absolute.is_dir() {
        return Err(format!("{} is not the path of a socket", absolute.display()));
    }
    Ok(Target::Unix(absolute))
}

fn refusal(text: &str, path: &Path) -> String {
    if path.is_file() {
        return format!("{} is a file; share the folder it is in", path.display());
    }
    if text.starts_with(['.', '/', '~']) || text.ends_with('/') {
        return format!("there is no folder {}", path.display());
    }
    format!("{text:?} is no service: write {FORMS}")
}

/// Whether `slug` keeps the host apart from every other one: no colons, which become `-` too, and
/// no name that could be mistaken.
fn is_plain(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_ipv4(),
        Host::Name(name) => !name.contains(['-', '_']),
        Host::LinkLocal(..) => false,
    }
}

fn last_part(path: &Path) -> String {
    path.file_name().map_or_else(|| "root".into(), |name| name.to_string_lossy().into_owned())
}

/// Lower-case letters, digits, `.` and `-`; never empty, never hidden, never ending like an
/// identity's other files.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase).take(MAX_SLUG) {
        let keep = c.is_ascii_alphanumeric() || c == '.';
        if keep {
            slug.push(c);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let trimmed = slug.trim_matches(['-', '.']);
    if trimmed.is_empty() { "service".into() } else { trimmed.into() }
}

/// Where a target's relative paths begin when it was typed by hand.
#[must_use]
pub(crate) fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Target {
        Target::Tcp(text.parse().unwrap())
    }

    #[track_caller]
    fn check(text: &str, expected: Result<Target, &str>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("pictures")).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        match (parse(text, folder.path()), expected) {
            (Ok(Target::Folder(got)), Ok(Target::Folder(wanted))) => assert!(got.ends_with(wanted), "{got:?}"),
            (Ok(Target::Unix(got)), Ok(Target::Unix(wanted))) => assert!(got.ends_with(wanted), "{got:?}"),
            (Err(got), Err(wanted)) => assert!(got.contains(wanted), "{got}"),
            (got, wanted) => assert_eq!(got, wanted.map_err(Into::into)),
        }
    }

    #[test]
    fn targets_are_read_in_every_form() {
        check("8080", Ok(tcp("localhost:8080")));
        check("192.168.1.5:80", Ok(tcp("192.168.1.5:80")));
        check("[::1]:80", Ok(tcp("[::1]:80")));
        check("nas.lan:80", Ok(tcp("nas.lan:80")));
        let https = |text: &str| Ok(Target::Https(text.parse().unwrap()));
        check("https://nas:5001", https("nas:5001"));
        check("https://nas/", https("nas:443"));
        check("https://[::1]", https("[::1]:443"));
        check("https://[::1]:8006", https("[::1]:8006"));
        let udp = |text: &str| Ok(Target::Udp(text.parse().unwrap()));
        check("udp://127.0.0.1:53", udp("127.0.0.1:53"));
        check("udp://[::1]:53/", udp("[::1]:53"));
        check("udp://51820", udp("localhost:51820"));
        check("unix:/run/x.sock", Ok(Target::Unix("/run/x.sock".into())));
        check("unix:x.sock", Ok(Target::Unix("x.sock".into())));
        check("pictures", Ok(Target::Folder("pictures".into())));
        check("./pictures", Ok(Target::Folder("pictures".into())));
        check("./pictures/", Ok(Target::Folder("pictures".into())));
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        check("0", Err("port 0"));
        check("", Err("no service"));
        check("https://", Err("no service"));
        check("https://nas/path", Err("no service"));
        check("https://nas:0", Err("no service"));
        check("udp://", Err("no service"));
        check("udp://nas", Err("no service"));
        check("udp://0", Err("no service"));
        check("70000", Err("no service"));
        check("localhost", Err("no service"));
        check("./absent", Err("no folder"));
        check("notes.txt", Err("is a file"));
        check("unix:", Err("not the path of a socket"));
        check("unix:/", Err("not the path of a socket"));
    }

    #[test]
    fn identity_names_are_readable_and_have_a_hash_where_something_is_lost() {
        assert_eq!(identity_name(&tcp("localhost:8080")), "localhost-8080");
        assert_eq!(identity_name(&tcp("192.168.1.5:80")), "192.168.1.5-80");
        assert!(identity_name(&tcp("[::1]:80")).starts_with("1-80-"));
        assert!(identity_name(&tcp("my-nas:80")).starts_with("my-nas-80-"));
        assert!(identity_name(&Target::Folder("/home/me/Möbel & mehr".into())).starts_with("m-bel-mehr-"));
        assert!(identity_name(&Target::Folder("/".into())).starts_with("root-"));
        assert!(identity_name(&Target::Unix("/run/x.sock".into())).starts_with("unix-x.sock-"));
    }

    #[test]
    fn targets_that_look_alike_have_different_identities() {
        let alike = [
            tcp("[::1]:80"),
            tcp("a-b:80"),
            tcp("a_b:80"),
            tcp("a.b:80"),
            Target::Https("a.b:80".parse().unwrap()),
            Target::Udp("a.b:80".parse().unwrap()),
            Target::Folder("/a/b".into()),
            Target::Folder("/b".into()),
            Target::Folder("/a b".into()),
            Target::Unix("/b".into()),
            Target::Unix("/a/b".into()),
        ];
        let names: std::collections::BTreeSet<_> = alike.iter().map(identity_name).collect();
        assert_eq!(names.len(), alike.len());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_every_name_is_a_plain_file_name(text in "\\PC{0,80}") {
            if let Ok(target) = parse(&text, Path::new("/")) {
                let name = identity_name(&target);
                assert!(crate::identities::check_name(&name).is_ok(), "{name}");
            }
        }
    }
}
