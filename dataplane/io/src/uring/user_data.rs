//! The 64 bits that travel with a request: operation, generation, slot.

use crate::slab::{GENERATION_BITS, SocketId};

/// What a completion is the end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    /// A receive, single or multishot.
    Recv = 1,
    /// A send.
    Send = 2,
    /// A one-shot poll for room to send.
    Poll = 3,
    /// The cancellation of a receive.
    CancelRecv = 4,
    /// The cancellation of a poll.
    CancelPoll = 5,
    /// The read of the waker's eventfd; of no socket.
    Alarm = 6,
    /// A buffer given to the kernel by a submission; the slot is the buffer.
    Provide = 7,
}

const SLOT_BITS: u32 = 32;
const _: () = assert!(SLOT_BITS + GENERATION_BITS + 8 == 64);

/// A socket's request.
pub(crate) fn pack(op: Op, id: SocketId) -> u64 {
    (op as u64) << (SLOT_BITS + GENERATION_BITS)
        | u64::from(id.generation) << SLOT_BITS
        | u64::from(id.slot)
}

/// A request of no socket.
pub(crate) fn pack_plain(op: Op, number: u32) -> u64 {
    pack(
        op,
        SocketId {
            slot: number,
            generation: 0,
        },
    )
}

/// `None` for a number that [`pack`] never makes.
pub(crate) fn unpack(user_data: u64) -> Option<(Op, SocketId)> {
    let op = match user_data >> (SLOT_BITS + GENERATION_BITS) {
        1 => Op::Recv,
        2 => Op::Send,
        3 => Op::Poll,
        4 => Op::CancelRecv,
        5 => Op::CancelPoll,
        6 => Op::Alarm,
        7 => Op::Provide,
        _ => return None,
    };
    let generation = (user_data >> SLOT_BITS) as u32 & ((1 << GENERATION_BITS) - 1);
    Some((
        op,
        SocketId {
            slot: user_data as u32,
            generation,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        let id = SocketId {
            slot: u32::MAX - 1,
            generation: (1 << GENERATION_BITS) - 1,
        };
        for op in [
            Op::Recv,
            Op::Send,
            Op::Poll,
            Op::CancelRecv,
            Op::CancelPoll,
            Op::Alarm,
        ] {
            assert_eq!(unpack(pack(op, id)), Some((op, id)));
        }
        assert_eq!(unpack(0), None);
        assert_eq!(unpack(u64::MAX), None);
    }
}
