//! Promises of a relay's messages and addresses.

use hardline_proto::relay::RelayUrl;
use hardline_proto::relay::message::{
    CALLER_PREAMBLE, CLIENT_ADDRESS, DATA_PREAMBLE, FromPublisher, FromRelay, MAX_LINE, caller_preamble,
    client_address, data_preamble, read_caller_preamble, read_client_address, read_data_preamble,
};

/// The input is a line of the control connection from either side, the beginning of a data
/// connection or of a caller's, and an address as a person types it. What is understood reads the
/// same when it is written again, and fits into a line.
pub fn relay_message(bytes: &[u8]) {
    if let Ok(Some(message)) = FromPublisher::parse(bytes) {
        let line = message.encode();
        assert!(line.len() <= MAX_LINE && line.ends_with(b"\n"));
        assert_eq!(FromPublisher::parse(&line), Ok(Some(message)));
    }
    if let Ok(Some(message)) = FromRelay::parse(bytes) {
        let line = message.encode();
        assert!(line.len() <= MAX_LINE && line.ends_with(b"\n"));
        assert_eq!(FromRelay::parse(&line), Ok(Some(message)));
    }
    if let Some(Ok(preamble)) = bytes.get(..DATA_PREAMBLE).map(<&[u8; DATA_PREAMBLE]>::try_from)
        && let Some(token) = read_data_preamble(preamble)
    {
        assert_eq!(data_preamble(&token), *preamble);
    }
    if let Some(Ok(preamble)) = bytes.get(..CALLER_PREAMBLE).map(<&[u8; CALLER_PREAMBLE]>::try_from)
        && let Some(name) = read_caller_preamble(preamble)
    {
        assert_eq!(caller_preamble(&name), *preamble);
    }
    if let Some(Ok(address)) = bytes.get(..CLIENT_ADDRESS).map(<&[u8; CLIENT_ADDRESS]>::try_from) {
        let client = read_client_address(address);
        assert_eq!(read_client_address(&client_address(client)), client);
    }
    if let Ok(url) = String::from_utf8_lossy(bytes).parse::<RelayUrl>() {
        assert_eq!(url.to_string().parse(), Ok(url));
    }
}
