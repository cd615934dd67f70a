//! Certificates, keys and the pin: whose certificate does not hash to the address, or who cannot
//! prove its key, gets nothing.

pub mod backend; // TLS towards the program behind a service
mod certificate; // DER certificate → public key
pub mod config; // identity or pin → rustls configuration
pub mod identity; // files → certificate and key
pub mod pin; // presented certificate → key hash and proven key
pub mod sealed; // signatures of what the DHT is told
pub mod sni; // key hash ↔ the name in a ClientHello
pub(crate) mod visitor; // certificates of visitors to private services

pub use certificate::CertificateError;
pub use visitor::Pass;
