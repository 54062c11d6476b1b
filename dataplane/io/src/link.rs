//! The state of a network interface, and news of changes to it, also when it is moved to another network namespace.
//!
//! News say only that something about some interface changed; what it is now is asked anew, so that a message that was
//! lost or that nobody parses costs nothing but a look.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

/// `TUNGETDEVNETNS` (include/uapi/linux/if_tun.h; Linux 5.2), which `libc` lacks.
const TUNGETDEVNETNS: libc::Ioctl = 0x54e3;

/// What an interface is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// It was set up (IFF_UP).
    pub is_up: bool,
    /// The longest packet that it takes, in bytes.
    pub mtu: u32,
}

/// Where the interface of a TUN queue is now: both may change while it runs.
#[derive(Debug)]
pub struct LinkPlace {
    /// Its name.
    pub name: String,
    /// Its network namespace; `None` where the kernel does not tell it, which is then taken for the first one.
    namespace: Option<File>,
}

impl LinkPlace {
    /// That of a queue.
    ///
    /// # Errors
    /// `EBADFD` when the interface is gone.
    pub fn of(queue: &impl AsFd) -> io::Result<Self> {
        let queue = queue.as_fd();
        let mut answer = request("").ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: the request fills in an ifreq.
        if unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNGETIFF, &raw mut answer) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let name = answer.ifr_name.iter().map(|byte| *byte as u8);
        let name = name.take_while(|byte| *byte != 0).collect::<Vec<_>>();
        // SAFETY: the request takes nothing and gives a descriptor, or an error.
        let namespace = unsafe { libc::ioctl(queue.as_raw_fd(), TUNGETDEVNETNS) };
        Ok(Self {
            name: String::from_utf8_lossy(&name).into_owned(),
            // SAFETY: just made, and nobody else's.
            namespace: (namespace >= 0).then(|| unsafe { File::from_raw_fd(namespace) }),
        })
    }
}

/// The number of the interface of this name.
#[must_use]
pub fn index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: reads a string that ends with a zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index > 0).then_some(index)
}

/// Hears of every change to an interface of one network namespace, and looks at interfaces there.
#[derive(Debug)]
pub struct LinkWatch {
    news: OwnedFd,
    questions: OwnedFd,
    /// The number of the namespace; `None`: that of this thread.
    namespace: Option<u64>,
}

impl LinkWatch {
    /// Listens where this thread is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        let news = socket(libc::AF_NETLINK, libc::SOCK_RAW)?;
        // SAFETY: a sockaddr_nl of zeros is valid: the kernel chooses the port.
        let mut address: libc::sockaddr_nl = unsafe { core::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = libc::RTMGRP_LINK as u32;
        let len = size_of_val(&address) as u32;
        // SAFETY: `address` has `len` bytes and outlives the call.
        let result = unsafe { libc::bind(news.as_raw_fd(), (&raw const address).cast(), len) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            news,
            questions: socket(libc::AF_INET, libc::SOCK_DGRAM)?,
            namespace: None,
        })
    }

    /// Goes on where the interface is now, if it was moved. This thread is elsewhere only meanwhile.
    ///
    /// # Errors
    /// It may not look there (CAP_SYS_ADMIN is needed).
    pub fn follow(&mut self, place: &LinkPlace) -> io::Result<()> {
        let Some(there) = &place.namespace else {
            return Ok(());
        };
        let here = File::open("/proc/thread-self/ns/net")?;
        let number = there.metadata()?.ino();
        if self.namespace.map_or(here.metadata()?.ino(), |last| last) == number {
            return Ok(());
        }
        enter(there)?;
        let watch = Self::open();
        // Without a way back, what this thread opens would be in the wrong place.
        enter(&here)?;
        *self = Self {
            namespace: Some(number),
            ..watch?
        };
        Ok(())
    }

    /// The interface of this name; `None` when there is none.
    ///
    /// # Errors
    /// What the kernel says otherwise.
    pub fn link(&self, name: &str) -> io::Result<Option<Link>> {
        let Some(flags) = ask(&self.questions, name, libc::SIOCGIFFLAGS)? else {
            return Ok(None);
        };
        let Some(mtu) = ask(&self.questions, name, libc::SIOCGIFMTU)? else {
            return Ok(None);
        };
        // SAFETY: each request filled in its own member of the union; both are plain numbers.
        let (flags, mtu) = unsafe { (flags.ifr_ifru.ifru_flags, mtu.ifr_ifru.ifru_mtu) };
        Ok(Some(Link {
            is_up: libc::c_int::from(flags) & libc::IFF_UP != 0,
            mtu: mtu as u32,
        }))
    }

    /// Waits until something changed.
    ///
    /// # Errors
    /// What the kernel says; not when news were lost, which are news too.
    pub fn wait(&self) -> io::Result<()> {
        let mut news = [0u8; 4096];
        loop {
            // SAFETY: the buffer is valid for its length; what does not fit is cut off.
            let result = unsafe {
                libc::recv(
                    self.news.as_raw_fd(),
                    news.as_mut_ptr().cast(),
                    news.len(),
                    0,
                )
            };
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

/// Moves this thread to a network namespace.
fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: takes a descriptor and a flag.
    if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
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

/// `None` for what is no name.
fn request(name: &str) -> Option<libc::ifreq> {
    // SAFETY: an ifreq of zeros is valid.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    // The last byte stays 0.
    let places = request.ifr_name.split_last_mut()?.1;
    for (place, byte) in places.get_mut(..name.len())?.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    Some(request)
}

/// One property of an interface; `None` when there is no such interface.
fn ask(socket: &OwnedFd, name: &str, number: libc::Ioctl) -> io::Result<Option<libc::ifreq>> {
    let Some(mut answer) = request(name) else {
        return Ok(None);
    };
    // SAFETY: both requests read the name and fill in the rest of an ifreq.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), number, &raw mut answer) };
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
        let watch = LinkWatch::open().unwrap();
        let loopback = watch.link("lo").unwrap().expect("there is one");
        assert!(loopback.mtu >= 1280);
        assert_eq!(watch.link("towline-none").unwrap(), None);
        let long = "a-name-that-is-too-long-for-linux";
        assert_eq!(watch.link(long).unwrap(), None);
        assert!(index("lo").is_some() && index("towline-none").is_none());
    }
}
