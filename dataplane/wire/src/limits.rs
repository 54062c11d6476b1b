//! limits
/// DERP protocol version.
pub const PROTOCOL_VERSION: u8 = 2;
/// x
pub const PACKET_BYTES_MAX: usize = 64 << 10;
/// x
pub const PING_BYTES_MIN: usize = 8;
/// x
pub const PING_BYTES_MAX: usize = 1000;
/// x
pub const APP_NAME_BYTES_MAX: usize = 128;
