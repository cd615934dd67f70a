//! The gateway's own pages, below `http://localhost`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hardline_proto::head::RequestHead;
use hardline_proto::host::Authority;
use hardline_proto::initiator::Initiator;

use super::answer::Answer;
use super::first_page::FirstPage;
use super::stages::Stage;
use super::{errors, pac, status_page};
use crate::discovery::Resolver;
use crate::status::Live;

/// The pages, and what they show.
pub(super) struct OwnPages {
    pub(super) first_page: FirstPage,
    pub(super) resolver: Arc<Resolver>,
    pub(super) live: Live,
}

impl OwnPages {
    async fn page(&self, head: &RequestHead) -> Answer {
        match (head.method.as_str(), head.target.as_str()) {
            _ if head.initiator == Initiator::Other => errors::other_origin(),
            ("GET" | "HEAD", "/") => self.first_page.answer(&self.resolver).await,
            ("GET" | "HEAD", "/proxy.pac") => pac::proxy_pac(self.first_page.port),
            ("GET" | "HEAD", "/status") => status_page::status(&self.live),
            ("GET" | "HEAD", _) => errors::no_such_page(),
            _ => errors::read_only(),
        }
    }
}

impl Stage for OwnPages {
    fn takes(&self, head: &RequestHead) -> bool {
        matches!(head.authority, Authority::Gateway)
    }

    fn answer<'a>(&'a self, head: &'a RequestHead) -> BoxFuture<'a, Answer> {
        Box::pin(self.page(head))
    }
}
