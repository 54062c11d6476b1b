//! The one thing a relay knows of disco, the protocol by which two peers find a direct path: how to
//! tell such a packet from the others. It goes first, and a lost destination is answered only to it.

/// What every disco packet starts with: "TS💬" in UTF-8.
pub const MAGIC: [u8; 6] = [0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac];

/// Magic, sender's disco key, nonce.
pub const HEADER_LEN: usize = MAGIC.len() + 32 + 24;

/// Whether a relayed packet is disco: the magic and at least a whole header (Tailscale's
/// `disco.LooksLikeDiscoWrapper`).
#[must_use]
pub fn is_disco(packet: &[u8]) -> bool {
    packet.len() >= HEADER_LEN && packet.starts_with(&MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disco_is_told_by_magic_and_length() {
        let mut packet = "TS💬".as_bytes().to_vec();
        packet.resize(61, 0);
        assert!(!is_disco(&packet), "one byte short of a header");
        packet.push(0);
        assert!(is_disco(&packet));
        packet[5] ^= 1;
        assert!(!is_disco(&packet));
        assert!(!is_disco(&[]));
    }
}
