//! A private anonymous mapping: page aligned, zero until touched, costing nothing until then.

use core::ptr::NonNull;
use std::io;

/// Owns the mapping.
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
}

impl Region {
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { libc::mmap(core::ptr::null_mut(), len, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { base, len })
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// # Panics
    /// When the range is outside: a handle of another driver.
    pub(crate) fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "a range outside of the region"
        );
        self.base.as_ptr().wrapping_add(offset)
    }

    /// See [`Self::at`].
    pub(crate) fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        let start = self.at(offset, len);
        // SAFETY: `at` checked the range; the mapping is initialised (zero pages) and lives as long
        // as `self`. The kernel writes only to parts that no handle names.
        unsafe { core::slice::from_raw_parts(start, len) }
    }

    /// See [`Self::at`].
    pub(crate) fn bytes_mut(&mut self, offset: usize, len: usize) -> &mut [u8] {
        let start = self.at(offset, len);
        // SAFETY: as in `bytes`; `&mut self` excludes any other slice of ours.
        unsafe { core::slice::from_raw_parts_mut(start, len) }
    }

    /// Leaves the memory mapped for good: for a kernel that may still write to it. Nothing can be
    /// read or written through `self` afterwards.
    pub(crate) fn leak(&mut self) {
        self.len = 0;
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        // SAFETY: the mapping is ours, and nothing refers to it: slices borrow `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
