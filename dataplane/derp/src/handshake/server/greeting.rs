//! What the server says first: the answer to the upgrade, if one is wanted, and its key.

use towline_wire::{frame, limits};

use super::admission::AwaitClientInfo;
use super::{OpeningKind, ServerHandshake};
use crate::http::{Opening, UpgradeRequest};
use crate::websocket::Codec;

impl ServerHandshake {
    /// Speaks first: the answer to the upgrade, if one is wanted, and the server key.
    pub(super) fn greet(&mut self, request: UpgradeRequest) -> AwaitClientInfo {
        let mut server_key = Vec::new();
        frame::ServerKey {
            key: self.config.server_public(),
        }
        .write(&mut server_key);
        let opening = match request.opening {
            Opening::FastStart => OpeningKind::FastStart,
            Opening::Raw => {
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\n\
                     Upgrade: DERP\r\n\
                     Connection: Upgrade\r\n\
                     Derp-Version: {}\r\n\
                     Derp-Public-Key: {}\r\n\r\n",
                    limits::PROTOCOL_VERSION,
                    self.config.server_public().to_hex(),
                );
                self.output.extend_from_slice(answer.as_bytes());
                OpeningKind::Raw
            }
            Opening::WebSocket { accept } => {
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\n\
                     Upgrade: websocket\r\n\
                     Connection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\
                     Sec-WebSocket-Protocol: derp\r\n\r\n",
                );
                self.output.extend_from_slice(answer.as_bytes());
                let mut codec = Codec::server();
                self.output
                    .extend_from_slice(codec.header_for(server_key.len()).as_bytes());
                self.incoming.start_websocket(codec);
                OpeningKind::WebSocket
            }
        };
        self.output.extend_from_slice(&server_key);
        AwaitClientInfo {
            opening,
            not_ideal: request.not_ideal,
        }
    }
}
