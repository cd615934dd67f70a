//! The web server behind every tunnel: `/small`, `/bytes/N`, and bodies sent to it.

use std::rc::Rc;

use anyhow::{Context as _, Result};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::http::{READ, Reader, Request};
use crate::pattern::Pattern;

/// What `/small` answers with: about an icon's or a sensor reading's size, in bytes.
const SMALL: u64 = 100;

/// Buffer of a connection that sends no body, in bytes; thousands of them are idle at once.
const SMALL_READ: usize = 4096;

/// Serves until it is ended. Says `listening at ADDRESS` when it is ready.
pub(crate) async fn serve(listen: &str) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening at {listen}"))?;
    println!("listening at {}", listener.local_addr()?);
    let pattern = Rc::new(Pattern::new());
    loop {
        let (stream, _) = listener.accept().await?;
        let pattern = Rc::clone(&pattern);
        tokio::task::spawn_local(async move {
            // Clients come and go in the middle; the load tells what is wrong.
            let _ = answer_all(stream, &pattern).await;
        });
    }
}

async fn answer_all(stream: TcpStream, pattern: &Pattern) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::new(stream, SMALL_READ);
    while let Some(request) = reader.request().await? {
        match request.path.strip_prefix("/bytes/") {
            Some(length) => send(reader.stream(), pattern, length.parse()?).await?,
            None if request.length > 0 => {
                let heard = hear(&mut reader, &request, pattern).await?;
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{heard}", heard.len());
                reader.stream().write_all(answer.as_bytes()).await?;
            }
            None => send(reader.stream(), pattern, SMALL).await?,
        }
        if request.is_last {
            break;
        }
    }
    Ok(())
}

async fn send(stream: &mut TcpStream, pattern: &Pattern, length: u64) -> Result<()> {
    let mut first = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    let mut sent = length.min(SMALL);
    first.extend_from_slice(pattern.from(0, sent));
    stream.write_all(&first).await?;
    while sent < length {
        let piece = pattern.from(sent, length - sent);
        stream.write_all(piece).await?;
        sent += piece.len() as u64;
    }
    Ok(())
}

/// Takes a body. Sent to `/check` it is compared with the pattern.
async fn hear(reader: &mut Reader<TcpStream>, request: &Request, pattern: &Pattern) -> Result<String> {
    let must_match = request.path == "/check";
    let mut is_right = true;
    reader.grow(READ);
    let look = |offset, bytes: &[u8]| is_right &= !must_match || pattern.matches(offset, bytes);
    reader.body(request.length, look).await?;
    Ok(if is_right { request.length.to_string() } else { "other bytes".to_owned() })
}
