//! Answers per source prefix: token buckets in a table of fixed size.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;
use towline_wire::Time;
use towline_wire::limits::{
    STUN_PER_PREFIX_BURST, STUN_PER_PREFIX_PER_SECOND, STUN_PREFIX_BITS_V4, STUN_PREFIX_BITS_V6,
    STUN_PREFIXES_MAX,
};

const SECOND_NS: u64 = 1_000_000_000;
const COST_NS: u64 = SECOND_NS / STUN_PER_PREFIX_PER_SECOND as u64;
const BURST_NS: u64 = COST_NS * STUN_PER_PREFIX_BURST as u64;

/// One bucket for each prefix that asked lately. A prefix has one place, by a keyed hash: a flood of spoofed sources makes
/// others at most start anew, and costs no search.
pub(super) struct Limiter {
    hash_key: [u8; 16],
    places: Box<[Bucket]>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    prefix_hash: u64,
    /// When all answers so far are paid for, at the lasting rate.
    paid_at_ns: u64,
}

impl Limiter {
    pub(super) fn new(hash_key: [u8; 16]) -> Self {
        Self {
            hash_key,
            places: vec![Bucket::default(); STUN_PREFIXES_MAX].into(),
        }
    }

    pub(super) fn allows(&mut self, now: Time, source: IpAddr) -> bool {
        let hash = self.hash(source);
        let index = hash as usize % self.places.len();
        let bucket = &mut self.places[index];
        if bucket.prefix_hash != hash {
            *bucket = Bucket {
                prefix_hash: hash,
                paid_at_ns: 0,
            };
        }
        let paid_at_ns = bucket.paid_at_ns.max(now.0) + COST_NS;
        if paid_at_ns - now.0 > BURST_NS {
            return false;
        }
        bucket.paid_at_ns = paid_at_ns;
        true
    }

    fn hash(&self, source: IpAddr) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.hash_key);
        match source {
            IpAddr::V4(ip) => {
                hasher.write_u32(ip.to_bits() >> (32 - u32::from(STUN_PREFIX_BITS_V4)))
            }
            IpAddr::V6(ip) => {
                hasher.write_u128(ip.to_bits() >> (128 - u32::from(STUN_PREFIX_BITS_V6)))
            }
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_its_burst_then_its_rate_and_others_their_own() {
        let mut limiter = Limiter::new([3; 16]);
        let now = Time(SECOND_NS);
        let host = |last: u8| IpAddr::from([192, 0, 2, last]);
        let allowed = (0..2 * STUN_PER_PREFIX_BURST)
            .filter(|n| limiter.allows(now, host(*n as u8)))
            .count();
        assert_eq!(allowed, STUN_PER_PREFIX_BURST as usize);
        assert!(limiter.allows(now, IpAddr::from([192, 0, 3, 1])));
        let later = Time(2 * SECOND_NS);
        let allowed = (0..1000).filter(|_| limiter.allows(later, host(1))).count();
        assert_eq!(allowed, STUN_PER_PREFIX_PER_SECOND as usize);
    }
}
