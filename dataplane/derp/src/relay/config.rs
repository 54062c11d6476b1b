//! What a shard is told at its start: who it is among the shards, and its bounds.

use core::hash::Hasher;
use core::time::Duration;

use siphasher::sip::SipHasher13;
use towline_wire::NodePublic;

use crate::connected::RateLimit;

/// A shard of the relay, by its place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A connection that this relay opened to another relay of its mesh: its place in the list of mesh
/// members. The lower is preferred where several lead to the same client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UplinkId(pub u8);

/// How many uplinks a relay may have; a key's forwarders are the bits of one `u64`.
pub const UPLINKS_MAX: u8 = 64;

/// The identity and the bounds of one shard. Memory is reserved for the bounds, and touched as used.
#[derive(Clone)]
pub struct ShardConfig {
    /// This shard.
    pub shard: ShardId,
    /// How many there are; the same for all of them, at least one.
    pub shards: u16,
    /// Secret of the keyed hash that spreads keys over shards and tables, the same for all shards:
    /// clients choose their keys, and must not be able to choose their neighbours.
    pub hash_key: [u8; 16],
    /// The relay's own key: a watcher with this key is the relay itself and is told nothing.
    pub server_key: NodePublic,
    /// Connections at most.
    pub connections_max: u32,
    /// Keys at most: local clients, clients of other relays, and those whose departure is still told.
    pub keys_max: u32,
    /// Storage for packets that outlive the turn they came in, shared by all connections.
    pub pool_bytes: usize,
    /// What one connection may keep of `pool_bytes`, disco apart.
    pub queue_bytes_max: u32,
    /// What one connection may keep of `pool_bytes` in disco packets.
    pub disco_queue_bytes_max: u32,
    /// From this age on, packets at the head of a queue are dropped ...
    pub queue_age_max: Duration,
    /// ... while the queue holds more than this.
    pub queue_bytes_aged: u32,
    /// Remembered pairs of a receiver and a key it heard from, for `PeerGone`.
    pub heard_max: u32,
    /// Departures kept for watchers and shards that lag; a watcher that lags more is closed.
    pub departures_max: u32,
    /// Limit of clients that have none of their own; mesh peers have none.
    pub rate_limit: Option<RateLimit>,
}

impl ShardConfig {
    /// A shard with the default bounds.
    #[must_use]
    pub const fn new(
        shard: ShardId,
        shards: u16,
        hash_key: [u8; 16],
        server_key: NodePublic,
    ) -> Self {
        Self {
            shard,
            shards,
            hash_key,
            server_key,
            connections_max: 1 << 17,
            keys_max: 1 << 18,
            pool_bytes: 64 << 20,
            queue_bytes_max: 512 << 10,
            disco_queue_bytes_max: 64 << 10,
            queue_age_max: Duration::from_millis(100),
            queue_bytes_aged: 64 << 10,
            heard_max: 1 << 20,
            departures_max: 1 << 16,
            rate_limit: None,
        }
    }

    /// The keyed hash that decides which shard owns a key, and its place in that shard's tables.
    #[must_use]
    pub fn key_hash(&self, key: &NodePublic) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.hash_key);
        hasher.write(&key.0);
        hasher.finish()
    }

    /// The shard that owns `key` and all connections of it.
    #[must_use]
    pub fn owner(&self, key: &NodePublic) -> ShardId {
        self.owner_of_hash(self.key_hash(key))
    }

    /// The shard that runs this uplink. It is fixed, so that what one incarnation of the uplink told
    /// the other shards always arrives before what the next one tells them.
    #[must_use]
    pub const fn uplink_owner(&self, uplink: UplinkId) -> ShardId {
        ShardId(uplink.0 as u16 % self.shards)
    }

    /// The upper half of the hash chooses the shard, the lower half the place in its tables.
    pub(super) const fn owner_of_hash(&self, hash: u64) -> ShardId {
        ShardId((((hash >> 32) * self.shards as u64) >> 32) as u16)
    }
}
