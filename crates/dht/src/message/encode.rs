//! [`Message`] → datagram, with keys in the order of released nodes.

use std::net::IpAddr;

use super::{Body, Fragment, Message, Reply, Request, Update, ValueEntry, Want};
use crate::hash::InfoHash;
use crate::msgpack::Writer;

impl Message<'_> {
    /// Appends the datagram to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Writer::new(out);
        match &self.body {
            Body::Fragments(fragments) => return self.encode_fragments(fragments, &mut out),
            Body::Request { id, request } => {
                self.begin(5, &mut out);
                out.str("a");
                encode_arguments(id, request, &mut out);
                out.str("q");
                out.str(request.name());
            }
            Body::Reply(reply) => {
                self.begin(4, &mut out);
                out.str("r");
                encode_reply(reply, &mut out);
            }
            Body::Error { id, code, text } => {
                self.begin(5, &mut out);
                out.str("e");
                out.array(2);
                out.uint(*code);
                out.str(text);
                out.str("r");
                encode_id_only(&id.unwrap_or_default(), &mut out);
            }
            Body::LegacyPush { id } => {
                self.begin(4, &mut out);
                out.str("u");
                encode_id_only(id, &mut out);
            }
        }
        self.finish(&mut out);
    }

    /// The map's head, for `keys` keys including transaction id, kind and agent.
    fn begin(&self, keys: usize, out: &mut Writer<'_>) {
        let absent = usize::from(self.agent.is_none());
        out.map(keys - absent + usize::from(self.network != 0) + usize::from(self.client));
    }

    fn finish(&self, out: &mut Writer<'_>) {
        out.str("t");
        out.uint(self.tid.into());
        out.str("y");
        out.str(match self.body {
            Body::Request { .. } => "q",
            Body::Error { .. } => "e",
            _ => "r",
        });
        self.encode_agent(out);
        self.encode_flags(out);
    }

    fn encode_agent(&self, out: &mut Writer<'_>) {
        if let Some(agent) = self.agent {
            out.str("v");
            out.str(agent);
        }
    }

    fn encode_flags(&self, out: &mut Writer<'_>) {
        if self.network != 0 {
            out.str("n");
            out.uint(self.network.into());
        }
        if self.client {
            out.str("s");
            out.bool(true);
        }
    }

    fn encode_fragments(&self, fragments: &[Fragment<'_>], out: &mut Writer<'_>) {
        self.begin(4, out);
        self.encode_flags(out);
        // Released nodes name no agent here.
        self.encode_agent(out);
        out.str("y");
        out.str("p");
        out.str("t");
        out.uint(self.tid.into());
        out.str("p");
        out.map(fragments.len());
        for fragment in fragments {
            out.uint(fragment.index);
            out.map(2);
            out.str("o");
            out.uint(fragment.offset);
            out.str("d");
            out.bin(fragment.data);
        }
    }
}

impl Request<'_> {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Find { .. } => "find",
            Self::Get { .. } => "get",
            Self::Put { .. } => "put",
            Self::Refresh { .. } => "refresh",
            Self::Listen { .. } => "listen",
            Self::Update(_) => "update",
        }
    }
}

fn encode_id_only(id: &InfoHash, out: &mut Writer<'_>) {
    out.map(1);
    encode_id(id, out);
}

fn encode_id(id: &InfoHash, out: &mut Writer<'_>) {
    out.str("id");
    out.bin(&id.0);
}

fn encode_arguments(id: &InfoHash, request: &Request<'_>, out: &mut Writer<'_>) {
    match request {
        Request::Ping => encode_id_only(id, out),
        Request::Find { target, want } => {
            out.map(2 + usize::from(want.is_some()));
            encode_id(id, out);
            out.str("target");
            out.bin(&target.0);
            encode_want(*want, out);
        }
        Request::Get { hash, query, want } => {
            out.map(1 + present([hash.is_some(), query.is_some(), want.is_some()]));
            encode_id(id, out);
            encode_hash(hash.as_ref(), out);
            if let Some(query) = query {
                out.str("q");
                query.encode(out);
            }
            encode_want(*want, out);
        }
        Request::Put { hash, values, created, token } => {
            out.map(3 + present([hash.is_some(), created.is_some()]));
            encode_id(id, out);
            encode_hash(hash.as_ref(), out);
            encode_values(values, out);
            encode_created(*created, out);
            encode_token(token, out);
        }
        Request::Refresh { hash, value_id, token } => {
            out.map(3 + usize::from(hash.is_some()));
            encode_id(id, out);
            encode_hash(hash.as_ref(), out);
            out.str("vid");
            out.uint(*value_id);
            encode_token(token, out);
        }
        Request::Listen { hash, version, socket, token, query } => {
            out.map(3 + present([hash.is_some(), *version != 0, query.is_some()]));
            encode_id(id, out);
            encode_version((*version != 0).then_some(*version), out);
            encode_hash(hash.as_ref(), out);
            encode_token(token, out);
            out.str("sid");
            out.uint((*socket).into());
            if let Some(query) = query {
                out.str("q");
                query.encode(out);
            }
        }
        Request::Update(update) => encode_update(id, update, out),
    }
}

fn encode_update(id: &InfoHash, update: &Update<'_>, out: &mut Writer<'_>) {
    let lists = [!update.values.is_empty(), !update.refreshed.is_empty(), !update.expired.is_empty()];
    let rest = [update.version.is_some(), update.hash.is_some(), update.created.is_some(), !update.token.is_empty()];
    out.map(2 + present(lists) + present(rest));
    encode_id(id, out);
    encode_version(update.version, out);
    encode_hash(update.hash.as_ref(), out);
    out.str("sid");
    out.uint(update.socket.into());
    if !update.values.is_empty() {
        encode_values(&update.values, out);
    }
    encode_created(update.created, out);
    if !update.token.is_empty() {
        encode_token(&update.token, out);
    }
    encode_ids("re", &update.refreshed, out);
    encode_ids("exp", &update.expired, out);
}

fn encode_reply(reply: &Reply<'_>, out: &mut Writer<'_>) {
    let blobs = [&reply.nodes4, &reply.nodes6, &reply.token].map(|blob| !blob.is_empty());
    let rest = [reply.value_id.is_some(), reply.address.is_some(), !reply.values.is_empty(), reply.fields.is_some()];
    out.map(1 + present(blobs) + present(rest));
    encode_id(&reply.id, out);
    if let Some(value_id) = reply.value_id {
        out.str("vid");
        out.uint(value_id);
    }
    if let Some(address) = reply.address {
        out.str("sa");
        match address {
            IpAddr::V4(v4) => out.bin(&v4.octets()),
            IpAddr::V6(v6) => out.bin(&v6.octets()),
        }
    }
    for (name, nodes) in [("n4", &reply.nodes4), ("n6", &reply.nodes6)] {
        if !nodes.is_empty() {
            out.str(name);
            out.bin(nodes);
        }
    }
    if !reply.token.is_empty() {
        encode_token(&reply.token, out);
    }
    if !reply.values.is_empty() {
        encode_values(&reply.values, out);
    }
    if let Some(fields) = &reply.fields {
        // The misspelling is the protocol's.
        out.str("fileds");
        fields.encode(out);
    }
}

fn encode_hash(hash: Option<&InfoHash>, out: &mut Writer<'_>) {
    if let Some(hash) = hash {
        out.str("h");
        out.bin(&hash.0);
    }
}

fn encode_want(want: Option<Want>, out: &mut Writer<'_>) {
    if let Some(want) = want {
        out.str("w");
        out.array(present([want.v4, want.v6]));
        if want.v4 {
            out.uint(2);
        }
        if want.v6 {
            out.uint(10);
        }
    }
}

fn encode_values(values: &[ValueEntry<'_>], out: &mut Writer<'_>) {
    out.str("values");
    out.array(values.len());
    for value in values {
        match value {
            ValueEntry::Inline(packed) => out.raw(packed),
            ValueEntry::Size(size) => out.uint(*size),
        }
    }
}

fn encode_created(created: Option<u64>, out: &mut Writer<'_>) {
    if let Some(created) = created {
        out.str("c");
        out.uint(created);
    }
}

fn encode_token(token: &[u8], out: &mut Writer<'_>) {
    out.str("token");
    out.bin(token);
}

fn encode_version(version: Option<u64>, out: &mut Writer<'_>) {
    if let Some(version) = version {
        out.str("ve");
        out.uint(version);
    }
}

fn encode_ids(name: &str, ids: &[u64], out: &mut Writer<'_>) {
    if !ids.is_empty() {
        out.str(name);
        out.array(ids.len());
        ids.iter().for_each(|id| out.uint(*id));
    }
}

fn present<const N: usize>(keys: [bool; N]) -> usize {
    keys.into_iter().filter(|present| *present).count()
}
