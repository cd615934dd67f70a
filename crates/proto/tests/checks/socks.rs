//! SOCKS5.

use hardline_proto::socks::{MAX_GREETING, MAX_REQUEST, Reply, VERSION, read_greeting, read_request};

/// A message is whole at one length, whatever follows; what is not whole yet is within the limit;
/// and what is refused stays so.
pub fn socks(bytes: &[u8]) {
    match read_greeting(bytes) {
        Ok(None) => assert!(bytes.len() < MAX_GREETING),
        Ok(Some(greeting)) => {
            assert_eq!(read_greeting(&bytes[..greeting.len]), Ok(Some(greeting)));
            assert_eq!(read_greeting(&bytes[..greeting.len - 1]), Ok(None));
        }
        Err(_) => assert_ne!(bytes[0], VERSION),
    }
    match read_request(bytes) {
        Ok(None) => assert!(bytes.len() < MAX_REQUEST),
        Ok(Some(request)) => {
            assert_eq!(bytes[..4], [VERSION, 1, bytes[2], 3], "a connection to a name");
            assert_eq!(read_request(&bytes[..request.len]), Ok(Some(request.clone())));
            assert_eq!(read_request(&bytes[..request.len - 1]), Ok(None));
        }
        Err(reply) => {
            assert_ne!(reply, Reply::Succeeded);
            assert_eq!(read_request(&[bytes, b"more"].concat()), Err(reply));
        }
    }
}
