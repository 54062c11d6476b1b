//! Frames as a client sees them.

use std::net::SocketAddr;

use towline_wire::NodePublic;
use towline_wire::frame::{
    FrameType, GoneReason, Header, Health, PeerGone, PeerPresent, Pong, RecvPacket, Restarting,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    ServerInfo,
    Recv(NodePublic, Vec<u8>),
    KeepAlive,
    Gone(NodePublic),
    NotHere(NodePublic),
    Present(NodePublic, Option<SocketAddr>, u8),
    Pong([u8; 8]),
    Health(String),
    Restarting(u32, u32),
}

impl Frame {
    pub(crate) fn parse(header: Header, body: &[u8]) -> Self {
        match header
            .frame_type()
            .expect("a relay writes frames that we know")
        {
            FrameType::ServerInfo => Self::ServerInfo,
            FrameType::RecvPacket => {
                let frame = RecvPacket::parse(body).unwrap();
                Self::Recv(frame.src, frame.packet.to_vec())
            }
            FrameType::KeepAlive => {
                assert!(body.is_empty());
                Self::KeepAlive
            }
            FrameType::PeerGone => {
                let frame = PeerGone::parse(body).unwrap();
                assert_eq!(body.len(), 33);
                match frame.reason {
                    GoneReason::Disconnected => Self::Gone(frame.key),
                    GoneReason::NotHere => Self::NotHere(frame.key),
                    GoneReason::Other(reason) => panic!("reason {reason}"),
                }
            }
            FrameType::PeerPresent => {
                let frame = PeerPresent::parse(body).unwrap();
                assert_eq!(body.len(), 51);
                Self::Present(frame.key, frame.addr, frame.flags.0)
            }
            FrameType::Pong => Self::Pong(Pong::parse(body).unwrap().0),
            FrameType::Health => Self::Health(Health::parse(body).unwrap().problem.into_owned()),
            FrameType::Restarting => {
                let frame = Restarting::parse(body).unwrap();
                Self::Restarting(frame.reconnect_in_ms, frame.try_for_ms)
            }
            other => panic!("a relay writes no {other:?} to a client"),
        }
    }
}
