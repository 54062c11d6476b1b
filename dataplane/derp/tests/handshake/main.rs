//! The handshake as its drivers see it: bytes in, bytes out, nothing else.

mod support;

mod client_info;
mod feeding;
mod pages;
mod transports;
mod websocket;
