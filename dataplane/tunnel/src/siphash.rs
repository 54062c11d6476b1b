//! A keyed hasher for tables whose keys strangers may choose.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

#[derive(Clone, Copy)]
pub(crate) struct Keyed(pub(crate) SipHasher13);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        self.0
    }
}
