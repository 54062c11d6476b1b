//! Cuts a DERP stream into frames and shows the beginning of each, however it was divided.
//!
//! Bodies are not kept: of a packet only the sender's key and the stamp matter here.

use towline_wire::frame::{HEADER_LEN, Header};
use towline_wire::limits::FRAME_BODY_BYTES_MAX;

use crate::stamp::STAMP_LEN;

/// Shown of each body at most: a key and a stamp.
const BODY_SHOWN: usize = 32 + STAMP_LEN;

/// A frame is longer than any may be: the stream is out of step.
#[derive(Debug)]
pub(crate) struct TooLong;

pub(crate) struct FrameReader {
    head: [u8; HEADER_LEN + BODY_SHOWN],
    have: usize,
    /// Of the current body still to be passed over.
    skip: usize,
}

impl FrameReader {
    pub(crate) fn new() -> Self {
        Self {
            head: [0; HEADER_LEN + BODY_SHOWN],
            have: 0,
            skip: 0,
        }
    }

    /// Takes the next bytes of the stream; `show` gets each frame's header and the first bytes of
    /// its body.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        mut show: impl FnMut(Header, &[u8]),
    ) -> Result<(), TooLong> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let wanted = self.wanted();
            let taken = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            let Some(header) = self.header() else {
                continue;
            };
            let len = header.len as usize;
            if len > FRAME_BODY_BYTES_MAX {
                return Err(TooLong);
            }
            let shown = len.min(BODY_SHOWN);
            if self.have == HEADER_LEN + shown {
                show(header, &self.head[HEADER_LEN..self.have]);
                self.have = 0;
                self.skip = len - shown;
            }
        }
    }

    fn header(&self) -> Option<Header> {
        let bytes = self.head.first_chunk::<HEADER_LEN>()?;
        (self.have >= HEADER_LEN).then(|| Header::parse(bytes))
    }

    fn wanted(&self) -> usize {
        match self.header() {
            Some(header) => HEADER_LEN + (header.len as usize).min(BODY_SHOWN),
            None => HEADER_LEN,
        }
    }
}

#[cfg(test)]
mod tests {
    use towline_wire::NodePublic;
    use towline_wire::frame::{KeepAlive, RecvPacket};

    use super::*;

    #[test]
    fn frames_are_the_same_however_they_are_divided() {
        let mut stream = Vec::new();
        for size in [32, 1400, 0, 65536] {
            KeepAlive.write(&mut stream);
            RecvPacket {
                src: NodePublic([9; 32]),
                packet: &vec![5; size],
            }
            .write(&mut stream);
        }
        let read = |chunk: usize| {
            let mut reader = FrameReader::new();
            let mut seen = Vec::new();
            for part in stream.chunks(chunk) {
                let show =
                    |header: Header, body: &[u8]| seen.push((header.kind, header.len, body.len()));
                reader.push(part, show).unwrap();
            }
            seen
        };
        let whole = read(stream.len());
        assert_eq!(whole.len(), 8);
        assert_eq!(whole[1].1, 64);
        assert_eq!(whole[7], (5, 65568, 64));
        for chunk in [1, 2, 5, 6, 64, 1000] {
            assert_eq!(read(chunk), whole, "in pieces of {chunk}");
        }
    }

    #[test]
    fn a_stream_out_of_step_is_an_error() {
        assert!(
            FrameReader::new()
                .push(&[5, 0xff, 0, 0, 0, 1], |_, _| {})
                .is_err()
        );
    }
}
