//! What the app on a phone and the program say to each other: one JSON object a line. The page for
//! people is docs/android-protocol.md.

use std::net::IpAddr;

use hardline_node::network::InterfaceAddr;
use serde_json::{Value, json};

/// The version that is spoken; the `v` of every line.
pub(super) const VERSION: u64 = 1;

/// Longest line that is read, in bytes.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// Interfaces, addresses of one, and servers that are taken from a line. A phone has a handful.
const MAX_INTERFACES: usize = 32;
const MAX_ADDRESSES: usize = 32;
const MAX_SERVERS: usize = 16;

/// What the app says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The networks that the phone is in now, in place of those before.
    Networks(Vec<InterfaceAddr>),
    /// DNS servers from now on; none: the system's resolver.
    Resolvers(Vec<IpAddr>),
    /// Whether the phone saves its battery.
    Doze(bool),
    /// It wants to know how things are.
    Status,
    /// The program is to end.
    Stop,
}

impl Event {
    /// Reads a line. The sentence of an error goes back to the app.
    pub(super) fn read(line: &[u8]) -> Result<Self, String> {
        let object: Value = serde_json::from_slice(line).map_err(|error| format!("not JSON: {error}"))?;
        if object["v"].as_u64() != Some(VERSION) {
            return Err(format!("\"v\" is not {VERSION}"));
        }
        match object["event"].as_str() {
            Some("networks") => networks(&object["networks"]).map(Self::Networks),
            Some("resolvers") => servers(&object["servers"]).map(Self::Resolvers),
            Some("doze") => object["on"].as_bool().map(Self::Doze).ok_or_else(|| "\"on\" is no boolean".to_owned()),
            Some("status") => Ok(Self::Status),
            Some("stop") => Ok(Self::Stop),
            Some(other) => Err(format!("unknown event {:?}", other.chars().take(32).collect::<String>())),
            None => Err("\"event\" is no text".to_owned()),
        }
    }
}

fn list<'a>(value: &'a Value, name: &str, most: usize) -> Result<&'a [Value], String> {
    let list = value.as_array().ok_or_else(|| format!("\"{name}\" is no list"))?;
    if list.len() > most {
        return Err(format!("\"{name}\" has more than {most} entries"));
    }
    Ok(list)
}

/// Interfaces with a transport; one that has `none` counts as absent.
fn networks(value: &Value) -> Result<Vec<InterfaceAddr>, String> {
    let mut addrs = Vec::new();
    for network in list(value, "networks", MAX_INTERFACES)? {
        let name = network["name"].as_str().filter(|name| !name.is_empty()).ok_or("a network has no \"name\"")?;
        let is_up = match network["transport"].as_str() {
            Some("none") => false,
            Some(_) => true,
            None => return Err(format!("network {name:?} has no \"transport\"")),
        };
        let may_multicast = network["multicast"].as_bool().unwrap_or(false);
        for text in list(&network["addresses"], "addresses", MAX_ADDRESSES)? {
            let (ip, prefix_len) = address(text).ok_or_else(|| format!("{text} is no address with its prefix"))?;
            let interface = name.to_owned();
            addrs.push(InterfaceAddr { ip, prefix_len, interface, is_up, is_short_lived: false, may_multicast });
        }
    }
    addrs.retain(|addr| addr.is_up);
    Ok(addrs)
}

/// `IP/PREFIX`, as Android's `LinkAddress` has it.
fn address(text: &Value) -> Option<(IpAddr, u8)> {
    let (ip, prefix_len) = text.as_str()?.split_once('/')?;
    let (ip, prefix_len): (IpAddr, u8) = (ip.parse().ok()?, prefix_len.parse().ok()?);
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    (prefix_len <= longest && !ip.is_unspecified() && !ip.is_multicast()).then_some((ip, prefix_len))
}

fn servers(value: &Value) -> Result<Vec<IpAddr>, String> {
    let read = |server: &Value| server.as_str().and_then(|text| text.parse().ok());
    let servers = list(value, "servers", MAX_SERVERS)?.iter();
    servers.map(|server| read(server).ok_or_else(|| format!("{server} is no IP address"))).collect()
}

/// The gateway serves at `port`.
pub(super) fn ready(port: u16) -> Value {
    json!({"v": VERSION, "event": "ready", "gateway": format!("http://localhost:{port}/"), "port": port})
}

/// How things are: services that are connected, tunnels that are open.
pub(super) fn status(services: usize, tunnels: u64) -> Value {
    json!({"v": VERSION, "event": "status", "services": services, "tunnels": tunnels})
}

/// Whether answers of the local networks are listened to.
pub(super) fn searching(on: bool) -> Value {
    json!({"v": VERSION, "event": "searching", "on": on})
}

/// What was wrong.
pub(super) fn error(message: &str) -> Value {
    json!({"v": VERSION, "event": "error", "message": message})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(line: &str, reason: &str) {
        let said = Event::read(line.as_bytes()).unwrap_err();
        assert!(said.contains(reason), "{line}: {said}");
    }

    #[test]
    fn networks_are_read_with_their_addresses() {
        let line = r#"{"v":1,"event":"networks","networks":[
            {"name":"wlan0","transport":"wifi","addresses":["192.168.1.5/24","fe80::1/64"],"multicast":true},
            {"name":"rmnet0","transport":"mobile","addresses":["10.0.0.1/30"]},
            {"name":"wlan1","transport":"none","addresses":["10.1.0.1/30"]}]}"#;
        let Ok(Event::Networks(addrs)) = Event::read(line.as_bytes()) else { panic!() };
        let read: Vec<_> = addrs
            .iter()
            .map(|it| format!("{} {}/{} {}", it.interface, it.ip, it.prefix_len, it.may_multicast))
            .collect();
        assert_eq!(read, ["wlan0 192.168.1.5/24 true", "wlan0 fe80::1/64 true", "rmnet0 10.0.0.1/30 false"]);
        assert_eq!(Event::read(br#"{"v":1,"event":"networks","networks":[]}"#), Ok(Event::Networks(Vec::new())));
    }

    #[test]
    fn the_other_events_are_read() {
        let servers = vec!["192.168.1.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let line = br#"{"v":1,"event":"resolvers","servers":["192.168.1.1","fd00::1"]}"#;
        assert_eq!(Event::read(line), Ok(Event::Resolvers(servers)));
        assert_eq!(Event::read(br#"{"v":1,"event":"doze","on":true}"#), Ok(Event::Doze(true)));
        assert_eq!(Event::read(br#"{"v":1,"event":"status","more":1}"#), Ok(Event::Status));
        assert_eq!(Event::read(br#"{"v":1,"event":"stop"}"#), Ok(Event::Stop));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        refused("nonsense", "not JSON");
        refused("7", "\"v\"");
        refused(r#"{"v":2,"event":"stop"}"#, "\"v\"");
        refused(r#"{"v":1}"#, "\"event\"");
        refused(r#"{"v":1,"event":"dance"}"#, "unknown event \"dance\"");
        refused(r#"{"v":1,"event":"doze"}"#, "\"on\"");
        refused(r#"{"v":1,"event":"resolvers","servers":["dns.example"]}"#, "no IP address");
        for address in ["192.168.1.5", "192.168.1.5/33", "0.0.0.0/0", "239.1.1.1/24", "x/24"] {
            let network = format!(r#"{{"name":"a","transport":"wifi","addresses":["{address}"]}}"#);
            refused(&format!(r#"{{"v":1,"event":"networks","networks":[{network}]}}"#), "no address");
        }
        let many = vec!["\"10.0.0.1\""; MAX_SERVERS + 1].join(",");
        refused(&format!(r#"{{"v":1,"event":"resolvers","servers":[{many}]}}"#), "more than 16");
    }
}
