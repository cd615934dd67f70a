//! Several questions to the DHT at once.

use std::future::poll_fn;
use std::task::Poll;

use hardline_dht::{Event, Value};

use crate::drivers::dht::{Dht, Operation};

/// Several questions, each with what it is for: `get`s, which end, or `listen`s, which do not.
pub(super) struct Asked<T>(pub(super) Vec<(T, Operation)>);

impl<T: Copy> Asked<T> {
    /// The next value of any; `None` when all are over. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<(T, Value)> {
        poll_fn(|cx| {
            let mut found = None;
            self.0.retain_mut(|(purpose, question)| {
                while found.is_none() {
                    match question.poll_next(cx) {
                        Poll::Ready(Some(Event::Found { value, .. } | Event::Heard { value, .. })) => {
                            found = Some((*purpose, value));
                        }
                        Poll::Ready(Some(Event::GetDone { .. }) | None) => return false,
                        Poll::Ready(Some(_)) => {}
                        Poll::Pending => break,
                    }
                }
                true
            });
            if found.is_some() || self.0.is_empty() { Poll::Ready(found) } else { Poll::Pending }
        })
        .await
    }
}

/// What is in the way when no node of the DHT answers.
pub(super) fn not_connected(dht: &Dht) -> Option<String> {
    (!dht.status().is_connected()).then(|| "no node of the DHT answers".to_owned())
}
