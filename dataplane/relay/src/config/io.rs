//! Driver, its features, and shards.

use std::num::NonZeroU16;

/// How the relay talks to the kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IoConfig {
    /// Which driver.
    pub driver: DriverChoice,
    /// Optional io_uring features that may be used where the kernel has them.
    pub features: IoFeatures,
}

/// Which driver moves bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where it works, else epoll, with a warning that names the cause.
    #[default]
    Auto,
    /// io_uring, or the start fails.
    Uring,
    /// epoll.
    Epoll,
}

/// A set of optional io_uring features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoFeatures(pub u32);

impl IoFeatures {
    /// Everything that the kernel offers.
    pub const ALL: Self = Self(u32::MAX);
    /// Only what the oldest supported kernel has.
    pub const NONE: Self = Self(0);
}

impl Default for IoFeatures {
    fn default() -> Self {
        Self::ALL
    }
}

/// Threads that own connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardsConfig {
    /// How many; `None`: one for each CPU that this process may use.
    pub count: Option<NonZeroU16>,
    /// Bind each shard's thread to one CPU.
    pub pin: bool,
}
