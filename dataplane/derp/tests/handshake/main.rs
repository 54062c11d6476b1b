//! The handshake as its drivers see it: bytes in, bytes out, nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod client_info;
mod feeding;
mod pages;
mod transports;
mod websocket;
