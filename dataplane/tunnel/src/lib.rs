//! WireGuard peers as state machines: handshakes, sessions, timers, allowed IPs.
//!
//! Datagrams and packets come in, with the time; sealed datagrams, opened packets and effects come out. It opens no
//! socket, reads no clock and draws no randomness itself. Caller: `device`.
#![forbid(unsafe_code)]
