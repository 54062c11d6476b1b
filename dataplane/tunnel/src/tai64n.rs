//! Timestamps of initiations: TAI64N, big endian, so that later ones compare greater. The nanoseconds are cut to
//! 2^24 (17 ms), as in the kernel, so that they tell nothing of the clock's finer drift.

use core::time::Duration;

use towline_wire::wireguard::TIMESTAMP_LEN;

/// Seconds of TAI64 at the Unix epoch: 2^62, and the 10 s between TAI and UTC of then.
const EPOCH: u64 = 0x4000_0000_0000_000a;
const NANOSECONDS_KEPT: u32 = !((1 << 24) - 1);

pub(crate) fn timestamp(since_unix_epoch: Duration) -> [u8; TIMESTAMP_LEN] {
    let seconds = EPOCH.wrapping_add(since_unix_epoch.as_secs());
    let nanoseconds = since_unix_epoch.subsec_nanos() & NANOSECONDS_KEPT;
    let mut bytes = [0; TIMESTAMP_LEN];
    bytes[..8].copy_from_slice(&seconds.to_be_bytes());
    bytes[8..].copy_from_slice(&nanoseconds.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ones_compare_greater_and_show_no_fine_time() {
        let steps = [0, 20, 40, 999, 1000, 5000, 86_400_000, 1_700_000_000_000];
        let stamps = steps.map(|ms| timestamp(Duration::from_millis(ms)));
        assert!(stamps.is_sorted_by(|a, b| a < b));
        assert_eq!(stamps[0], [0x40, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0]);
        let fine = timestamp(Duration::from_nanos(16_777_215));
        assert_eq!(fine, stamps[0]);
    }
}
