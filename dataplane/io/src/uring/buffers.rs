//! How receive buffers reach the kernel: by a shared buffer ring, or by one submission each where
//! there is none.

use core::sync::atomic::{AtomicU16, Ordering};
use std::io;

use io_uring::{opcode, types};

use super::ring::Ring;
use super::user_data::{Op, pack_plain};
use crate::pool::{RecvPool, Region};
use crate::{DriverError, Features};

/// The only buffer group of a stream driver's ring.
pub(crate) const GROUP: u16 = 0;

pub(crate) struct Provider {
    way: Way,
    group: u16,
    /// Buffers that the kernel may fill.
    provided: u16,
}

enum Way {
    /// Entries and tail in memory that the kernel reads. `tail` is what was written, not yet shown
    /// to the kernel.
    Ring {
        entries: Region,
        mask: u16,
        tail: u16,
    },
    Submissions,
}

impl Provider {
    /// Registers the best that the kernel and the features allow, for at most `buffers_max` at a
    /// time: a power of two.
    pub(crate) fn open(ring: &mut Ring, buffers_max: u16, group: u16) -> Result<Self, DriverError> {
        let way = if ring.features().contains(Features::BUFFER_RING) {
            open_ring(ring, buffers_max, group)?
        } else {
            Way::Submissions
        };
        if matches!(way, Way::Submissions) {
            ring.drop_feature(Features::BUFFER_RING);
        }
        Ok(Self {
            way,
            group,
            provided: 0,
        })
    }

    /// Every buffer of a new pool goes to the kernel.
    pub(crate) fn provide_all(&mut self, ring: &mut Ring, pool: &RecvPool) -> io::Result<()> {
        for buffer in 0..pool.count() {
            self.provide(ring, pool, buffer)?;
        }
        self.publish();
        Ok(())
    }

    pub(crate) fn provided(&self) -> u16 {
        self.provided
    }

    /// The kernel is done with a buffer.
    pub(crate) fn taken(&mut self) {
        self.provided -= 1;
    }

    /// Gives a free buffer to the kernel, which sees it after [`Self::publish`].
    pub(crate) fn provide(
        &mut self,
        ring: &mut Ring,
        pool: &RecvPool,
        buffer: u16,
    ) -> io::Result<()> {
        let (start, len) = pool.spare(buffer);
        match &mut self.way {
            Way::Ring {
                entries,
                mask,
                tail,
            } => {
                let slot = usize::from(*tail & *mask);
                let entry = entries
                    .as_ptr()
                    .cast::<types::BufRingEntry>()
                    .wrapping_add(slot);
                // SAFETY: `slot` is inside of the ring's entries, and the kernel does not read
                // behind the published tail. The setters leave the tail, which lies in the first
                // entry's last field, alone.
                let entry = unsafe { &mut *entry };
                entry.set_addr(start as u64);
                entry.set_len(len);
                entry.set_bid(buffer);
                *tail = tail.wrapping_add(1);
            }
            Way::Submissions => {
                let entry = opcode::ProvideBuffers::new(start, len as i32, 1, self.group, buffer)
                    .build()
                    .user_data(pack_plain(Op::Provide, u32::from(buffer)));
                // SAFETY: the pool's memory outlives the ring, and no handle names a free buffer.
                unsafe { ring.push(&entry)? };
            }
        }
        self.provided += 1;
        Ok(())
    }

    /// Shows the kernel what [`Self::provide`] wrote.
    pub(crate) fn publish(&mut self) {
        if let Way::Ring { entries, tail, .. } = &self.way {
            let base = entries.as_ptr().cast::<types::BufRingEntry>().cast_const();
            // SAFETY: `base` is the first entry of the ring, where the tail lies; both sides use it
            // as an atomic.
            let shared = unsafe { &*types::BufRingEntry::tail(base).cast::<AtomicU16>() };
            shared.store(*tail, Ordering::Release);
        }
    }

    /// See [`Region::leak`].
    pub(crate) fn leak(&mut self) {
        if let Way::Ring { entries, .. } = &mut self.way {
            entries.leak();
        }
    }
}

fn open_ring(ring: &mut Ring, count: u16, group: u16) -> Result<Way, DriverError> {
    let bytes = usize::from(count) * size_of::<types::BufRingEntry>();
    let entries = Region::new(bytes).map_err(|error| DriverError::os("mmap", error))?;
    let register = |ring: &Ring, flags: u16| {
        // SAFETY: the entries are mapped, page aligned and as many as said; they outlive the ring's
        // requests.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                count,
                group,
                flags,
            )
        }
    };
    let incremental = types::IOU_PBUF_RING_INC as u16;
    if ring.features().contains(Features::INCREMENTAL) && register(ring, incremental).is_err() {
        ring.drop_feature(Features::INCREMENTAL);
    }
    if !ring.features().contains(Features::INCREMENTAL) && register(ring, 0).is_err() {
        return Ok(Way::Submissions);
    }
    Ok(Way::Ring {
        entries,
        mask: count - 1,
        tail: 0,
    })
}
