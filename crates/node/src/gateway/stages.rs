//! What a request passes before its service is dialled.

use futures_util::future::BoxFuture;
use hardline_proto::head::RequestHead;

use super::answer::Answer;
use super::own_pages::OwnPages;

/// One stage.
pub(super) trait Stage: Send + Sync {
    /// Whether the gateway answers this request itself, without the service.
    fn takes(&self, head: &RequestHead) -> bool;

    /// The answer to a request that the stage takes.
    fn answer<'a>(&'a self, head: &'a RequestHead) -> BoxFuture<'a, Answer>;
}

/// The stages, in the order in which requests pass them.
pub(super) struct Stages(Vec<Box<dyn Stage>>);

impl Stages {
    pub(super) fn new(own_pages: OwnPages) -> Self {
        Self(vec![Box::new(own_pages)])
    }

    /// The answer of the first stage that takes the request; `None` if it goes to its service.
    pub(super) async fn answer(&self, head: &RequestHead) -> Option<Answer> {
        let stage = self.0.iter().find(|stage| stage.takes(head))?;
        Some(stage.answer(head).await)
    }
}
