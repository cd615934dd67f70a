//! What known programs need behind a service: the rows behind `app = "…"`.
//!
//! A setting that stands beside it overrides the row's.

/// A known program.
#[derive(Debug, PartialEq, Eq)]
pub struct App {
    /// As in `app = "…"`.
    pub name: &'static str,
    /// As its makers write it.
    pub title: &'static str,
    /// What it is told in `Host`.
    pub host: Host,
    /// Whether it is told who asked. Some refuse that from whom they were not told to trust.
    pub forwarded: bool,
}

/// What a program is told in `Host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// As the target says: it knows itself by that.
    Target,
    /// `localhost` and the target's port, wherever it runs: it believes no other name.
    Localhost,
}

/// Every known program, by name.
pub const APPS: &[App] = &[
    App { name: "code-server", title: "code-server", host: Host::Target, forwarded: false },
    App { name: "grafana", title: "Grafana", host: Host::Target, forwarded: false },
    App { name: "home-assistant", title: "Home Assistant", host: Host::Target, forwarded: false },
    App { name: "jupyter", title: "Jupyter", host: Host::Localhost, forwarded: false },
    App { name: "node-red", title: "Node-RED", host: Host::Target, forwarded: false },
    App { name: "proxmox", title: "Proxmox VE", host: Host::Target, forwarded: false },
    App { name: "syncthing", title: "Syncthing", host: Host::Localhost, forwarded: false },
    App { name: "transmission", title: "Transmission", host: Host::Localhost, forwarded: false },
    App { name: "vite", title: "Vite", host: Host::Localhost, forwarded: false },
];

/// What the name of one must be.
pub const FORM: &str =
    "code-server, grafana, home-assistant, jupyter, node-red, proxmox, syncthing, transmission or vite";

/// A refusal that a program is known for.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who says so, for people.
    pub who: &'static str,
    /// Where it is asked: `/`, or a path of this program alone.
    pub path: &'static str,
    /// What the answer for `/` contains, where another path is asked.
    pub sign: &'static str,
    /// With which status.
    pub status: u16,
    /// What its answer contains.
    pub text: &'static str,
    /// Why it refuses, for people; follows "because".
    pub because: &'static str,
    /// What helps, as in the configuration.
    pub setting: &'static str,
}

/// Known refusals. Where no program is named, several frameworks say so.
pub const REFUSALS: &[Refusal] = &[
    of_jupyter("/", "Jupyter Server"),
    of_jupyter("/api", "Forbidden"),
    Refusal {
        who: "Transmission",
        path: "/transmission/rpc",
        sign: "Server: Transmission",
        status: 421,
        text: "rpc-host-whitelist",
        because: "it believes only in a Host of its white list",
        setting: "app = \"transmission\"",
    },
    Refusal {
        who: "Vite",
        path: "/",
        sign: "",
        status: 403,
        text: "Blocked request. This host",
        because: "it believes only in the Host of its allowedHosts",
        setting: "app = \"vite\"",
    },
    Refusal {
        who: "Syncthing",
        path: "/",
        sign: "",
        status: 403,
        text: "Host check error",
        because: "it believes only in a local Host",
        setting: "app = \"syncthing\"",
    },
    of_host(403, "Invalid Host header"),
    of_host(200, "Invalid Host header"),
    of_host(400, "ALLOWED_HOSTS"),
    of_host(403, "Blocked hosts:"),
    of_https("The plain HTTP request was sent to HTTPS port"),
    of_https("Client sent an HTTP request to an HTTPS server"),
    of_https("speaking plain HTTP to an SSL-enabled server port"),
];

const fn of_jupyter(path: &'static str, text: &'static str) -> Refusal {
    let because = "it believes only in a local Host";
    let setting = "app = \"jupyter\"";
    Refusal { who: "Jupyter", path, sign: "Server: TornadoServer", status: 403, text, because, setting }
}

const fn of_host(status: u16, text: &'static str) -> Refusal {
    let because = "it does not know the Host";
    Refusal { who: "The program", path: "/", sign: "", status, text, because, setting: "host_header = \"target\"" }
}

const fn of_https(text: &'static str) -> Refusal {
    let because = "it speaks HTTPS";
    Refusal {
        who: "The program",
        path: "/",
        sign: "",
        status: 400,
        text,
        because,
        setting: "a target that begins with https://",
    }
}

/// A program that refuses to be told who asked, until it is told whom to believe.
#[derive(Debug, PartialEq, Eq)]
pub struct Distrust {
    /// Who says so, for people.
    pub who: &'static str,
    /// With which status.
    pub status: u16,
    /// What its answer contains.
    pub text: &'static str,
    /// What has it believe, for people; follows a verb.
    pub remedy: &'static str,
}

/// Programs that do so.
pub const DISTRUSTS: &[Distrust] = &[Distrust {
    who: "Home Assistant",
    status: 400,
    text: "400: Bad Request",
    remedy: "use_x_forwarded_for: true and trusted_proxies: [127.0.0.1], or this computer's address where \
             it runs on another, to http: in its configuration.yaml",
}];

/// The program that an answer to a request with who asked is a refusal of.
#[must_use]
pub fn distrust(status: u16, answer: &str) -> Option<&'static Distrust> {
    DISTRUSTS.iter().find(|it| it.status == status && answer.contains(it.text))
}

/// The refusal that an answer to a request for `path` is.
#[must_use]
pub fn refusal(path: &str, status: u16, answer: &str) -> Option<&'static Refusal> {
    REFUSALS.iter().find(|it| it.path == path && it.status == status && answer.contains(it.text))
}

/// The program of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static App> {
    APPS.iter().find(|app| app.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted_and_all_of_them_are_told() {
        let names: Vec<_> = APPS.iter().map(|app| app.name).collect();
        assert!(names.is_sorted());
        assert_eq!(FORM.replace(" or ", ", "), names.join(", "));
        assert!(names.iter().all(|name| find(name).is_some()) && find("word").is_none());
    }
}
