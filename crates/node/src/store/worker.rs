//! The thread that owns the connection: SQLite blocks, the rest of the node must not.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use super::database::Database;

/// Requests that may wait for the thread. Callers wait when there are more, so that a slow disk
/// cannot fill the memory.
const MAX_WAITING: usize = 64;

type Request = Box<dyn FnOnce(&mut Database) + Send>;

enum Message {
    Do(Request),
    Close,
}

/// A handle on the thread. The thread ends after [`close`](Self::close), or when the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    requests: mpsc::Sender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Worker {
    /// Starts the thread; `open` runs on it. Returns what `open` says beside the database.
    pub(super) async fn start<T: Send + 'static>(
        open: impl FnOnce() -> Result<(Database, T), StoreError> + Send + 'static,
    ) -> Result<(Self, T), StoreError> {
        let (requests, inbox) = mpsc::channel(MAX_WAITING);
        let (opened, ready) = oneshot::channel();
        let thread = std::thread::spawn(move || match open() {
            Ok((database, said)) => {
                if opened.send(Ok(said)).is_ok() {
                    serve(database, inbox);
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        });
        let said = ready.await.unwrap_or(Err(StoreError::Closed))?;
        Ok((Self { requests, thread: Arc::new(Mutex::new(Some(thread))) }, said))
    }

    /// Runs `request` on the thread, after those that were sent before it. Dropping the future once
    /// it waits for the answer does not undo the request.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let request: Request = Box::new(move |database| drop(answer.send(request(database))));
        self.requests.send(Message::Do(request)).await.map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Ends the thread after the requests sent so far, and waits for its end.
    pub(super) async fn close(&self) {
        // An error means that the thread has ended already.
        let _ = self.requests.send(Message::Close).await;
        let thread = self.thread.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the thread of the store panicked");
            }
        }
    }
}

/// Serves requests until it is told to stop or nobody can ask any more. Dropping the database
/// closes it.
fn serve(mut database: Database, mut inbox: mpsc::Receiver<Message>) {
    while let Some(Message::Do(request)) = inbox.blocking_recv() {
        request(&mut database);
    }
}
