//! What a shard is told at its start: who it is among the shards, and its bounds.

use core::hash::Hasher;
use core::time::Duration;

use siphasher::sip::SipHasher13;
use towline_wire::{NodePublic, limits};

use crate::connected::RateLimit;

/// A shard of the relay, by its place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A connection that this relay opened to another relay of its mesh: its place in the list of mesh
/// members. The lower is preferred where several lead to the same client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UplinkId(pub u8);

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
    /// Keys at most that other relays have and this one has not.
    pub remote_keys_max: u32,
    /// Storage for packets that outlive the turn they came in, shared by all connections.
    pub pool_bytes: usize,
    /// What one connection may keep of `pool_bytes`, disco apart.
    pub queue_bytes_max: u32,
    /// What one connection may keep of `pool_bytes` in disco packets.
    pub disco_queue_bytes_max: u32,
    /// What one uplink may keep of `pool_bytes`, disco apart.
    pub uplink_queue_bytes_max: u32,
    /// From this age on, packets at the head of a queue are dropped ...
    pub queue_age_max: Duration,
    /// ... while the queue holds more than this.
    pub queue_bytes_aged: u32,
    /// Remembered pairs of a receiver and a key it heard from, for `PeerGone`.
    pub heard_max: u32,
    /// Departures kept for watchers and shards that lag, and as many as `remote_keys_max` of keys that
    /// other relays had; a watcher that lags more is closed.
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
            connections_max: limits::SHARD_CONNECTIONS_MAX as u32,
            remote_keys_max: limits::SHARD_REMOTE_KEYS_MAX as u32,
            pool_bytes: limits::QUEUE_POOL_BYTES_DEFAULT,
            queue_bytes_max: limits::QUEUE_DATA_BYTES_MAX as u32,
            disco_queue_bytes_max: limits::QUEUE_DISCO_BYTES_MAX as u32,
            uplink_queue_bytes_max: limits::QUEUE_UPLINK_BYTES_MAX as u32,
            queue_age_max: limits::QUEUE_AGE_MAX,
            queue_bytes_aged: limits::QUEUE_AGED_BYTES_MIN as u32,
            heard_max: limits::SHARD_HEARD_MAX as u32,
            departures_max: limits::SHARD_DEPARTURES_MAX as u32,
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
