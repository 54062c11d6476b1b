//! One client on a worker: its transport, its frames, and the one send that may be under way.

use towline_io::{SendBuf, SocketId};
use towline_wire::frame::{FrameType, HEADER_LEN, Header, send_packet_header};

use crate::flow::Flow;
use crate::frames::FrameReader;
use crate::stamp::{STAMP_LEN, Stamp};
use crate::transport::{AROUND_BYTES_MAX, Broken, Transport};

/// Bytes of a send buffer that a packet of this size needs at most.
pub(crate) fn wire_bytes_max(size: usize) -> usize {
    let frame = HEADER_LEN + 32 + size;
    frame + (frame / towline_tls::PLAINTEXT_BYTES_MAX + 2) * AROUND_BYTES_MAX
}

/// A packet of ours that arrived.
pub(crate) struct Arrival {
    pub(crate) stamp: Stamp,
    pub(crate) size: usize,
}

pub(crate) struct Link {
    pub(crate) socket: SocketId,
    transport: Transport,
    frames: FrameReader,
    /// Frames that answer the relay's, to be sealed and sent first.
    answers: Vec<u8>,
    /// A send was given to the driver, or waits for room.
    pub(crate) sending: bool,
    /// What a full socket has not taken: the buffer, where its rest starts, and ends.
    pub(crate) rest: Option<(SendBuf, usize, usize)>,
    /// Extent of the send at the driver.
    pub(crate) extent: (usize, usize),
    pub(crate) closed: bool,
}

impl Link {
    /// A client whose socket is with the driver.
    pub(crate) fn new(transport: Transport, mut leftover: Vec<u8>, socket: SocketId) -> Self {
        let mut link = Self {
            socket,
            transport,
            frames: FrameReader::new(),
            answers: Vec::new(),
            sending: false,
            rest: None,
            extent: (0, 0),
            closed: false,
        };
        link.closed = link.receive_early(&mut leftover).is_err();
        link
    }

    /// Takes plaintext that came with the end of the handshake: at most control frames.
    fn receive_early(&mut self, plain: &mut [u8]) -> Result<(), Broken> {
        let Self {
            transport,
            frames,
            answers,
            ..
        } = self;
        transport.receive_opened(plain, |plain| {
            frames
                .push(plain, |header, body| answer(header, body, answers))
                .map_err(|_| Broken::Derp)
        })
    }

    /// Takes bytes of the socket and shows the packets of ours among them.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
        mut arrived: impl FnMut(Arrival),
    ) -> Result<(), Broken> {
        let Self {
            transport,
            frames,
            answers,
            ..
        } = self;
        transport.receive(bytes, |plain| {
            let show = |header: Header, body: &[u8]| {
                if header.frame_type() != Some(FrameType::RecvPacket) {
                    return answer(header, body, answers);
                }
                if let Some(stamp) = body.get(32..).and_then(Stamp::read) {
                    arrived(Arrival {
                        stamp,
                        size: header.len as usize - 32,
                    });
                }
            };
            frames.push(plain, show).map_err(|_| Broken::Derp)
        })
    }

    /// Whether something has to go that is no packet.
    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty() || self.transport.has_own_output()
    }

    /// Writes what is no packet into a send buffer; says how many bytes.
    pub(crate) fn write_answers(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        let mut wire = self.transport.own_output().map_err(|_| Broken::Tls)?;
        let mut plain = std::mem::take(&mut self.answers);
        if !plain.is_empty() {
            if let Some(codec) = &mut self.transport.websocket {
                let mut header = codec.header_for(plain.len());
                header.mask(&mut plain);
                plain.splice(0..0, header.as_bytes().iter().copied());
            }
            self.transport
                .seal_raw(&plain, &mut wire)
                .map_err(|_| Broken::Tls)?;
        }
        let Some(room) = out.get_mut(..wire.len()) else {
            return Err(Broken::Derp);
        };
        room.copy_from_slice(&wire);
        Ok(wire.len())
    }

    /// Writes the next packets of a flow into a send buffer, as many as `count`; says how many bytes.
    pub(crate) fn write_packets(
        &mut self,
        flow: &mut Flow,
        index: u32,
        count: u64,
        now_ns: u64,
        out: &mut [u8],
    ) -> Result<usize, Broken> {
        let mut at = 0;
        let mut head = [0; HEADER_LEN + 32 + STAMP_LEN];
        head[..HEADER_LEN + 32].copy_from_slice(&send_packet_header(&flow.to_key, flow.size));
        for _ in 0..count {
            let (number, sent_ns) = flow.take(now_ns);
            let stamp = Stamp {
                number,
                sent_ns,
                flow: index,
            };
            head[HEADER_LEN + 32..].copy_from_slice(&stamp.write());
            let len = HEADER_LEN + 32 + flow.size;
            at += self
                .transport
                .write_frame(&head, len, &mut out[at..])
                .map_err(|_| Broken::Tls)?;
        }
        Ok(at)
    }
}

/// Bytes of pongs that wait for a full socket; they always fit a send buffer.
const ANSWERS_BYTES_MAX: usize = 4 << 10;

/// Answers pings; all else that is no packet of ours is passed over.
fn answer(header: Header, body: &[u8], answers: &mut Vec<u8>) {
    // A relay that pings faster than it reads needs no more answers.
    if answers.len() < ANSWERS_BYTES_MAX
        && header.frame_type() == Some(FrameType::Ping)
        && let Some(data) = body.first_chunk::<8>()
    {
        answers.extend_from_slice(&Header::new(FrameType::Pong, 8).write());
        answers.extend_from_slice(data);
    }
}
