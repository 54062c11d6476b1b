//! Narrows a ring to what its driver does, before it is enabled: whoever gets hold of the process
//! cannot use the ring to open files or connect elsewhere.

use std::io;

use io_uring::register::{Probe, Restriction};
use io_uring::{IoUring, opcode, squeue};

use super::sys::{REGISTER_RING_FDS, UNREGISTER_RING_FDS};

const REGISTER_PBUF_RING: u8 = 22;

/// What the driver of streams does.
pub(crate) const STREAM_OPERATIONS: &[u8] = &[
    opcode::Recv::CODE,
    opcode::Send::CODE,
    opcode::PollAdd::CODE,
    opcode::AsyncCancel::CODE,
    // Of the waker's eventfd.
    opcode::Read::CODE,
    opcode::ProvideBuffers::CODE,
];

/// What the driver of packets does.
pub(crate) const PACKET_OPERATIONS: &[u8] = &[
    opcode::RecvMsg::CODE,
    opcode::SendMsg::CODE,
    opcode::ReadMulti::CODE,
    opcode::PollAdd::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Read::CODE,
];

/// For a ring set up disabled.
pub(crate) fn restrict(ring: &IoUring, operations: &[u8]) -> io::Result<()> {
    // A kernel refuses to restrict what it does not know.
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let known = operations.iter().filter(|code| probe.is_supported(**code));
    let mut allowed: Vec<_> = known.map(|code| Restriction::sqe_op(*code)).collect();
    allowed.extend([
        Restriction::sqe_flags_allowed(squeue::Flags::BUFFER_SELECT.bits()),
        Restriction::register_op(REGISTER_RING_FDS as u8),
        Restriction::register_op(UNREGISTER_RING_FDS as u8),
        Restriction::register_op(REGISTER_PBUF_RING),
    ]);
    ring.submitter().register_restrictions(&mut allowed)
}
