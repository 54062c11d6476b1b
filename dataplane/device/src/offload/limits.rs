//! Every cap of cutting and joining, with its source.

use super::ip::{IPV6_BYTES, TCP_BYTES_MAX, UDP_BYTES};

/// Bytes of the longest packet without a jumbo payload: an IPv6 header and what its 16-bit length can say.
pub const PACKET_BYTES_MAX: usize = IPV6_BYTES + u16::MAX as usize;

/// IP, extension and transport headers of a super-packet, which every segment repeats. Ours: a segment routing header of
/// a dozen hops fits.
pub const CUT_HEADER_BYTES_MAX: usize = 512;

/// Segments of a super-packet. The least a Linux peer can ask for is `tcp_min_snd_mss`, 48, of which timestamps take
/// 12: 65,535 bytes in pieces of 36.
pub const CUT_SEGMENTS_MAX: usize = 2048;

/// Extension headers that are walked to a transport header. Ours: RFC 8200 section 4.1 names each once, destination
/// options twice.
pub const EXTENSION_HEADERS_MAX: usize = 8;

/// Bytes of a joined packet: what the length of an IPv4 header can say, kept for IPv6 too.
pub const JOIN_BYTES_MAX: usize = u16::MAX as usize;

/// Datagrams of a UDP join: `UDP_MAX_SEGMENTS` of kernels before 6.9 (include/linux/udp.h).
pub const JOIN_UDP_SEGMENTS_MAX: usize = 64;

/// Segments of a TCP join. Ours: full ones end at 47; with small ones the pieces of a write stay far below `IOV_MAX`,
/// 1024.
pub const JOIN_TCP_SEGMENTS_MAX: usize = 128;

/// Flows whose joins are open at a time. Ours: more are seldom in one batch, and the one that is forgotten only starts a
/// new join.
pub const OPEN_JOINS_MAX: usize = 32;

const _: () = assert!(IPV6_BYTES + TCP_BYTES_MAX < CUT_HEADER_BYTES_MAX);
const _: () = assert!(CUT_SEGMENTS_MAX * (48 - 12) >= u16::MAX as usize);
const _: () = assert!(JOIN_BYTES_MAX <= PACKET_BYTES_MAX);
const _: () = assert!(JOIN_TCP_SEGMENTS_MAX < 1024 && JOIN_UDP_SEGMENTS_MAX < 1024);
const _: () = assert!(IPV6_BYTES + UDP_BYTES < JOIN_BYTES_MAX);
