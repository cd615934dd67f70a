//! An open file → a response: content type, ranges, conditions. The rules are those of tower-http's
//! `ServeDir`.

use std::ffi::OsStr;
use std::future::{Ready, ready};
use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{self, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, File};

use super::Body;
use super::path::encode;
use super::root::SharedFile;

/// Bytes read from the disk at a time, for each connection.
const CHUNK: usize = 64 * 1024;

/// Answers `request`, whose path led to `shared`.
pub(super) async fn respond<B>(request: &Request<B>, shared: SharedFile) -> io::Result<Response<Body>> {
    // `ServeDir` knows UTF-8 only, and needs no more of the name than its end.
    let name = encode(OsStr::new(shared.name.to_string_lossy().as_ref()));
    let file = OneFile(Arc::new(shared.file));
    let mut headers = request.headers().clone();
    let wants_part_of_one_version = take_if_range(&mut headers);
    let mut response = serve(request, &name, &headers, file.clone()).await?;
    if wants_part_of_one_version && response.status() == StatusCode::PRECONDITION_FAILED {
        headers.remove(header::IF_MATCH);
        headers.remove(header::RANGE);
        response = serve(request, &name, &headers, file).await?;
    }
    say_charset(&mut response);
    Ok(response)
}

/// Takes `If-Range` out of `headers`, which `ServeDir` does not know. An entity tag in it means the
/// same as `If-Match` (RFC 9110, sections 13.1.1 and 13.1.5), but asks for the whole file where
/// that would fail; the answer is whether to do so. With a date, the whole file is sent at once:
/// dates are too coarse to be sure.
fn take_if_range(headers: &mut HeaderMap) -> bool {
    let Some(condition) = headers.remove(header::IF_RANGE) else { return false };
    let has_part = headers.contains_key(header::RANGE);
    if has_part && condition.as_bytes().starts_with(b"\"") && !headers.contains_key(header::IF_MATCH) {
        headers.insert(header::IF_MATCH, condition);
        return true;
    }
    headers.remove(header::RANGE);
    false
}

async fn serve<B>(request: &Request<B>, name: &str, headers: &HeaderMap, file: OneFile) -> io::Result<Response<Body>> {
    // `ServeDir` reads the content type from the name; where the file is has been decided.
    let mut inner =
        Request::builder().method(request.method()).uri(format!("/{name}")).body(()).map_err(io::Error::other)?;
    inner.headers_mut().clone_from(headers);
    let response = ServeDir::with_backend(PathBuf::new(), file)
        .append_index_html_on_directories(false)
        .ignore_multi_range_requests(true)
        .with_buf_chunk_size(CHUNK)
        .try_call(inner)
        .await?;
    Ok(response.map(BodyExt::boxed_unsync))
}

/// Plain text is UTF-8 nowadays; browsers take it for something older unless told. Markup says it
/// itself.
fn say_charset(response: &mut Response<Body>) {
    if response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/plain") {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
}

/// The only file of the world that `ServeDir` sees: the one that was found, whatever path it asks
/// for.
#[derive(Clone)]
struct OneFile(Arc<std::fs::File>);

impl Backend for OneFile {
    type File = OpenFile;
    type Metadata = std::fs::Metadata;
    type OpenFuture = Ready<io::Result<OpenFile>>;
    type MetadataFuture = Ready<io::Result<std::fs::Metadata>>;

    fn open(&self, _: PathBuf) -> Self::OpenFuture {
        let open =
            || Ok(OpenFile { metadata: self.0.metadata()?, file: tokio::fs::File::from_std(self.0.try_clone()?) });
        ready(open())
    }

    fn metadata(&self, _: PathBuf) -> Self::MetadataFuture {
        ready(self.0.metadata())
    }
}

struct OpenFile {
    metadata: std::fs::Metadata,
    file: tokio::fs::File,
}

impl File for OpenFile {
    type Metadata = std::fs::Metadata;
    type MetadataFuture<'a> = Ready<io::Result<std::fs::Metadata>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.metadata.clone()))
    }
}

impl AsyncRead for OpenFile {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(cx, buf)
    }
}

impl AsyncSeek for OpenFile {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(cx)
    }
}
