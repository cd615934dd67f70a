//! `proxy.pac`: which addresses a browser asks this proxy for.

use http::StatusCode;

use super::answer::Answer;

/// The answer with the script. It names this proxy for services' names alone, so that the browser's
/// other traffic does not come here.
pub(super) fn proxy_pac(port: u16) -> Answer {
    let script = format!(
        "function FindProxyForURL(url, host) {{\n  \
           return /(^|[.-])[0-9a-f]{{40}}\\.localhost\\.?$/i.test(host) ? \"PROXY 127.0.0.1:{port}\" : \"DIRECT\";\n}}\n"
    );
    Answer::new(StatusCode::OK, "proxy_pac", "proxy.pac").file("application/x-ns-proxy-autoconfig", script)
}
