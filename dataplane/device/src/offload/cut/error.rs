//! Why a packet of the TUN device is dropped.

/// Why a packet cannot be cut. Each reason has a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CutError {
    /// Shorter than the vnet header and an IP header.
    #[error("packet shorter than its headers")]
    TooShort,
    /// Longer than any IP packet.
    #[error("packet longer than any IP packet")]
    TooLong,
    /// Neither IPv4 nor IPv6.
    #[error("not an IP packet")]
    NotIp,
    /// The lengths in the IP header do not fit the packet.
    #[error("IP lengths do not fit the packet")]
    IpLength,
    /// A kind of super-packet that was not asked for.
    #[error("unknown type of super-packet")]
    GsoType,
    /// A super-packet whose IP version, protocol or being a fragment contradicts its type.
    #[error("super-packet that is not what its type says")]
    GsoProtocol,
    /// A super-packet in segments of no bytes.
    #[error("super-packet with segments of no bytes")]
    GsoSize,
    /// A super-packet whose checksum is not left to us, against the specification of virtio.
    #[error("super-packet that asks for no checksum")]
    ChecksumMissing,
    /// The checksum would be outside the packet, or not in the transport header.
    #[error("checksum not where it must be")]
    ChecksumPlace,
    /// The transport header of a super-packet does not fit.
    #[error("transport header does not fit")]
    TransportHeader,
    /// More headers than a segment may repeat.
    #[error("headers of a super-packet too long")]
    HeadersTooLong,
    /// More segments than a super-packet may have.
    #[error("too many segments")]
    TooManySegments,
}

impl CutError {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 12] = [
        Self::TooShort,
        Self::TooLong,
        Self::NotIp,
        Self::IpLength,
        Self::GsoType,
        Self::GsoProtocol,
        Self::GsoSize,
        Self::ChecksumMissing,
        Self::ChecksumPlace,
        Self::TransportHeader,
        Self::HeadersTooLong,
        Self::TooManySegments,
    ];

    /// The name of the counter.
    #[must_use]
    pub const fn counter(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::NotIp => "not_ip",
            Self::IpLength => "ip_length",
            Self::GsoType => "gso_type",
            Self::GsoProtocol => "gso_protocol",
            Self::GsoSize => "gso_size",
            Self::ChecksumMissing => "checksum_missing",
            Self::ChecksumPlace => "checksum_place",
            Self::TransportHeader => "transport_header",
            Self::HeadersTooLong => "headers_too_long",
            Self::TooManySegments => "too_many_segments",
        }
    }
}
