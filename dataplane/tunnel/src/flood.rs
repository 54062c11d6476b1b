//! How many handshakes strangers can make us work on. Below a rate that costs little, everybody is served at once.
//! Above it, senders must first show by a cookie that they receive at their address, and then each source has a rate
//! of its own. So a flood from spoofed addresses costs a hash and a cookie reply for each message, and a flood from a
//! real one is cut to the rate of one source; others get in.

use core::net::IpAddr;
use std::collections::HashMap;

use siphasher::sip::SipHasher13;
use towline_wire::Time;
use towline_wire::limits::{
    HANDSHAKE_SOURCE_BITS_V6, HANDSHAKE_SOURCES_MAX, HANDSHAKES_BURST, HANDSHAKES_PER_SECOND,
    HANDSHAKES_PER_SOURCE_BURST, HANDSHAKES_PER_SOURCE_PER_SECOND, UNDER_LOAD_TIME,
};

use crate::siphash::Keyed;

const SECOND_NS: u64 = 1_000_000_000;

pub(crate) struct Flood {
    all: Bucket,
    under_load_until: Time,
    sources: HashMap<IpAddr, Bucket, Keyed>,
    swept: Time,
}

/// What becomes of a handshake message whose `mac1` is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is worked on.
    Work,
    /// The sender is sent a cookie.
    Cookie,
    /// Its source has had its share.
    Drop,
}

impl Flood {
    pub(crate) fn new(hash_key: [u8; 16], now: Time) -> Self {
        Self {
            all: Bucket::default(),
            under_load_until: Time::ZERO,
            sources: HashMap::with_hasher(Keyed(SipHasher13::new_with_key(&hash_key))),
            swept: now,
        }
    }

    /// `has_mac2` is asked only under load.
    pub(crate) fn judge(
        &mut self,
        from: IpAddr,
        now: Time,
        has_mac2: impl FnOnce() -> bool,
    ) -> Verdict {
        if now >= self.under_load_until {
            if self.all.take(HANDSHAKES_PER_SECOND, HANDSHAKES_BURST, now) {
                return Verdict::Work;
            }
            self.under_load_until = now + UNDER_LOAD_TIME;
        } else if !self.all.take(HANDSHAKES_PER_SECOND, HANDSHAKES_BURST, now) {
            self.under_load_until = now + UNDER_LOAD_TIME;
        }
        if !has_mac2() {
            Verdict::Cookie
        } else if self.source_may(from, now) {
            Verdict::Work
        } else {
            Verdict::Drop
        }
    }

    fn source_may(&mut self, from: IpAddr, now: Time) -> bool {
        let source = prefix(from);
        self.sweep(now);
        if self.sources.len() >= HANDSHAKE_SOURCES_MAX && !self.sources.contains_key(&source) {
            return false;
        }
        self.sources.entry(source).or_default().take(
            HANDSHAKES_PER_SOURCE_PER_SECOND,
            HANDSHAKES_PER_SOURCE_BURST,
            now,
        )
    }

    /// Forgets, once a second, the sources whose bucket is full again.
    fn sweep(&mut self, now: Time) {
        if now.0.saturating_sub(self.swept.0) < SECOND_NS {
            return;
        }
        self.swept = now;
        self.sources.retain(|_, bucket| bucket.full > now);
    }
}

/// A token bucket, kept as the time at which it is full again (GCRA).
#[derive(Clone, Copy, Default)]
struct Bucket {
    full: Time,
}

impl Bucket {
    fn take(&mut self, per_second: u32, burst: u32, now: Time) -> bool {
        let token_ns = SECOND_NS / u64::from(per_second);
        let full = self.full.max(now).0 + token_ns;
        let taken = full - now.0 <= token_ns * u64::from(burst);
        if taken {
            self.full = Time(full);
        }
        taken
    }
}

/// What counts as one source. A socket of both families shows IPv4 hosts as mapped addresses.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let kept = !(u128::MAX >> HANDSHAKE_SOURCE_BITS_V6);
            IpAddr::V6((v6.to_bits() & kept).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Time = Time(SECOND_NS);

    fn v4(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_quiet_time_asks_for_nothing_and_a_flood_for_cookies() {
        let mut flood = Flood::new([1; 16], SECOND);
        let verdicts: Vec<_> = (0..20_000)
            .map(|n| flood.judge(v4(1), Time(SECOND_NS + n * 50_000), || false))
            .collect();
        let worked = verdicts.iter().filter(|v| **v == Verdict::Work).count();
        assert!(
            (250..=260).contains(&worked),
            "{worked} in the first second"
        );
        assert_eq!(verdicts[19_999], Verdict::Cookie);
        let later = Time(4 * SECOND_NS);
        assert_eq!(flood.judge(v4(1), later, || false), Verdict::Work);
    }

    #[test]
    fn a_source_with_a_cookie_has_its_share_and_leaves_that_of_others() {
        let mut flood = Flood::new([1; 16], SECOND);
        while flood.judge(v4(1), SECOND, || false) == Verdict::Work {}
        let served = (0..100)
            .filter(|_| flood.judge(v4(1), SECOND, || true) == Verdict::Work)
            .count();
        assert_eq!(served, HANDSHAKES_PER_SOURCE_BURST as usize);
        assert_eq!(flood.judge(v4(2), SECOND, || true), Verdict::Work);
        assert_eq!(flood.judge(v4(1), SECOND, || true), Verdict::Drop);
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let one = |text: &str| prefix(text.parse().unwrap());
        assert_eq!(one("2001:db8:1:2:3::4"), one("2001:db8:1:2:ffff::"));
        assert_ne!(one("2001:db8:1:2::"), one("2001:db8:1:3::"));
        assert_ne!(one("::ffff:192.0.2.1"), one("::ffff:192.0.2.2"));
        assert_eq!(one("::ffff:192.0.2.1"), v4(1));
    }

    #[test]
    fn the_table_of_sources_is_bounded_and_forgets() {
        let mut flood = Flood::new([1; 16], SECOND);
        for n in 0..2 * HANDSHAKE_SOURCES_MAX as u32 {
            flood.source_may(IpAddr::V4((0x0a00_0000 + n).into()), SECOND);
        }
        assert_eq!(flood.sources.len(), HANDSHAKE_SOURCES_MAX);
        assert!(flood.source_may(v4(1), Time(3 * SECOND_NS)));
        assert_eq!(flood.sources.len(), 1);
    }
}
