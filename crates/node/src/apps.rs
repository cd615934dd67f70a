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
