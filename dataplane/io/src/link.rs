//! The state of a network interface, and news of changes to it.
//!
//! News say only that something about some interface changed; what it is now is asked anew, so that a message that was
//! lost or that nobody parses costs nothing but a look.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What an interface is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// It was set up (IFF_UP).
    pub is_up: bool,
    /// The longest packet that it takes, in bytes.
    pub mtu: u32,
}

/// The interface of this name; `None` when there is none.
///
/// # Errors
/// What the kernel says otherwise.
pub fn link(name: &str) -> io::Result<Option<Link>> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    let Some(flags) = ask(&socket, name, libc::SIOCGIFFLAGS)? else {
        return Ok(None);
    };
    let Some(mtu) = ask(&socket, name, libc::SIOCGIFMTU)? else {
        return Ok(None);
    };
    // SAFETY: each request filled in its own member of the union; both are plain numbers.
    let (flags, mtu) = unsafe { (flags.ifr_ifru.ifru_flags, mtu.ifr_ifru.ifru_mtu) };
    Ok(Some(Link {
        is_up: libc::c_int::from(flags) & libc::IFF_UP != 0,
        mtu: mtu as u32,
    }))
}

/// The number of the interface of this name.
#[must_use]
pub fn index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: reads a string that ends with a zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index > 0).then_some(index)
}

/// Hears of every change to an interface of this network namespace.
#[derive(Debug)]
pub struct LinkWatch(OwnedFd);

impl LinkWatch {
    /// Listens from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW)?;
        // SAFETY: a sockaddr_nl of zeros is valid: the kernel chooses the port.
        let mut address: libc::sockaddr_nl = unsafe { core::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = libc::RTMGRP_LINK as u32;
        let len = size_of_val(&address) as u32;
        // SAFETY: `address` has `len` bytes and outlives the call.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(socket))
    }

    /// Waits until something changed.
    ///
    /// # Errors
    /// What the kernel says; not when news were lost, which are news too.
    pub fn wait(&self) -> io::Result<()> {
        let mut news = [0u8; 4096];
        loop {
            // SAFETY: the buffer is valid for its length; what does not fit is cut off.
            let result =
                unsafe { libc::recv(self.0.as_raw_fd(), news.as_mut_ptr().cast(), news.len(), 0) };
            if result >= 0 {
                return Ok(());
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(()),
                error => return Err(error),
            }
        }
    }
}

fn socket(family: libc::c_int, kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor, touches no memory.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// One property of an interface; `None` when there is no such interface.
fn ask(socket: &OwnedFd, name: &str, request: libc::Ioctl) -> io::Result<Option<libc::ifreq>> {
    // SAFETY: an ifreq of zeros is valid.
    let mut answer: libc::ifreq = unsafe { core::mem::zeroed() };
    if name.len() >= answer.ifr_name.len() {
        return Ok(None);
    }
    for (place, byte) in answer.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    // SAFETY: both requests read the name and fill in the rest of an ifreq.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut answer) };
    match result {
        0.. => Ok(Some(answer)),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_there_and_others_are_not() {
        let loopback = link("lo").unwrap().expect("there is one");
        assert!(loopback.mtu >= 1280);
        assert_eq!(link("towline-none").unwrap(), None);
        assert_eq!(link("a-name-that-is-too-long-for-linux").unwrap(), None);
    }
}
