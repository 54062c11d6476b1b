//! Narrows a ring to what this driver does, before it is enabled: whoever gets hold of the process
//! cannot use the ring to open files or connect elsewhere.

use std::io;

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue};

use super::sys::{REGISTER_RING_FDS, UNREGISTER_RING_FDS};

const REGISTER_PBUF_RING: u8 = 22;

/// For a ring set up disabled.
pub(crate) fn restrict(ring: &IoUring) -> io::Result<()> {
    let mut allowed = [
        Restriction::sqe_op(opcode::Recv::CODE),
        Restriction::sqe_op(opcode::Send::CODE),
        Restriction::sqe_op(opcode::PollAdd::CODE),
        Restriction::sqe_op(opcode::AsyncCancel::CODE),
        // Of the waker's eventfd.
        Restriction::sqe_op(opcode::Read::CODE),
        Restriction::sqe_op(opcode::ProvideBuffers::CODE),
        Restriction::sqe_flags_allowed(squeue::Flags::BUFFER_SELECT.bits()),
        Restriction::register_op(REGISTER_RING_FDS as u8),
        Restriction::register_op(UNREGISTER_RING_FDS as u8),
        Restriction::register_op(REGISTER_PBUF_RING),
    ];
    ring.submitter().register_restrictions(&mut allowed)
}
