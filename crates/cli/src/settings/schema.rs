//! Every key: its name, its environment variable, what it means. The one table behind reading,
//! checking, showing and documenting the settings.

use hardline_node::apps;
use hardline_node::config::{HttpSettings, LocalAddr};
use hardline_node::proto::hosts::HostPort;
use hardline_node::proto::relay::RelayUrl;
use toml_edit::{Array, InlineTable, Value};

use super::raw::Raw;
use super::{ForwardSettings, PeerSettings, ServiceSettings, Settings};
use crate::logging::LogFormat;

/// One key of a `T`.
pub struct Key<T: 'static> {
    /// Its name; a dot parts the table from the key.
    pub name: &'static str,
    /// Its environment variable.
    pub variable: Variable,
    /// What its value must be; follows "must be".
    pub form: &'static str,
    /// A value as an example, in TOML, for a key whose default is nothing.
    pub example: &'static str,
    /// What it does, for people.
    pub help: &'static str,
    /// The value in TOML, `None` while it is not set.
    pub get: fn(&T) -> Option<Value>,
    /// Sets the value, or says what was found instead.
    pub set: fn(&mut T, &Raw<'_>) -> Result<(), String>,
}

/// The environment variable of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `HARDLINE_` and the key's name: `HARDLINE_LAN_PORT` for `lan.port`.
    OfName,
    /// Another one.
    Named(&'static str),
    /// Services and peers have none.
    None,
}

impl<T> Key<T> {
    /// Its environment variable.
    #[must_use]
    pub fn env(&self) -> Option<String> {
        match self.variable {
            Variable::OfName => Some(format!("HARDLINE_{}", self.name.replace('.', "_").to_uppercase())),
            Variable::Named(name) => Some(name.to_owned()),
            Variable::None => None,
        }
    }
}

impl<T> std::fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a port must be.
const PORT: &str = "a port, 0 to 65535, where 0 takes a free one";
/// What a limit must be.
const LIMIT: &str = "a number, 1 to 1000000";
/// What a yes or no must be.
const BOOLEAN: &str = "true or false";
/// What a password must be.
pub const PASSWORD: &str = "1 to 22 lower-case letters (a to z) and digits";

/// Variables that are read and are no keys.
pub const OTHER_VARIABLES: &[(&str, &str)] = &[("HARDLINE_CONFIG", "The configuration file, as `--config`.")];

/// Seconds of the longest idle time of a tunnel: a year.
const MAX_IDLE: u64 = 365 * 24 * 3600;

/// A number of things, 1 to a million.
macro_rules! limit {
    ($name:literal, $($field:ident).+, $help:literal) => {
        Key {
            name: $name,
            variable: Variable::OfName,
            form: LIMIT,
            example: "",
            help: $help,
            get: |it| Some(i64::try_from(it.$($field).+).unwrap_or(i64::MAX).into()),
            set: |it, raw| raw.limit().map(|value| it.$($field).+ = value as _),
        }
    };
}

/// A time, between numbers of seconds.
macro_rules! time {
    ($name:literal, $($field:ident).+, $least:literal => $most:expr, $help:literal) => {
        Key {
            name: $name,
            variable: Variable::OfName,
            form: concat!("a time such as \"1m\", at least ", $least, " s"),
            example: "",
            help: $help,
            get: |it| Some(humantime::format_duration(it.$($field).+).to_string().into()),
            set: |it, raw| raw.time($least..=$most).map(|value| it.$($field).+ = value),
        }
    };
}

/// Bytes a second of the fastest limit of a relay: more than any network has.
const MAX_BYTES_PER_SECOND: u64 = 1 << 50;

/// Bytes a second, 0 for no limit.
macro_rules! bytes_per_second {
    ($name:literal, $($field:ident).+, $help:literal) => {
        Key {
            name: $name,
            variable: Variable::OfName,
            form: "a number of bytes a second, 0 for no limit",
            example: "",
            help: $help,
            get: |it| Some(i64::try_from(it.$($field).+).unwrap_or(i64::MAX).into()),
            set: |it, raw| raw.up_to(MAX_BYTES_PER_SECOND).map(|value| it.$($field).+ = value),
        }
    };
}

/// Keys of the program as a whole.
pub const KEYS: &[Key<Settings>] = &[
    Key {
        name: "data_dir",
        variable: Variable::OfName,
        form: "a folder",
        example: "\"/srv/hardline\"",
        help: "Folder for the identities and for what is remembered; made when absent. Default: the platform's data folder, on Linux ~/.local/share/hardline.",
        get: |it| it.data_dir.as_ref().map(|path| path.display().to_string().into()),
        set: |it, raw| raw.path().map(|path| it.data_dir = Some(path)),
    },
    Key {
        name: "grace",
        variable: Variable::OfName,
        form: "a time such as \"30s\"",
        example: "",
        help: "How long running tunnels may go on after a stop was asked for. A second signal stops at once.",
        get: |it| Some(humantime::format_duration(it.node.grace).to_string().into()),
        set: |it, raw| raw.duration().map(|value| it.node.grace = value),
    },
    Key {
        name: "relays",
        variable: Variable::OfName,
        form: "a list of relay://TOKEN@HOST:PORT/KEYHASH, or none",
        example: "",
        help: "Relays through which the services are reached where no port can be opened, as `hardline relay` prints them. They see names that change daily, addresses and sizes, and no content. Without HOST:PORT a relay is looked up by its key hash.",
        get: |it| Some(it.node.relays.iter().map(RelayUrl::masked).collect::<Array>().into()),
        set: |it, raw| raw.relays().map(|value| it.node.relays = value),
    },
    Key {
        name: "gateway.enabled",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether browsers of this computer are served. Without it this computer only publishes.",
        get: |it| Some(it.gateway_enabled.into()),
        set: |it, raw| raw.boolean().map(|value| it.gateway_enabled = value),
    },
    Key {
        name: "gateway.port",
        variable: Variable::OfName,
        form: PORT,
        example: "",
        help: "Port for browsers, on 127.0.0.1 and ::1 only. Links carry it, so another number makes links that only work here.",
        get: |it| Some(i64::from(it.gateway_port).into()),
        set: |it, raw| raw.port().map(|value| it.gateway_port = value),
    },
    Key {
        name: "dns.enabled",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether a DNS server on 127.0.0.1 and ::1 answers for names below localhost, and for no others: for programs that do not resolve them. `hardline doctor` says how to point the system at it.",
        get: |it| Some(it.dns_enabled.into()),
        set: |it, raw| raw.boolean().map(|value| it.dns_enabled = value),
    },
    Key {
        name: "dns.port",
        variable: Variable::OfName,
        form: PORT,
        example: "",
        help: "UDP port of that server. Windows asks at 53 only.",
        get: |it| Some(i64::from(it.dns_port).into()),
        set: |it, raw| raw.port().map(|value| it.dns_port = value),
    },
    Key {
        name: "p2p.port",
        variable: Variable::OfName,
        form: PORT,
        example: "",
        help: "Port other computers connect to; nothing listens there without a service. When another program has it, the next free one is used, and said.",
        get: |it| Some(i64::from(it.node.p2p.port).into()),
        set: |it, raw| raw.port().map(|value| it.node.p2p.port = value),
    },
    Key {
        name: "p2p.bind",
        variable: Variable::OfName,
        form: "a list of IP addresses",
        example: "",
        help: "Addresses of this computer to listen at for other computers. Empty: all of them.",
        get: |it| Some(it.node.p2p.bind.iter().map(ToString::to_string).collect::<Array>().into()),
        set: |it, raw| raw.addresses().map(|value| it.node.p2p.bind = value),
    },
    Key {
        name: "p2p.public_addresses",
        variable: Variable::OfName,
        form: "a list of host:port",
        example: "",
        help: "Where this computer is reached from outside, as by a port forwarded on the router. Whoever opens a service is told, and finds it there next time; global IPv6 and Yggdrasil addresses are told by themselves.",
        get: |it| Some(it.node.p2p.public_addresses.iter().map(ToString::to_string).collect::<Array>().into()),
        set: |it, raw| raw.addresses().map(|value| it.node.p2p.public_addresses = value),
    },
    Key {
        name: "p2p.port_mapping",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether to ask the router to open the port, by UPnP, NAT-PMP or PCP: that of TCP, and where it does that of QUIC. Without services nobody is asked.",
        get: |it| Some(it.node.p2p.port_mapping.into()),
        set: |it, raw| raw.boolean().map(|value| it.node.p2p.port_mapping = value),
    },
    Key {
        name: "p2p.quic",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether connections are also made and taken over QUIC, at the UDP port with the number of p2p.port. TCP comes first wherever it works.",
        get: |it| Some(it.node.p2p.quic.into()),
        set: |it, raw| raw.boolean().map(|value| it.node.p2p.quic = value),
    },
    Key {
        name: "p2p.punching",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether two computers behind routers that open no port reach each other over QUIC, by sending to each other at the same time. They call each other in the DHT.",
        get: |it| Some(it.node.p2p.punching.into()),
        set: |it, raw| raw.boolean().map(|value| it.node.p2p.punching = value),
    },
    Key {
        name: "p2p.own_records",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether hardline seals and opens the TLS records between two hardlines itself, behind a handshake by the library rustls. It costs much less than to leave them to rustls, which false does.",
        get: |it| Some(it.node.own_records.into()),
        set: |it, raw| raw.boolean().map(|value| it.node.own_records = value),
    },
    Key {
        name: "relay.enabled",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether this computer is a relay, at p2p.port, for publishers that have a token (`hardline relay token new NAME`). It needs a port that is reached from outside.",
        get: |it| Some(it.relay_enabled.into()),
        set: |it, raw| raw.boolean().map(|value| it.relay_enabled = value),
    },
    limit!(
        "relay.registrations_per_token",
        relay.limits.registrations_per_token,
        "Computers registered at once with one token. A household has a few."
    ),
    limit!(
        "relay.waiting",
        relay.limits.waiting,
        "Connections that wait at once until their publisher has opened one towards the relay. Each waits for relay.first_byte_timeout at most."
    ),
    limit!("relay.joined", relay.limits.joined, "Connections relayed at once. Each takes two descriptors."),
    limit!("relay.joined_per_name", relay.limits.joined_per_name, "Of them, to one service."),
    limit!(
        "relay.joined_per_address",
        relay.limits.joined_per_address,
        "Of them, from one address. An IPv6 address counts with all of its /64. Customers of a mobile network share addresses."
    ),
    bytes_per_second!(
        "relay.bytes_per_second_per_token",
        relay.bytes_per_second_per_token,
        "Bytes relayed in a second for one token, in both directions together. One household should not take a whole line."
    ),
    bytes_per_second!(
        "relay.bytes_per_second",
        relay.bytes_per_second,
        "Bytes relayed in a second in all, where the line is shared with something else."
    ),
    time!("relay.first_byte_timeout", relay.first_byte_timeout, 1 => 60, "How long a connection waits until its publisher has opened one towards the relay. Afterwards it is refused, so that whoever dialled tries another way."),
    Key {
        name: "lan.enabled",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether to search, answer and announce on the local network.",
        get: |it| Some(it.node.lan.enabled.into()),
        set: |it, raw| raw.boolean().map(|value| it.node.lan.enabled = value),
    },
    Key {
        name: "lan.plain_search",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether to search by the plain key hash when nobody answered the daily code. Older programs need it; it tells the neighbours which service is looked for.",
        get: |it| Some(it.node.lan.plain_search.into()),
        set: |it, raw| raw.boolean().map(|value| it.node.lan.plain_search = value),
    },
    Key {
        name: "lan.port",
        variable: Variable::OfName,
        form: "a port, 1 to 65535",
        example: "",
        help: "UDP port of discovery. Everybody uses 6771; with another number only programs with the same one are found.",
        get: |it| Some(i64::from(it.node.lan.port).into()),
        set: |it, raw| match raw.port()? {
            0 => Err("found 0".into()),
            port => {
                it.node.lan.port = port;
                Ok(())
            }
        },
    },
    Key {
        name: "lan.bind",
        variable: Variable::OfName,
        form: "a list of IPv4 addresses",
        example: "",
        help: "Addresses of the interfaces that discovery uses. Empty: all of them, also those that come later.",
        get: |it| Some(it.node.lan.bind.iter().map(ToString::to_string).collect::<Array>().into()),
        set: |it, raw| raw.addresses().map(|value| it.node.lan.bind = value),
    },
    Key {
        name: "dht.enabled",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether services are published and looked for in the DHT, a network of computers all over the world. Without it they are found on the local network, by Yggdrasil or by addresses known earlier.",
        get: |it| Some(it.node.dht.enabled.into()),
        set: |it, raw| raw.boolean().map(|value| it.node.dht.enabled = value),
    },
    Key {
        name: "dht.node",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether a node of one's own looks in the DHT and publishes there. Without it only the proxies are asked, and services of this computer are not published: nothing is sent at rest. --mobile turns it off.",
        get: |it| Some(it.node.dht.node.into()),
        set: |it, raw| raw.boolean().map(|value| it.node.dht.node = value),
    },
    Key {
        name: "dht.port",
        variable: Variable::OfName,
        form: "a port, 0 to 65535, where 0 takes a free one, or \"quic\"",
        example: "",
        help: "UDP port of the DHT while this computer publishes; one that only looks for services takes a free one. When another program has it, a free one is used. quic: the DHT and QUIC share the UDP port with the number of p2p.port, which is then the only one that a router or firewall has to let in, and hole punching knows at which port others see it. Where p2p.quic is off, or p2p.bind or dht.bind is set, quic means 4222.",
        get: |it| Some(it.node.dht.port.map_or_else(|| "quic".into(), |port| i64::from(port).into())),
        set: |it, raw| raw.port_or_quic().map(|value| it.node.dht.port = value),
    },
    Key {
        name: "dht.bind",
        variable: Variable::OfName,
        form: "a list of IP addresses, at most one of each family",
        example: "",
        help: "Addresses of this computer that the DHT uses. Empty: all of them.",
        get: |it| Some(it.node.dht.bind.iter().map(ToString::to_string).collect::<Array>().into()),
        set: |it, raw| raw.addresses().map(|value| it.node.dht.bind = value),
    },
    Key {
        name: "dht.bootstrap",
        variable: Variable::OfName,
        form: "a list of host:port, or none",
        example: "",
        help: "Where to enter the DHT. Without any, nodes met earlier still lead into it.",
        get: |it| Some(it.node.dht.bootstrap.iter().collect::<Array>().into()),
        set: |it, raw| {
            let hosts: Vec<HostPort> = raw.addresses_or_none()?;
            it.node.dht.bootstrap = hosts.iter().map(ToString::to_string).collect();
            Ok(())
        },
    },
    Key {
        name: "dht.network",
        variable: Variable::OfName,
        form: "a number, 0 to 4294967295",
        example: "",
        help: "Number of the DHT's network; 0 is the public one.",
        get: |it| Some(i64::from(it.node.dht.network).into()),
        set: |it, raw| raw.number().map(|value| it.node.dht.network = value),
    },
    Key {
        name: "dht.proxies",
        variable: Variable::OfName,
        form: "a list of http://host:port or https://host, or none",
        example: "",
        help: "Proxies through which the DHT is used where UDP is not possible, and asked beside it.",
        get: |it| Some(it.node.dht.proxies.iter().collect::<Array>().into()),
        set: |it, raw| raw.proxies_or_none().map(|value| it.node.dht.proxies = value),
    },
    Key {
        name: "dht.publish_plain",
        variable: Variable::OfName,
        form: BOOLEAN,
        example: "",
        help: "Whether services are also published where released clients of the Python program look: readable for everybody who comes by the key, and without a signature.",
        get: |it| Some(it.node.dht.publish_plain.into()),
        set: |it, raw| raw.boolean().map(|value| it.node.dht.publish_plain = value),
    },
    limit!(
        "limits.handshakes",
        node.p2p.limits.handshakes,
        "Handshakes of other computers under way at once. When this or any other limit is reached, new connections are refused and existing ones are kept, but for tunnels that have been silent for ten minutes; a warning is logged once a minute, and `hardline status --json` counts."
    ),
    limit!(
        "limits.handshakes_per_address",
        node.p2p.limits.handshakes_per_address,
        "Of them, from one address. An IPv6 address counts with all of its /64."
    ),
    limit!(
        "limits.handshakes_per_second",
        node.p2p.limits.handshake_rate.per_second,
        "Handshakes that one address may begin in a second, in the long run."
    ),
    limit!(
        "limits.handshake_burst",
        node.p2p.limits.handshake_rate.burst,
        "Handshakes that one address may begin at once, after a rest."
    ),
    time!("limits.handshake_timeout", node.p2p.handshake_timeout, 1 => 300, "Time for another computer to finish its handshake and its preamble. Longer than limits.backend_timeout, which is a part of it where the other one runs an older program."),
    time!("limits.backend_timeout", node.p2p.backend_timeout, 1 => 300, "Time to connect to the program behind a service."),
    time!("limits.answer_timeout", node.p2p.answer_timeout, 1 => 86400, "Time for the program behind a service to begin its answer, where its service has one of the settings that need HTTP understood. Then the visitor gets a page that says so."),
    limit!("limits.tunnels", node.p2p.limits.tunnels, "Tunnels of other computers open at once."),
    limit!("limits.tunnels_per_address", node.p2p.limits.tunnels_per_address, "Of them, from one address."),
    limit!("limits.tunnels_per_service", node.p2p.limits.tunnels_per_service, "Of them, to one service."),
    Key {
        name: "limits.tunnel_idle",
        variable: Variable::OfName,
        form: "a time such as \"1m\", at least 1 s, or \"none\"",
        example: "",
        help: "Silence in both directions after which a tunnel is closed, at either end. \"none\": as long as both computers live, which TCP asks now and then. At a limit of tunnels those silent longest make room, from ten minutes on; one of whose directions has ended is closed after a quarter of an hour.",
        get: |it| {
            let time = it.node.tunnel_idle.map(|time| humantime::format_duration(time).to_string());
            Some(time.unwrap_or_else(|| "none".to_owned()).into())
        },
        set: |it, raw| raw.time_or_none(1..=MAX_IDLE).map(|value| it.node.tunnel_idle = value),
    },
    limit!(
        "limits.gateway_connections",
        node.gateway_connections,
        "Connections of this computer's browsers and programs open at once."
    ),
    time!("limits.parked_time", node.idle_limits.time, 2 => 3600, "How long a connection to another computer waits for its next use."),
    limit!(
        "limits.parked_links",
        node.idle_limits.sessions,
        "Connections to other computers that wait for their next use."
    ),
    limit!("limits.parked_links_per_service", node.idle_limits.sessions_each, "Of them, to one service."),
    time!("limits.listener_parked_time", node.p2p.idle_limits.time, 3 => 7200, "How long a connection of another computer may wait for its next use. Longer than limits.parked_time, so that who asks lets go first."),
    limit!(
        "limits.listener_parked_links",
        node.p2p.idle_limits.sessions,
        "Connections of other computers that wait for their next use. One more may wait for a second."
    ),
    limit!(
        "limits.listener_parked_links_per_address",
        node.p2p.idle_limits.sessions_each,
        "Of them, from one address."
    ),
    limit!(
        "limits.dht_datagrams_per_second",
        node.dht.rates.datagrams,
        "Datagrams of the DHT that are looked at in a second. The rest is dropped unread."
    ),
    limit!(
        "limits.dht_datagrams_per_second_per_address",
        node.dht.rates.datagrams_per_prefix,
        "Of them, from one address. An IPv6 address counts with all of its /64."
    ),
    limit!(
        "limits.dht_requests_per_second",
        node.dht.rates.requests,
        "Requests of the DHT that are answered in a second."
    ),
    limit!(
        "limits.dht_requests_per_second_per_address",
        node.dht.rates.requests_per_prefix,
        "Of them, from one address."
    ),
    limit!(
        "limits.lan_datagrams_per_second",
        node.lan.rates.datagrams,
        "Datagrams of LAN discovery that are read in a second, in the long run."
    ),
    limit!(
        "limits.lan_datagrams_per_second_per_address",
        node.lan.rates.datagrams_per_source,
        "Of them, from one address."
    ),
    limit!(
        "limits.lan_answers_per_second",
        node.lan.rates.answers,
        "Answers of LAN discovery that are sent in a second, in the long run."
    ),
    limit!("limits.lan_answers_per_second_per_address", node.lan.rates.answers_per_source, "Of them, to one address."),
    Key {
        name: "log.filter",
        variable: Variable::Named("HARDLINE_LOG"),
        form: "off, error, warn, info, debug, trace, or filter directives such as \"warn,hardline_node=debug\"",
        example: "",
        help: "What is logged on stderr. `--quiet` is error, `-v` is info, `-vv` is debug, `-vvv` is trace.",
        get: |it| Some(it.log_filter.clone().into()),
        set: |it, raw| raw.log_filter().map(|value| it.log_filter = value),
    },
    Key {
        name: "log.format",
        variable: Variable::OfName,
        form: "\"human\" or \"json\"",
        example: "",
        help: "How log lines look.",
        get: |it| Some(if it.log_format == LogFormat::Json { "json" } else { "human" }.into()),
        set: |it, raw| raw.log_format().map(|value| it.log_format = value),
    },
];

/// Keys of each `[[service]]`.
pub const SERVICE_KEYS: &[Key<ServiceSettings>] = &[
    Key {
        name: "target",
        variable: Variable::None,
        form: "8080, 192.168.1.5:80, [::1]:80, https://nas:5001, unix:/path/to/socket or a folder",
        example: "8080",
        help: "What is published: a port of this computer, host:port, a program that speaks HTTPS, a Unix socket, or a folder. Needed.",
        get: |it| it.target.as_ref().map(|value| value.to_string().into()),
        set: |it, raw| raw.target().map(|value| it.target = Some(value)),
    },
    Key {
        name: "title",
        variable: Variable::None,
        form: "a text of at most 256 bytes on one line",
        example: "\"Pictures\"",
        help: "Shown to people who browse the local network. Default: the folder's name, or the target.",
        get: |it| it.title.clone().map(Into::into),
        set: |it, raw| raw.title().map(|value| it.title = Some(value)),
    },
    Key {
        name: "name",
        variable: Variable::None,
        form: "1 to 64 letters, digits, '.', '-' and '_', beginning with a letter or digit",
        example: "\"pictures\"",
        help: "Name of the identity in the data folder, made when absent. The link belongs to it. Default: one made of the target, so that the same target keeps the same link.",
        get: |it| it.name.clone().map(Into::into),
        set: |it, raw| raw.identity_name().map(|value| it.name = Some(value)),
    },
    Key {
        name: "certfile",
        variable: Variable::None,
        form: "the path of a certificate",
        example: "\"/etc/hardline/nas.cert\"",
        help: "Certificate to use instead of a named identity; its key is beside it, with .private at the end. Both are made when absent.",
        get: |it| it.certfile.as_ref().map(|path| path.display().to_string().into()),
        set: |it, raw| raw.path().map(|path| it.certfile = Some(path)),
    },
    Key {
        name: "ephemeral",
        variable: Variable::None,
        form: BOOLEAN,
        example: "false",
        help: "Whether the identity, and so the link, is made anew at every start.",
        get: |it| it.ephemeral.then(|| true.into()),
        set: |it, raw| raw.boolean().map(|value| it.ephemeral = value),
    },
    Key {
        name: "password",
        variable: Variable::None,
        form: PASSWORD,
        example: "\"correcthorse\"",
        help: "Needed in front of the key hash in the address: http://PASSWORD-KEYHASH.localhost:7009/. 1 to 22 lower-case letters and digits. Overrides what the .hash file says.",
        get: |it| it.password.as_ref().map(|_| "********".into()),
        set: |it, raw| raw.password().map(|value| it.password = Some(value)),
    },
    Key {
        name: "password_file",
        variable: Variable::None,
        form: "the path of a file",
        example: "\"/etc/hardline/nas.password\"",
        help: "File with the password on its one line, instead of password.",
        get: |it| it.password_file.as_ref().map(|path| path.display().to_string().into()),
        set: |it, raw| raw.path().map(|path| it.password_file = Some(path)),
    },
    Key {
        name: "unlisted",
        variable: Variable::None,
        form: BOOLEAN,
        example: "false",
        help: "Whether browsing the local network does not show it. Who has the link finds it all the same.",
        get: |it| it.unlisted.then(|| true.into()),
        set: |it, raw| raw.boolean().map(|value| it.unlisted = value),
    },
    Key {
        name: "private",
        variable: Variable::None,
        form: BOOLEAN,
        example: "false",
        help: "Whether only visitors come in whom `hardline invite` has invited. To everybody else it is as if no service had the link; released clients cannot come in.",
        get: |it| it.private.then(|| true.into()),
        set: |it, raw| raw.boolean().map(|value| it.private = value),
    },
    Key {
        name: "dht",
        variable: Variable::None,
        form: BOOLEAN,
        example: "true",
        help: "Whether its addresses are published in the DHT.",
        get: |it| it.no_dht.then(|| false.into()),
        set: |it, raw| raw.boolean().map(|value| it.no_dht = !value),
    },
    Key {
        name: "app",
        variable: Variable::None,
        form: apps::FORM,
        example: "\"jupyter\"",
        help: "The program behind the service, if it is one of those in docs/apps.md: sets what it needs of the keys below. One that is set beside it overrides it.",
        get: |it| it.http.app.map(|app| app.name.into()),
        set: |it, raw| raw.app().map(|value| it.http.app = Some(value)),
    },
    Key {
        name: "host_header",
        variable: Variable::None,
        form: HOST_HEADER,
        example: "\"localhost:8888\"",
        help: "What the program is told in Host, and in Origin and Referer where they name this service: for programs that refuse other names than their own. \"target\" is the target's.",
        get: |it| it.http.host_header.as_ref().map(|host| host.to_string().into()),
        set: |it, raw| raw.string()?.parse().map(|value| it.http.host_header = Some(value)),
    },
    Key {
        name: "rewrite_redirects",
        variable: Variable::None,
        form: BOOLEAN,
        example: "true",
        help: "Whether addresses of the program in Location, Content-Location, Refresh and the Domain of cookies become this service's own. Default: true when host_header is set.",
        get: |it| it.http.rewrite_redirects.map(Into::into),
        set: |it, raw| raw.boolean().map(|value| it.http.rewrite_redirects = Some(value)),
    },
    Key {
        name: "forwarded",
        variable: Variable::None,
        form: BOOLEAN,
        example: "true",
        help: "Whether the program is told who asked, in Forwarded, X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto. What visitors say there is removed then.",
        get: |it| it.http.forwarded.map(Into::into),
        set: |it, raw| raw.boolean().map(|value| it.http.forwarded = Some(value)),
    },
    Key {
        name: "headers",
        variable: Variable::None,
        form: HEADERS,
        example: "{ \"X-Key\" = \"secret\" }",
        help: "Headers set in each request, in place of what the visitor sent by these names.",
        get: |it| (!it.http.headers.is_empty()).then(|| masked(&it.http)),
        set: |it, raw| raw.headers(&mut it.http),
    },
    Key {
        name: "backend_certificate",
        variable: Variable::None,
        form: BACKEND_CERTIFICATE,
        example: "\"SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
        help: "Which certificate the program behind an https:// target must have: the one with this fingerprint, one of a PEM file or vouched for by one of it, or \"any\". Default: one that the system's authorities vouch for.",
        get: |it| it.http.backend_certificate.as_ref().map(|value| value.to_string().into()),
        set: |it, raw| raw.backend_certificate().map(|value| it.http.backend_certificate = Some(value)),
    },
];

/// What a host header must be.
pub const HOST_HEADER: &str = "a host with or without a port, or \"target\"";
/// What headers must be.
pub const HEADERS: &str = "a table in braces, as in { \"X-Key\" = \"secret\" }";
/// What a backend's certificate must be.
pub const BACKEND_CERTIFICATE: &str = "SHA256: and 64 hexadecimal digits, the path of a PEM file, or \"any\"";

/// The headers without what they say: it may be a key.
fn masked(settings: &HttpSettings) -> Value {
    let names = settings.headers.iter().map(|(name, _)| (name.as_str(), "********"));
    names.collect::<InlineTable>().into()
}

/// Keys of each `[[forward]]`.
pub const FORWARD_KEYS: &[Key<ForwardSettings>] = &[
    Key {
        name: "link",
        variable: Variable::None,
        form: "a link or a key hash",
        example: "\"http://6fef58cb259ed9746e280ac7ca618aab93d3fe79.localhost:7009/\"",
        help: "A service of another computer. Needed.",
        get: |it| it.name.as_ref().map(|name| name.key.to_string().into()),
        set: |it, raw| raw.link().map(|value| it.name = Some(value)),
    },
    Key {
        name: "local",
        variable: Variable::None,
        form: LocalAddr::FORM,
        example: "2222",
        help: "Where programs of this computer find it: a port of 127.0.0.1, an address with a port, as in \"[::1]:2222\", the same with udp: in front for a service that speaks UDP, as in \"udp:5353\", or the path of a Unix socket, as in \"/run/db.sock\", which is for this user alone. Needed.",
        get: |it| it.local.as_ref().map(|local| local.to_string().into()),
        set: |it, raw| raw.local_address().map(|value| it.local = Some(value)),
    },
];

/// Keys of each `[[peer]]`.
pub const PEER_KEYS: &[Key<PeerSettings>] = &[
    Key {
        name: "link",
        variable: Variable::None,
        form: "a link or a key hash",
        example: "\"http://6fef58cb259ed9746e280ac7ca618aab93d3fe79.localhost:7009/\"",
        help: "A service of another computer. Needed.",
        get: |it| it.name.as_ref().map(|name| name.key.to_string().into()),
        set: |it, raw| raw.link().map(|value| it.name = Some(value)),
    },
    Key {
        name: "addresses",
        variable: Variable::None,
        form: "a list of host:port, or quic://IP:PORT",
        example: "[\"home.example.org:7008\", \"[2001:db8::5]:7008\"]",
        help: "Where to try it, beside what discovery finds. Needed, unless ready or trusted is true.",
        get: |it| Some(it.addresses.iter().map(ToString::to_string).collect::<Array>().into()),
        set: |it, raw| raw.places().map(|value| it.addresses = value),
    },
    Key {
        name: "ready",
        variable: Variable::None,
        form: BOOLEAN,
        example: "false",
        help: "Whether a connection stays open even while nobody uses the service, so that the first request finds one. An observer can tell that you use the service, and it costs a handshake each minute.",
        get: |it| it.is_ready.then(|| true.into()),
        set: |it, raw| raw.boolean().map(|value| it.is_ready = value),
    },
    Key {
        name: "trusted",
        variable: Variable::None,
        form: BOOLEAN,
        example: "false",
        help: "Whether its pages may do what pages of this computer may: call programs here and in the network, and register service workers. Otherwise the gateway keeps them to their own service and to https.",
        get: |it| it.is_trusted.then(|| true.into()),
        set: |it, raw| raw.boolean().map(|value| it.is_trusted = value),
    },
];
