//! A folder → the pages and files of the built-in file server, over an in-process stream: no port
//! is opened for it.
//!
//! Nothing outside the folder is served, whatever the path and the links in the folder say; nothing
//! whose name begins with a dot is served or listed; and nothing is ever written.

mod file; // an open file → a response, with ranges and conditions
mod listing; // what is in a folder → a page
mod path; // a request's path ↔ names in the folder
mod root; // names → an open file or a folder, never outside

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use maud::{Markup, html};
use tokio::io::DuplexStream;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::page::{self, page};
use crate::system::names::is_loop;
use path::SharedPath;
use root::Found;

/// Bytes on their way in each direction of a connection. A reader that is slower than the disk
/// makes the server wait.
const PIPE: usize = 64 * 1024;

/// Longest request head, in bytes; that of the gateway.
const MAX_HEAD: usize = 64 * 1024;

/// Time for a request head to arrive, and so also for the pause between two requests. Browsers keep
/// connections for about a minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Listings in memory at once, for all connections; each may take 2 MB while a slow reader takes
/// it.
const MAX_LISTINGS: usize = 32;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Shows one folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FolderServer {
    root: Arc<PathBuf>,
    listings: Arc<Semaphore>,
}

impl FolderServer {
    /// Prepares to show `root`.
    ///
    /// # Errors
    /// When `root` is not a folder that can be read.
    pub fn new(root: PathBuf) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        std::fs::read_dir(&root)?;
        Ok(Self { root: Arc::new(root), listings: Arc::new(Semaphore::new(MAX_LISTINGS)) })
    }

    /// A new connection to the file server: HTTP/1.1 with keep-alive is spoken on it. The serving
    /// task ends with it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE);
        let server = self.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .half_close(true)
                .serve_connection(TokioIo::new(far), answer)
                .await;
            if let Err(error) = served {
                debug!(%error, "connection to the file server ended early");
            }
        });
        near
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<Body> {
        let mut response = match *request.method() {
            Method::GET | Method::HEAD => self.show(&request).await,
            _ => not_allowed(),
        };
        for (name, value) in HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn show<B>(&self, request: &Request<B>) -> Response<Body> {
        let Some(path) = SharedPath::parse(request.uri().path()) else { return not_found() };
        let (root, wanted) = (Arc::clone(&self.root), path.clone());
        let found = blocking(move || root::find(&root, &wanted)).await;
        match found {
            Ok(Found::File(file)) => file::respond(request, file).await.unwrap_or_else(|error| failed(&error)),
            Ok(Found::Folder(_)) if !path.ends_with_slash => redirect(&path, request.uri().query()),
            Ok(Found::Folder(folder)) => self.list(folder, &path).await.unwrap_or_else(|error| failed(&error)),
            Err(error) => failed(&error),
        }
    }

    async fn list(&self, folder: root::Folder, path: &SharedPath) -> io::Result<Response<Body>> {
        let permit = Arc::clone(&self.listings).acquire_owned().await.map_err(io::Error::other)?;
        let listing = blocking(move || folder.list()).await?;
        let name = self.root.file_name().map_or_else(|| "Files".into(), std::ffi::OsStr::to_string_lossy);
        let response = html_response(StatusCode::OK, &listing::page(&name, path, &listing));
        // Given back when the reader has taken the last byte, or gone away.
        Ok(response.map(|body| body.map_frame(move |frame| keep(&permit, frame)).boxed_unsync()))
    }
}

/// On every response. A share's address is all one needs to open it, so it is not told to other
/// sites; and files are asked for anew each time, because people change them and look.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-cache"),
];

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Passes `value` on; lets a closure own `_kept`.
fn keep<K, T>(_kept: &K, value: T) -> T {
    value
}

/// To the same path with a slash, so that the links of a listing are right.
fn redirect(path: &SharedPath, query: Option<&str>) -> Response<Body> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = html_response(StatusCode::TEMPORARY_REDIRECT, &html! { "Moved" });
    match HeaderValue::try_from(format!("{}/{query}", path.url())) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => not_found(),
    }
}

fn not_allowed() -> Response<Body> {
    let body = html! { h1 { "Files here can only be looked at" } p { "This server answers GET and HEAD." } };
    let mut response = html_response(StatusCode::METHOD_NOT_ALLOWED, &page("Not allowed", &body));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn not_found() -> Response<Body> {
    let body = html! {
        h1 { "Nothing here" }
        p { "There is no file or folder at this address. It may have been moved or renamed." }
        p { a href="/" { "To the start of this share" } }
    };
    html_response(StatusCode::NOT_FOUND, &page("Nothing here", &body))
}

/// Tells what cannot be read from what is not there, without a word about names outside the share.
fn failed(error: &io::Error) -> Response<Body> {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput => not_found(),
        _ if is_loop(error) => not_found(),
        kind => {
            debug!(?kind, "shared folder not read");
            let body = html! {
                h1 { "This cannot be read now" }
                p { "The computer that shares it could not read it. Its disk may be away or busy; try again later." }
            };
            html_response(StatusCode::SERVICE_UNAVAILABLE, &page("Cannot be read", &body))
        }
    }
}

fn html_response(status: StatusCode, markup: &Markup) -> Response<Body> {
    let body = Full::from(markup.0.clone()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(page::CONTENT_TYPE));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::CONTENT_SECURITY_POLICY));
    response
}

#[cfg(test)]
mod tests;
