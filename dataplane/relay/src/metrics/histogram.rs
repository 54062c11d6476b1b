//! Counts of observations by size. Counting allocates nothing; each owner counts for itself and readers add.

use std::ops::AddAssign;

/// How often a value was at most each bound, and above all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    counts: [u64; N],
    above: u64,
    sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// `bounds` ascend.
    pub(crate) const fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            counts: [0; N],
            above: 0,
            sum: 0,
        }
    }

    #[inline]
    pub(crate) fn observe(&mut self, value: u64) {
        self.sum += value;
        let fits = self.bounds.iter().position(|bound| value <= *bound);
        match fits {
            Some(index) => self.counts[index] += 1,
            None => self.above += 1,
        }
    }

    /// Each bound with its own observations, those of smaller bounds not among them.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bounds.iter().copied().zip(self.counts)
    }

    /// Observations above all bounds.
    pub(crate) const fn above(&self) -> u64 {
        self.above
    }

    /// All values, added.
    pub(crate) const fn sum(&self) -> u64 {
        self.sum
    }
}

impl<const N: usize> AddAssign<&Self> for Histogram<N> {
    fn add_assign(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.above += other.above;
        self.sum += other.sum;
    }
}

/// What shards observe of their writes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observations {
    /// Frames in each write to a socket.
    pub(crate) write_frames: Histogram<16>,
    /// Round trips of TCP, in microseconds.
    pub(crate) round_trip_us: Histogram<7>,
}

/// The bounds are those of derper's histograms (derpserver.go), where zero frames are no write here.
impl Default for Observations {
    fn default() -> Self {
        Self {
            write_frames: Histogram::new(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 50, 100]),
            round_trip_us: Histogram::new(&[
                10_000, 20_000, 50_000, 100_000, 150_000, 250_000, 500_000,
            ]),
        }
    }
}

impl AddAssign<&Self> for Observations {
    fn add_assign(&mut self, other: &Self) {
        self.write_frames += &other.write_frames;
        self.round_trip_us += &other.round_trip_us;
    }
}
