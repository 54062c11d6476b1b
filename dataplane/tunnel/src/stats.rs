//! Counters: one for each reason why a datagram or packet goes no further, and what was done for handshakes.

/// What happened to a tunnel since it was made. Counts of datagrams, unless they say otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TunnelStats {
    /// None of the four messages.
    pub malformed: u64,
    /// A handshake message while we have no private key.
    pub no_identity: u64,
    /// A handshake message whose sender does not know our public key.
    pub bad_mac1: u64,
    /// A handshake message that was not made for us, or not by whom it claims.
    pub bad_handshake: u64,
    /// An initiation of somebody who is no peer of ours.
    pub unknown_peer: u64,
    /// An initiation that is no newer than the last one of its peer: a replay.
    pub old_timestamp: u64,
    /// An initiation too soon after the last one of its peer.
    pub initiation_rate: u64,
    /// A handshake message of a source that had its share under load.
    pub source_rate: u64,
    /// A receiver index that nobody has.
    pub unknown_index: u64,
    /// Data for a session that is too old.
    pub expired: u64,
    /// Data whose counter was seen before or is too old.
    pub replayed: u64,
    /// Data whose tag is wrong.
    pub forged: u64,
    /// A cookie reply that answers nothing of ours or is not the peer's.
    pub bad_cookie: u64,

    /// Packets that are neither IPv4 nor IPv6, or shorter than they say.
    pub bad_inner: u64,
    /// Packets whose source is not among the peer's allowed IPs.
    pub source_not_allowed: u64,

    /// Keepalives received.
    pub keepalives_received: u64,
    /// Keepalives sent.
    pub keepalives_sent: u64,
    /// Initiations sent.
    pub initiations_sent: u64,
    /// Initiations that were authentic, so each was answered.
    pub initiations_received: u64,
    /// Responses that were authentic.
    pub responses_received: u64,
    /// Sessions made, in both roles.
    pub sessions: u64,
    /// Initiations sent because a session grew old or had sealed much.
    pub rekeys: u64,
    /// Handshakes that were given up.
    pub handshakes_given_up: u64,
    /// Cookies sent.
    pub cookies_sent: u64,
    /// Cookies received.
    pub cookies_received: u64,

    /// Packets that waited for a session and gave way to newer ones, or whose handshake was given up.
    pub staged_dropped: u64,
    /// Our own messages that nobody fetched.
    pub effects_dropped: u64,
}
