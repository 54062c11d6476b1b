//! What others ask of a worker, and how a worker ends.

use std::io;
use std::sync::mpsc::SyncSender;

use towline_io::link::LinkPlace;
use towline_io::packet::Family;
use towline_io::udp::Udp;

use crate::uapi::{SetDevice, Snapshot};

/// Why a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Somebody deleted the interface.
    Deleted,
    /// It was stopped.
    Stopped,
}

pub(crate) enum Command {
    /// What `set=1` said of keys and peers; the rest is not the worker's.
    Configure(Box<SetDevice>, SyncSender<()>),
    /// Keys and peers as `get=1` shows them.
    Show(SyncSender<Snapshot>),
    /// Where the interface is.
    Place(SyncSender<io::Result<LinkPlace>>),
    /// Replaces a socket, or takes it away.
    Socket(Family, Option<Udp>, SyncSender<()>),
    /// The interface went up or down.
    Up(bool),
    Mtu(u32),
    Stop,
}
