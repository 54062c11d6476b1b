//! The part of the handshake that proves who the client is, as a chain of states: each holds what
//! the one before has proven, and only the last makes a connection.
//!
//! `AwaitClientInfo -> BoxOpened -> Admitted -> Ready`

use towline_wire::frame::{self, FrameType, Header};
use towline_wire::info::{ClientInfo, ServerInfo};
use towline_wire::{NodePublic, limits};

use super::{AdmitRequest, Config, ConnInfo, OpeningKind, Ready};
use crate::connected::{Connected, RateLimit};
use crate::handshake::incoming::Incoming;
use crate::handshake::{HandshakeError, Malformation, Misbehaviour};
use crate::sealed::{NONCE_LEN, SharedBox};

/// The server has spoken; the client has yet to say who it is.
pub(super) struct AwaitClientInfo {
    pub(super) opening: OpeningKind,
    pub(super) not_ideal: bool,
}

/// The client holds the key that it claims.
pub(super) struct BoxOpened {
    upgraded: AwaitClientInfo,
    key: NodePublic,
    shared: SharedBox,
    mesh: bool,
    info: ClientInfo,
}

/// The client may stay.
pub(super) struct Admitted {
    client: BoxOpened,
    limits: Option<RateLimit>,
}

impl AwaitClientInfo {
    /// What the header of the client's first frame must look like.
    pub(super) fn check(header: Header) -> Result<(), Misbehaviour> {
        let Header { kind, len } = header;
        if header.frame_type() != Some(FrameType::ClientInfo) {
            return Err(Misbehaviour::UnexpectedFrame { kind });
        }
        let allowed = limits::CLIENT_INFO_BODY_BYTES_MIN..=limits::CLIENT_INFO_BODY_BYTES_MAX;
        if !allowed.contains(&(len as usize)) {
            return Err(Misbehaviour::FrameLength { kind, len });
        }
        Ok(())
    }

    /// Opens the box in the body of the client info frame, in place.
    pub(super) fn open(
        self,
        body: &mut [u8],
        config: &Config,
    ) -> Result<BoxOpened, HandshakeError> {
        let client = frame::ClientInfo::parse(body).map_err(Malformation::Frame)?;
        let (key, nonce, sealed_len) = (client.key, client.nonce, client.sealed.len());
        if key.0 == [0; 32] {
            return Err(Misbehaviour::ZeroKey.into());
        }
        let does_not_open = |_| Misbehaviour::BoxDoesNotOpen;
        let shared = config.box_key().agree(&key).map_err(does_not_open)?;
        let sealed_at = body.len() - sealed_len;
        let json = shared
            .open(&nonce, &mut body[sealed_at..])
            .map_err(does_not_open)?;
        let info = ClientInfo::parse(json).map_err(Malformation::Info)?;
        // A wrong mesh key makes an ordinary client, as in derper: during a rotation such a relay
        // can still be served as far as any client can.
        let mesh = info
            .mesh_key
            .as_ref()
            .is_some_and(|presented| config.is_mesh_key(presented));
        Ok(BoxOpened {
            upgraded: self,
            key,
            shared,
            mesh,
            info,
        })
    }
}

impl BoxOpened {
    pub(super) const fn opening(&self) -> OpeningKind {
        self.upgraded.opening
    }

    pub(super) const fn request(&self, conn: &ConnInfo) -> AdmitRequest {
        AdmitRequest {
            key: self.key,
            addr: conn.peer,
            mesh: self.mesh,
            prober: self.info.is_prober,
        }
    }

    pub(super) const fn admit(self, limits: Option<RateLimit>) -> Admitted {
        Admitted {
            client: self,
            limits,
        }
    }
}

impl Admitted {
    pub(super) const fn opening(&self) -> OpeningKind {
        self.client.opening()
    }

    /// Seals the server info and hands everything over.
    pub(super) fn into_ready(
        self,
        config: &Config,
        conn: &ConnInfo,
        nonce: &[u8; NONCE_LEN],
        incoming: Incoming,
    ) -> Ready {
        let Self {
            client:
                BoxOpened {
                    upgraded,
                    key,
                    shared,
                    mesh,
                    info,
                },
            limits,
        } = self;
        // Peers of the mesh carry the traffic of many and are never limited.
        let limits = if mesh { None } else { limits };
        let announced = match config.announced_limit {
            Some(default) if !mesh => Some(limits.unwrap_or(default)),
            _ => None,
        };
        let sealed = shared.seal(nonce, &server_info(announced).to_json());
        let mut server_info_frame = Vec::new();
        frame::ServerInfo {
            nonce: *nonce,
            sealed: &sealed,
        }
        .write(&mut server_info_frame);
        let (leftover, websocket) = incoming.into_rest();
        let client = Connected {
            key,
            addr: conn.peer,
            mesh,
            prober: info.is_prober,
            not_ideal: upgraded.not_ideal,
            can_ack_pings: info.can_ack_pings,
            go_client: info.can_ack_pings_go,
            app_name: (!info.app_name.is_empty()).then(|| info.app_name.as_str().into()),
            limits,
        };
        Ready {
            client,
            server_info_frame,
            websocket,
            leftover,
            opening: upgraded.opening,
        }
    }
}

fn server_info(announced: Option<RateLimit>) -> ServerInfo {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    ServerInfo {
        version: i64::from(limits::PROTOCOL_VERSION),
        token_bucket_bytes_per_second: announced.map_or(0, |limit| signed(limit.bytes_per_second)),
        token_bucket_bytes_burst: announced.map_or(0, |limit| signed(limit.burst_bytes)),
    }
}
