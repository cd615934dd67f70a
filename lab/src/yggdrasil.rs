//! The Yggdrasil mesh: Debian's `yggdrasil` on a host.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::network::Host;
use crate::process::Process;

/// A running node of the mesh, with an interface `ygg0`.
#[derive(Debug)]
pub struct Yggdrasil {
    /// Its address in the mesh (200::/7).
    pub address: Ipv6Addr,
    _process: Process,
}

/// How a node of the mesh meets others.
#[derive(Debug, Clone, Copy)]
pub enum Meeting<'a> {
    /// It waits at TCP port 9001.
    Listens,
    /// It connects to a peer (`tcp://203.0.113.9:9001`).
    Calls(&'a str),
    /// It finds its neighbours by multicast on this interface.
    Neighbours(&'a str),
}

impl Host {
    /// Starts a node of the mesh.
    pub fn yggdrasil(&self, meeting: Meeting<'_>) -> Result<Yggdrasil> {
        let made = self.run("yggdrasil", &["-genconf", "-json"])?.success()?.stdout;
        let mut config: Value = serde_json::from_str(&made)?;
        config["IfName"] = json!("ygg0");
        // The file system is everybody's, and so would be the usual path.
        config["AdminListen"] = json!(format!("unix://{}/yggdrasil.sock", self.home().display()));
        config["MulticastInterfaces"] = json!([]);
        match meeting {
            Meeting::Listens => config["Listen"] = json!(["tcp://[::]:9001"]),
            Meeting::Calls(peer) => config["Peers"] = json!([peer]),
            Meeting::Neighbours(interface) => {
                let neighbours = json!({"Regex": interface, "Beacon": true, "Listen": true, "Port": 0, "Priority": 0});
                config["MulticastInterfaces"] = json!([neighbours]);
            }
        }
        let path = self.home().join("yggdrasil.json");
        std::fs::write(&path, config.to_string())?;
        let path = path.to_str().context("a path")?;
        let said = self.run("yggdrasil", &["-useconffile", path, "-address"])?.success()?.stdout;
        let address = said.trim().parse().with_context(|| format!("an address: {said}"))?;
        let mut command = self.command("yggdrasil");
        let process = self.spawn("yggdrasil", command.args(["-useconffile", path, "-logto", "stdout"]))?;
        process.wait_for_line("Your IPv6 address is")?;
        Ok(Yggdrasil { address, _process: process })
    }
}
