//! The request of a client, and its reading of the answer.

use super::{Opening, Options};
use crate::handshake::{HandshakeError, LocalFault, Misbehaviour, Refusal};
use crate::http::ResponseHead;
use crate::websocket;

/// The bytes of the request. `websocket_key` is used for a WebSocket only.
pub(super) fn request(options: &Options, websocket_key: &str) -> Result<String, LocalFault> {
    let Options {
        host,
        path,
        ideal_node,
        ..
    } = options;
    let texts = [Some(host), Some(path), ideal_node.as_ref()];
    if !texts.into_iter().flatten().all(|text| is_http_text(text)) || !path.starts_with('/') {
        return Err(LocalFault::NotHttpText);
    }
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n");
    match options.opening {
        Opening::Raw => request.push_str("Upgrade: DERP\r\n"),
        Opening::FastStart(_) => request.push_str("Upgrade: DERP\r\nDerp-Fast-Start: 1\r\n"),
        Opening::WebSocket => request.extend([
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
            websocket_key,
            "\r\nSec-WebSocket-Protocol: ",
            websocket::SUB_PROTOCOL,
            "\r\n",
        ]),
    }
    if let Some(node) = ideal_node {
        request.extend(["Ideal-Node: ", node, "\r\n"]);
    }
    request.push_str("\r\n");
    Ok(request)
}

/// Whether an answer is the upgrade that was asked for.
pub(super) fn check_answer(
    opening: Opening,
    websocket_key: &str,
    answer: &ResponseHead,
) -> Result<(), HandshakeError> {
    if answer.status != 101 {
        return Err(Refusal::Status(answer.status).into());
    }
    if opening == Opening::WebSocket
        && (answer.websocket_accept != websocket::accept_value(websocket_key.as_bytes())
            || !answer
                .websocket_protocol
                .eq_ignore_ascii_case(websocket::SUB_PROTOCOL))
    {
        return Err(Misbehaviour::WebSocketAnswer.into());
    }
    Ok(())
}

/// Whether the text can stand in a request line or header field without ending it.
fn is_http_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
