//! TUN devices: making one with its queues and offloads.
//!
//! Each read and write carries one IP packet behind a `struct virtio_net_hdr` of
//! [`crate::packet::VNET_HEADER_BYTES`]; with the offloads it may be a super-packet of 64 KiB, and
//! its checksum unfinished.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use socket2::{Domain, Socket, Type};

/// What is wanted of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunOptions {
    /// Of the interface; with `%d` in it the kernel puts the first free number there.
    pub name: String,
    /// 1 to 256.
    pub queues: u16,
    /// Wanted.
    pub offload: TunOffload,
    /// Bytes; `None`: 1420.
    pub mtu: Option<u32>,
}

/// What the kernel leaves undone in packets that it hands us, wanted or in effect. (What it takes
/// from us does not depend on it.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunOffload {
    /// Checksums.
    pub checksum: bool,
    /// Segmentation of TCP, IPv4 and IPv6, with ECN; needs `checksum`.
    pub tso: bool,
    /// Segmentation of UDP, IPv4 and IPv6 (Linux 6.2); needs `checksum`.
    pub uso: bool,
}

/// A new interface, down and without addresses. It lasts as long as one of its queues.
#[derive(Debug)]
pub struct Tun {
    /// As the kernel gave it.
    pub name: String,
    /// Of the interface.
    pub index: u32,
    /// In effect.
    pub offload: TunOffload,
    /// They do not block.
    pub queues: Vec<OwnedFd>,
}

/// Why there is no interface, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunError {
    /// `/dev/net/tun` is missing.
    #[error(
        "there is no /dev/net/tun: load the module (modprobe tun), or give the device to the \
         container (--device /dev/net/tun)"
    )]
    NoDevice,
    /// Not allowed.
    #[error(
        "{what}: not permitted ({cause}); CAP_NET_ADMIN is needed: run as root, or in a user and \
         network namespace of one's own"
    )]
    NotPermitted {
        /// The call that failed.
        what: &'static str,
        /// EPERM or EACCES.
        cause: io::Error,
    },
    /// The name is taken.
    #[error(
        "there is an interface {name} already, of another process or of another kind; stop that, \
         remove it (ip link delete {name}), or choose another name"
    )]
    Busy {
        /// Of the interface.
        name: String,
    },
    /// The kernel would not take it.
    #[error("{0:?} is no name for an interface: 1 to 15 bytes, without spaces, slashes and colons")]
    Name(String),
    /// The kernel would not take so many.
    #[error("{0} queues: a device has 1 to {QUEUES_MAX}")]
    Queues(u16),
    /// Anything else.
    #[error("{what}: {cause}")]
    Os {
        /// The call that failed.
        what: &'static str,
        /// As the kernel gave it.
        cause: io::Error,
    },
}

/// `MAX_TAP_QUEUES`.
const QUEUES_MAX: u16 = 256;
/// What the tools expect of WireGuard: 1500 bytes, less the largest of its headers (IPv6 40, UDP 8,
/// its own 32).
const MTU: u32 = 1420;
/// Packets that a queue holds for us: TUN's own 500 overflow in a burst of small packets that a
/// thread which was away for a millisecond could still have taken; 1000 is what Ethernet and the
/// kernel's WireGuard have.
const QUEUE_PACKETS: u32 = 1000;

/// Makes an interface. It must not exist: to join the queues of another process's would tear its
/// flows apart.
///
/// # Errors
/// Names the cause; see [`TunError`].
pub fn open(options: &TunOptions) -> Result<Tun, TunError> {
    if !(1..=QUEUES_MAX).contains(&options.queues) {
        return Err(TunError::Queues(options.queues));
    }
    let (first, name) = open_queue(&options.name, libc::IFF_TUN_EXCL)?;
    let offload = set_offload(&first, options.offload)?;
    // Before the other queues are made with it.
    let failed = |what| move |cause| failure(what, cause, &options.name);
    set(&name, libc::SIOCSIFTXQLEN, QUEUE_PACKETS).map_err(failed("SIOCSIFTXQLEN"))?;
    let mtu = options.mtu.unwrap_or(MTU);
    set(&name, libc::SIOCSIFMTU, mtu).map_err(failed("SIOCSIFMTU"))?;
    let index = get(&name, libc::SIOCGIFINDEX).map_err(failed("SIOCGIFINDEX"))?;
    let mut queues = vec![first];
    for _ in 1..options.queues {
        queues.push(open_queue(&name, 0)?.0);
    }
    Ok(Tun {
        name,
        index,
        offload,
        queues,
    })
}

/// The MTU of an interface of this network namespace.
///
/// # Errors
/// `ENODEV` when there is none of that name.
pub fn mtu(name: &str) -> io::Result<u32> {
    get(name, libc::SIOCGIFMTU)
}

/// `struct ifreq`: a name, and numbers that depend on the request.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; size_of::<libc::ifreq>() - libc::IFNAMSIZ],
}

impl Request {
    /// `None` for what is no name.
    fn new(name: &str, value: u32) -> Option<Self> {
        let bad = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b':' | 0);
        if name.is_empty() || matches!(name, "." | "..") || name.bytes().any(bad) {
            return None;
        }
        let mut request = Self {
            name: [0; libc::IFNAMSIZ],
            value: [0; _],
        };
        // The last byte stays 0.
        request.name[..libc::IFNAMSIZ - 1]
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        request.value[..4].copy_from_slice(&value.to_ne_bytes());
        Some(request)
    }

    /// Most requests have one number, of the width of an int.
    fn number(&self) -> u32 {
        let [a, b, c, d, ..] = self.value;
        u32::from_ne_bytes([a, b, c, d])
    }
}

/// One more queue, and the interface's name.
fn open_queue(name: &str, extra: libc::c_int) -> Result<(OwnedFd, String), TunError> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun");
    let file = opened.map_err(|cause| match cause.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::NoDevice,
        _ => failure("/dev/net/tun", cause, name),
    })?;
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;
    // A short, at the start of where an int would be.
    let flags = ((flags | extra) as u16).to_ne_bytes();
    let value = u32::from_ne_bytes([flags[0], flags[1], 0, 0]);
    let mut request = Request::new(name, value).ok_or_else(|| TunError::Name(name.to_owned()))?;
    exchange(&file, libc::TUNSETIFF, &mut request)
        .map_err(|cause| failure("TUNSETIFF", cause, name))?;
    let bytes = request.name.split(|byte| *byte == 0).next();
    let name = String::from_utf8_lossy(bytes.unwrap_or_default());
    Ok((file.into(), name.into_owned()))
}

/// Asks for less until the kernel takes it.
fn set_offload(queue: &OwnedFd, wanted: TunOffload) -> Result<TunOffload, TunError> {
    let none = TunOffload {
        checksum: false,
        tso: false,
        uso: false,
    };
    let checksum = TunOffload {
        checksum: wanted.checksum,
        ..none
    };
    let without_uso = TunOffload {
        tso: wanted.checksum && wanted.tso,
        ..checksum
    };
    let all = TunOffload {
        uso: wanted.checksum && wanted.uso,
        ..without_uso
    };
    let mut last = Ok(none);
    for offload in [all, without_uso, checksum, none] {
        last = tell(queue, libc::TUNSETOFFLOAD, bits(offload)).map(|()| offload);
        if last.is_ok() {
            break;
        }
    }
    last.map_err(|cause| TunError::Os {
        what: "TUNSETOFFLOAD",
        cause,
    })
}

fn bits(offload: TunOffload) -> libc::c_uint {
    let tso = libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let uso = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let parts = [
        (offload.checksum, libc::TUN_F_CSUM),
        (offload.tso, tso),
        (offload.uso, uso),
    ];
    let wanted = parts.iter().filter(|(wanted, _)| *wanted);
    wanted.fold(0, |set, (_, bits)| set | *bits)
}

/// A number of an interface, through any socket of this thread's network namespace.
fn get(name: &str, request: libc::Ioctl) -> io::Result<u32> {
    interface(name, request, 0)
}

fn set(name: &str, request: libc::Ioctl, value: u32) -> io::Result<()> {
    interface(name, request, value).map(drop)
}

fn interface(name: &str, request: libc::Ioctl, value: u32) -> io::Result<u32> {
    let mut argument = Request::new(name, value).ok_or(io::ErrorKind::InvalidInput)?;
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    exchange(&socket, request, &mut argument)?;
    Ok(argument.number())
}

fn failure(what: &'static str, cause: io::Error, name: &str) -> TunError {
    match cause.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => TunError::NotPermitted { what, cause },
        Some(libc::EBUSY) => TunError::Busy {
            name: name.to_owned(),
        },
        _ => TunError::Os { what, cause },
    }
}

/// A request that reads, and may write, an argument in memory.
fn exchange(fd: &impl AsRawFd, request: libc::Ioctl, argument: &mut Request) -> io::Result<()> {
    // SAFETY: `argument` is as large as what these requests read and write.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, core::ptr::from_mut(argument)) })
}

/// A request whose argument is a number.
fn tell(fd: &impl AsRawFd, request: libc::Ioctl, number: libc::c_uint) -> io::Result<()> {
    // SAFETY: touches no memory.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, libc::c_ulong::from(number)) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
