//! `hardline status`: what the hardline of this computer is doing.

use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::gateway;
use crate::output::{Output, printable};
use crate::settings::Loaded;

pub(super) async fn run(loaded: Loaded, output: Output) -> Result<(), Failure> {
    let port = loaded.settings.gateway_port;
    let Some(mut status) = gateway::status(port).await else {
        return Err(Failure::new(
            Exit::NotReached,
            format_args!("no hardline answers at port {port} of this computer"),
        )
        .remedy("start it with `hardline`, or say with --gateway-port where its gateway is"));
    };
    for sentence in sentences(&status) {
        output.line(sentence)?;
    }
    status["event"] = json!("status");
    output.event(&status)
}

/// The sentences of a status.
pub(super) fn sentences(status: &Value) -> Vec<String> {
    let sentences = status["sentences"].as_array().map(Vec::as_slice).unwrap_or_default();
    sentences.iter().filter_map(Value::as_str).map(printable).collect()
}
