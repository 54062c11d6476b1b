//! TLS for the data plane, both roles, TLS 1.3 and 1.2.
//!
//! A connection lives in two halves, and the second is reached only through the first:
//!
//! 1. [`ServerHandshake`] or [`ClientHandshake`]: `rustls` does the handshake through its
//!    unbuffered API. Bytes go in, bytes come out, [`Established`] comes out at the end.
//! 2. [`Session`]: a record layer of our own, in place in the caller's buffers, without
//!    allocation, a few hundred bytes and two expanded keys for a connection.
//!
//! [`cert`] holds what the relay shows to its clients (certificates, the meta certificate, their
//! replacement at run time) and what our clients accept from a relay.
//!
//! Nothing here opens a socket. Our code reads no clock: times of certificates are arguments
//! (`rustls` itself asks its own time provider when it verifies chains and ages tickets).
//! Randomness is the crypto provider's.
#![forbid(unsafe_code)]

pub mod cert;
mod config;
mod error;
mod handshake;
mod session;
mod suite;

pub use rustls::{RootCertStore, pki_types};

pub use config::{ClientConfig, ClientOptions, KeyExchange, ServerConfig, ServerOptions, Versions};
pub use error::{HandshakeError, TlsError};
pub use handshake::{ClientHandshake, Established, ServerHandshake};
pub use session::record::{HEADER_BYTES, PLAINTEXT_BYTES_MAX, RECORD_BYTES_MAX, record_len};
pub use session::{Opened, Session};
pub use suite::{Cipher, Version};

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
