//! A server, a client, and what goes between them, in memory.

use std::sync::Arc;

use towline_derp::handshake::HandshakeError;
use towline_derp::handshake::client::{self, ClientHandshake, Options};
use towline_derp::handshake::server::{Config, ConnInfo, Ready, ServerHandshake, Step, Verdict};
use towline_wire::{MeshKey, NodePrivate};

pub(crate) fn server_key() -> NodePrivate {
    NodePrivate::from_bytes([1; 32])
}

pub(crate) fn client_key() -> NodePrivate {
    NodePrivate::from_bytes([2; 32])
}

pub(crate) fn mesh_key(byte: u8) -> MeshKey {
    MeshKey::from_bytes([byte; 32])
}

pub(crate) fn config() -> Config {
    Config::new(server_key())
}

/// A connection of a stranger from the network.
pub(crate) fn conn() -> ConnInfo {
    ConnInfo {
        peer: "192.0.2.7:4711".parse().unwrap(),
        plain_http_port: false,
        debug_allowed: false,
    }
}

pub(crate) fn server(config: Config) -> ServerHandshake {
    ServerHandshake::new(Arc::new(config), conn(), [7; 32])
}

pub(crate) fn options() -> Options {
    Options::new("derp.example.com", client_key())
}

pub(crate) fn client(options: Options) -> ClientHandshake {
    ClientHandshake::new(options, [9; 64]).unwrap()
}

/// All output that waits.
pub(crate) fn output(server: &mut ServerHandshake) -> Vec<u8> {
    core::iter::from_fn(|| server.poll_output())
        .flatten()
        .collect()
}

/// What the server answers to these bytes, as text.
pub(crate) fn answer(server: &mut ServerHandshake, request: &str) -> String {
    server.handle_bytes(request.as_bytes()).unwrap();
    String::from_utf8(output(server)).unwrap()
}

pub(crate) const ALLOW: Verdict = Verdict::Allow { limits: None };

/// Runs both sides until both are ready; admission says yes.
pub(crate) fn connect(
    server: &mut ServerHandshake,
    client: &mut ClientHandshake,
) -> Result<(Box<Ready>, Box<client::Ready>), HandshakeError> {
    let mut at_server = None;
    for _ in 0..10 {
        while let Some(bytes) = client.poll_output() {
            server.handle_bytes(&bytes)?;
        }
        match server.step() {
            Step::Admit(_) => server.handle_verdict(ALLOW)?,
            Step::Ready(ready) => at_server = Some(ready),
            _ => {}
        }
        while let Some(bytes) = server.poll_output() {
            client.handle_bytes(&bytes)?;
        }
        if let Some(mut ready) = at_server.take() {
            // The relay writes the server info, inside the WebSocket if there is one.
            let frame = ready.server_info_frame.clone();
            if let Some(codec) = &mut ready.websocket {
                let header = codec.header_for(frame.len());
                client.handle_bytes(header.as_bytes())?;
            }
            client.handle_bytes(&frame)?;
            match client.step() {
                client::Step::Ready(at_client) => return Ok((ready, at_client)),
                other => panic!("the client is not ready: {other:?}"),
            }
        }
    }
    panic!("the handshake hangs: {:?}", server.step());
}
