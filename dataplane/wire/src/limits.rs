//! Every cap and timeout of the data plane, each with its source; the relations between them are
//! checked when this file is compiled.
//!
//! "derper" as a source means that stock clients and operators count on the value. Values that an
//! operator can change are named `…_DEFAULT`.

use core::time::Duration;

use crate::disco;
use crate::frame::HEADER_LEN;
use crate::key::KEY_LEN;

// ---- DERP frames -------------------------------------------------------------------------------

/// Version of the protocol, in the meta certificate, the HTTP answer and the boxes (derp.go).
pub const PROTOCOL_VERSION: u8 = 2;

/// Bytes of a relayed packet, keys not counted (`derp.MaxPacketSize`). A longer one ends the
/// connection that sends it.
pub const PACKET_BYTES_MAX: usize = 64 << 10;

/// Body of the longest frame that a client accepts (derp_client.go). A server keeps no frame of
/// unknown type, so it skips them at any length.
pub const FRAME_BODY_BYTES_MAX: usize = 1 << 20;

/// Body of ServerKey: magic, key, and room for the future (derp_client.go).
pub const SERVER_KEY_BODY_BYTES_MAX: usize = 1 << 10;

/// Body of ClientInfo: key and nonce at least (derpserver.go).
pub const CLIENT_INFO_BODY_BYTES_MIN: usize = KEY_LEN + 24;

/// Body of ClientInfo as a server accepts it; it comes from strangers (derpserver.go).
pub const CLIENT_INFO_BODY_BYTES_MAX: usize = 256 << 10;

/// Body of ServerInfo (`derp.MaxInfoLen`).
pub const SERVER_INFO_BODY_BYTES_MAX: usize = 1 << 20;

/// Bytes of a ping that are echoed (derp.go).
pub const PING_BYTES_MIN: usize = 8;

/// Body of a ping; what exceeds `PING_BYTES_MIN` is ignored (derpserver.go).
pub const PING_BYTES_MAX: usize = 1000;

/// Bytes of `AppName` that are kept for the life of a connection. Ours; derper keeps all of it.
pub const APP_NAME_BYTES_MAX: usize = 128;

const _: () = assert!(FRAME_BODY_BYTES_MAX >= SERVER_INFO_BODY_BYTES_MAX);
const _: () = assert!(FRAME_BODY_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(CLIENT_INFO_BODY_BYTES_MIN < CLIENT_INFO_BODY_BYTES_MAX);
const _: () = assert!(PING_BYTES_MIN <= PING_BYTES_MAX);

// ---- HTTP --------------------------------------------------------------------------------------

/// Bytes of a request or response head. Ours; Go's default is 1 MiB, and real ones are under 1 KiB.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;

/// Header fields of a head. Ours; browsers behind proxies send about 40.
pub const HTTP_HEADERS_MAX: usize = 100;

/// Body of a request, which no endpoint reads: it is skipped, or the connection closed past this.
pub const HTTP_REQUEST_BODY_BYTES_MAX: usize = 4 << 10;

/// Answers that wait to be sent; a client that asks on without reading is then cut off. Ours: a
/// dozen pages.
pub const HTTP_OUTPUT_BYTES_MAX: usize = 32 << 10;

/// Reading a request, writing its answer, and waiting for the next one, each (derper's server).
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of `X-Tailscale-Challenge` that `/generate_204` echoes (derper).
pub const CHALLENGE_BYTES_MAX: usize = 64;

/// How often names for `/bootstrap-dns` are resolved (derper).
pub const BOOTSTRAP_DNS_REFRESH: Duration = Duration::from_secs(10 * 60);

const _: () = assert!(CHALLENGE_BYTES_MAX < HTTP_HEAD_BYTES_MAX);

// ---- Handshake ---------------------------------------------------------------------------------

/// The TLS handshake. Ours; Go allows the 30 s of `HTTP_TIMEOUT`, and clients give up after
/// `DIAL_TIMEOUT`.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The header of the PROXY protocol, extensions included. Ours; the protocol allows 64 KiB, and real ones have
/// under 1 KiB.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 << 10;

/// Sending ServerKey, and reading ClientInfo, each (derpserver.go).
pub const DERP_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that a client may have sent beyond the request that its handshake waits for our answer to:
/// packets right behind ClientInfo while admission is asked. Ours.
pub const HANDSHAKE_WAITING_BYTES_MAX: usize = 64 << 10;

/// Bytes that one WebSocket frame may announce. Ours, and only sanity: a frame is a piece of a stream,
/// nothing is allocated for it.
pub const WEBSOCKET_FRAME_BYTES_MAX: u64 = 16 << 20;

/// A client's whole way from TCP to ServerInfo (derphttp_client.go).
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections between accept and admission, all sources together. Then the source with most gives
/// way to others, and is itself refused. Ours: with the deadlines above, 4096 strangers who say nothing,
/// each from elsewhere, hold the pool for 10 s on TLS ports, for 30 s on others, and no longer.
pub const HALF_OPEN_MAX_DEFAULT: usize = 4096;

const _: () = assert!(before(TLS_HANDSHAKE_TIMEOUT, HTTP_TIMEOUT));
const _: () = assert!(
    HALF_OPEN_MAX_DEFAULT * (HTTP_HEAD_BYTES_MAX + HEADER_LEN + CLIENT_INFO_BODY_BYTES_MAX)
        <= 2 << 30,
    "all half-open connections together, each with the most it may have sent"
);

// ---- Connections -------------------------------------------------------------------------------

/// A server's KeepAlive goes out when it has written nothing for so long (`derp.KeepAlive`) …
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// … plus a share of this that is chosen for each connection, so that a herd of clients that came
/// together does not wake together (derpserver.go).
pub const KEEPALIVE_JITTER_MAX: Duration = Duration::from_secs(5);

/// A client gives up a server that says nothing for so long (derp_client.go).
pub const CLIENT_READ_TIMEOUT: Duration = Duration::from_secs(120);

/// A reader that takes nothing for so long is closed (derper's `-tcp-write-timeout`).
pub const WRITE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// The same for a reader with the mesh key (derpserver.go).
pub const MESH_WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The kernel gives up unacknowledged data after this (derper's `-tcp-user-timeout`).
pub const TCP_USER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);

/// TCP's own keepalive on idle connections (derper's `-tcp-keepalive-time`).
pub const TCP_KEEPALIVE_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// Bytes that the kernel takes beyond what is in flight (`TCP_NOTSENT_LOWAT`). Ours: one full TLS
/// record with its overhead, so that a record is never the thing that waits, and little else is.
pub const TCP_NOTSENT_LOWAT_BYTES: usize = 16 * 1024 + 512;

const _: () = assert!(
    ms(KEEPALIVE_INTERVAL) + ms(KEEPALIVE_JITTER_MAX) + ms(TCP_USER_TIMEOUT_DEFAULT)
        < ms(CLIENT_READ_TIMEOUT),
    "a keepalive that is retransmitted until the kernel gives up still comes in time"
);
const _: () = assert!(before(KEEPALIVE_JITTER_MAX, KEEPALIVE_INTERVAL));
const _: () = assert!(before(WRITE_TIMEOUT_DEFAULT, TCP_USER_TIMEOUT_DEFAULT));
const _: () = assert!(before(WRITE_TIMEOUT_DEFAULT, MESH_WRITE_TIMEOUT));

// ---- Queues of one destination -----------------------------------------------------------------

/// Packets that outlive the turn they came in are kept in chains of blocks of this size: small, so that
/// a disco packet does not keep much more alive than itself. Queues are charged in whole blocks.
pub const QUEUE_BLOCK_BYTES: usize = 512;

/// Data that waits for one destination. derper holds 32 packets, so this holds 32 of the largest; `derpprobe` keeps 30 under way.
pub const QUEUE_DATA_BYTES_MAX: usize = 2304 << 10;

/// Disco that waits for one destination; it goes before data. Ours; derper holds 32 packets.
pub const QUEUE_DISCO_BYTES_MAX: usize = 32 << 10;

/// Data that waits for one relay of the mesh, which is a destination for many clients. Ours.
pub const QUEUE_UPLINK_BYTES_MAX: usize = 4 << 20;

/// At this age packets are dropped at the head of a queue … Ours: a reader at 20 Mbit/s gets no packet of ordinary size
/// that is older than 150 ms, the kernel's share included.
pub const QUEUE_AGE_MAX: Duration = Duration::from_millis(100);

/// … while the queue holds more than this, and more than `QUEUE_PACKETS_SHORT` packets like the oldest: short queues are
/// kept for readers that only stumble. Ours: a little more than derper holds.
pub const QUEUE_AGED_BYTES_MIN: usize = 64 << 10;

/// A queue of so few packets is short however long they are. What derper holds: senders of large packets, such as a prober
/// of bandwidth, keep nearly as many under way.
pub const QUEUE_PACKETS_SHORT: u32 = 32;

/// Blocks of all queues of one shard together, and of the frames that are being put together. Ours:
/// 28 full queues.
pub const QUEUE_POOL_BYTES_DEFAULT: usize = 64 << 20;

/// One connection may fill this part of the free blocks. Ours: many that read slowly share what there
/// is, and always leave room for others.
pub const QUEUE_SHARE_OF_FREE: usize = 4;

/// Packets that wait in receive buffers, beyond those that fill all blocks. Ours: what all buffers of
/// a turn hold of the smallest packets.
pub const QUEUE_UNSETTLED_MAX: usize = 16 << 10;

/// Frames that were begun and not finished take at most this part of all blocks together. Ours: whoever begins many can
/// cost others frames that are cut, but never their queues.
pub const UNFINISHED_SHARE: usize = 2;

/// A client that began a frame and then says nothing for so long is closed when it is next looked at, which is at its
/// keepalive. Ours.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that a sender's flow may send in its turn. Ours: one full-sized packet, so that a sender of
/// little waits for no more than one from each of the others.
pub const QUEUE_TURN_BYTES: usize = 2 << 10;

/// Bytes of disco after which one waiting data packet is let through. Ours: disco goes first, but a
/// flood of it must not shut data out.
pub const QUEUE_DISCO_RUN_BYTES: usize = 16 << 10;

/// Answers "not here" that wait for one client; it needs no more of them. Ours.
pub const QUEUE_NOT_HERE_MAX: usize = 4;

/// Changes of presence that are on their way from one shard to one watcher; the others stay in the
/// shard's table until these are written. Ours: one TLS record of them.
pub const WATCH_WINDOW: usize = 256;

const _: () = assert!(
    QUEUE_DATA_BYTES_MAX >= 4 * PACKET_BYTES_MAX,
    "the largest packet of one sender leaves room for those of others"
);
const _: () = assert!(
    QUEUE_DISCO_BYTES_MAX >= 32 * QUEUE_BLOCK_BYTES,
    "as many as derper"
);
const _: () = assert!(QUEUE_DISCO_BYTES_MAX < QUEUE_DATA_BYTES_MAX);
const _: () = assert!(QUEUE_AGED_BYTES_MIN >= 32 * 1500, "as many as derper");
const _: () = assert!(QUEUE_AGED_BYTES_MIN < QUEUE_DATA_BYTES_MAX);
const _: () = assert!(QUEUE_POOL_BYTES_DEFAULT >= QUEUE_SHARE_OF_FREE * QUEUE_UPLINK_BYTES_MAX);
const _: () = assert!(QUEUE_TURN_BYTES >= HEADER_LEN + KEY_LEN + 1500);
const _: () = assert!(
    QUEUE_BLOCK_BYTES >= 2 * KEY_LEN + disco::HEADER_LEN,
    "keys and the start of a packet lie in the first block of a frame"
);

// ---- Tables of one shard ------------------------------------------------------------------------

/// Connections of one shard. Ours: memory for them is reserved, and touched as they come.
pub const SHARD_CONNECTIONS_MAX: usize = 128 << 10;

/// Keys that one shard owns and other relays of the mesh have.
pub const SHARD_REMOTE_KEYS_MAX: usize = 128 << 10;

/// Remembered pairs of a receiver and a key that it heard from. Ours: eight for each connection.
pub const SHARD_HEARD_MAX: usize = 1 << 20;

/// Keys that left this relay and whose departure is still being told; who holds up more is not told any
/// more. Of keys that other relays had, as many as `SHARD_REMOTE_KEYS_MAX`: they may all be lost at once.
pub const SHARD_DEPARTURES_MAX: usize = 64 << 10;

/// Short notices that wait for connections, all together.
pub const SHARD_NOTICES_MAX: usize = 64 << 10;

/// Mesh peers that watch one shard, of all shards.
pub const SHARD_WATCHERS_MAX: usize = 1 << 10;

/// Messages for other shards that must not be lost and wait for room; with more of them, mesh peers
/// are not read from …
pub const SHARD_OUTBOX_CROWDED: usize = 1 << 10;

/// … and one that makes it so many all the same is closed. Ours: what one pause takes to work.
pub const SHARD_OUTBOX_MAX: usize = 16 << 10;

/// When a full mailbox of another shard is tried again, if nothing else happens before.
pub const SHARD_OUTBOX_RETRY: Duration = Duration::from_millis(1);

const _: () = assert!(SHARD_NOTICES_MAX >= 64 * WATCH_WINDOW);
const _: () = assert!(SHARD_OUTBOX_MAX >= 4 * SHARD_OUTBOX_CROWDED);

// ---- Connections of one key ----------------------------------------------------------------------

/// Connections with one key; the one that said nothing for longest is closed for one more. Ours;
/// derper keeps any number of them.
pub const DUPLICATES_MAX: usize = 64;

/// So many times the active one of them changes … Ours.
pub const FIGHT_TURNS: u32 = 4;

/// … within this time before they are told that they fight; without a change for as long, they do not.
pub const FIGHT_SPAN: Duration = Duration::from_secs(60);

/// A client that names its home within this time after it connected did not move (derpserver.go).
pub const HOME_SETTLED: Duration = Duration::from_secs(5);

// ---- Rates of one client -----------------------------------------------------------------------

/// PeerGone(not-here) answers to one client (derpserver.go) …
pub const NOT_HERE_PER_SECOND: u32 = 1;

/// … and how many of them at once.
pub const NOT_HERE_BURST: u32 = 3;

/// The least burst of a receive limit: one largest SendPacket, as in derper, where a
/// smaller one could never pass (derpserver.go).
pub const RATE_BURST_BYTES_MIN: usize = PACKET_BYTES_MAX + KEY_LEN;

const _: () = assert!(NOT_HERE_PER_SECOND <= NOT_HERE_BURST);

// ---- Mesh --------------------------------------------------------------------------------------

/// Mesh keys that are valid together: the old and the new one of a rotation.
pub const MESH_KEYS_MAX: usize = 2;

/// Other relays that one relay connects to. Ours: those that have a key are the bits of one word.
pub const UPLINKS_MAX: usize = 64;

/// Pause before a lost relay of the mesh is dialled again (mesh_client.go).
pub const MESH_RETRY_INTERVAL: Duration = Duration::from_secs(5);

// ---- Admission ---------------------------------------------------------------------------------

/// The whole exchange with the admission callback (derper).
pub const ADMISSION_TIMEOUT: Duration = Duration::from_secs(5);

/// Body of the callback's answer (derper).
pub const ADMISSION_BODY_BYTES_MAX: usize = 4 << 10;

/// Questions to the callback under way; a client that would ask one more waits for its turn. Ours.
pub const ADMISSION_IN_FLIGHT_MAX: usize = 64;

/// Those of them that may be about keys the callback has not allowed before, so that a slow one is not
/// kept busy by strangers. Ours.
pub const ADMISSION_STRANGERS_MAX: usize = 48;

/// Keys whose verdict is remembered. Ours: about 100 bytes each.
pub const ADMISSION_CACHE_ENTRIES_MAX: usize = 64 << 10;

/// How long a verdict is taken from the cache without asking. Ours: reconnecting clients are served
/// at once, a revoked key is known soon.
pub const ADMISSION_FRESH_DEFAULT: Duration = Duration::from_secs(60);

/// How long a known key is still admitted while the callback does not answer. Ours.
pub const ADMISSION_KEEP_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// How often each connected client is asked about again. Ours: of 10,000 clients 33 questions a second.
pub const ADMISSION_RECHECK_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Such questions under way, so that clients that arrive find places. Ours.
pub const ADMISSION_RECHECKS_MAX: usize = 8;

const _: () = assert!(
    ADMISSION_STRANGERS_MAX + ADMISSION_RECHECKS_MAX < ADMISSION_IN_FLIGHT_MAX,
    "known keys that come back find places beside both"
);
const _: () = assert!(
    ms(ADMISSION_TIMEOUT) < ms(DIAL_TIMEOUT),
    "the verdict comes while the client still waits for it"
);
const _: () = assert!(before(ADMISSION_FRESH_DEFAULT, ADMISSION_KEEP_DEFAULT));

// ---- STUN --------------------------------------------------------------------------------------

/// UDP port of STUN (RFC 8489 section 18.7).
pub const STUN_PORT: u16 = 3478;

/// Longest request that is read. Ours: what fits a packet on any IPv6 path (RFC 8489 section 6.1).
pub const STUN_REQUEST_BYTES_MAX: usize = 1280;

/// Answers to one source prefix, whose hosts share a fate as the target of a reflection. Ours: a
/// client of Tailscale asks a few times each 20 to 30 s.
pub const STUN_PER_PREFIX_PER_SECOND: u32 = 100;

/// Answers to one source prefix at once.
pub const STUN_PER_PREFIX_BURST: u32 = 500;

/// Bits of an IPv4 source prefix.
pub const STUN_PREFIX_BITS_V4: u8 = 24;

/// Bits of an IPv6 source prefix.
pub const STUN_PREFIX_BITS_V6: u8 = 56;

/// Prefixes that are watched at a time; spoofed sources cannot make the table grow.
pub const STUN_PREFIXES_MAX: usize = 64 << 10;

const _: () = assert!(STUN_PER_PREFIX_PER_SECOND <= STUN_PER_PREFIX_BURST);
const _: () = assert!(STUN_PREFIX_BITS_V4 <= 32 && STUN_PREFIX_BITS_V6 <= 128);

// ---- WireGuard ---------------------------------------------------------------------------------

/// An initiator replaces a session of this age … (whitepaper section 6.1)
pub const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);

/// … and nobody uses one of this age.
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);

/// A session that has sealed so many messages is replaced … (whitepaper section 6.1)
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;

/// … and with so many it is not used any more (whitepaper section 6.1: 2^64 - 2^13 - 1, a window before the end).
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// How long an unanswered handshake is tried again (whitepaper section 6.1) …
pub const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);

/// … each time after this, which is also the least time between two initiations to one peer …
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

/// … plus a random part of this, so that two peers do not collide for ever (messages.h).
pub const REKEY_TIMEOUT_JITTER_MAX: Duration = Duration::from_millis(333);

/// A peer that received data and has nothing to say sends a keepalive after this (whitepaper section 6.1).
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Keys that nothing replaced are wiped after this (timers.c).
pub const WIPE_AFTER_TIME: Duration = Duration::from_secs(3 * 180);

/// The secret behind cookies lives so long, and so does a cookie (messages.h) …
pub const COOKIE_SECRET_AGE_MAX: Duration = Duration::from_secs(120);

/// … less this at the side that was given it, since it was under way (messages.h).
pub const COOKIE_SECRET_LATENCY: Duration = Duration::from_secs(5);

/// Counters behind the highest one that are still accepted, once each (messages.h: 8192 bits, of which one word
/// is being filled).
pub const REPLAY_WINDOW: u64 = REPLAY_BITS as u64 - u64::BITS as u64;

/// Bits of the replay window (messages.h).
pub const REPLAY_BITS: usize = 8192;

/// Initiations of one peer that are answered, per second (messages.h).
pub const INITIATIONS_PER_SECOND: u32 = 50;

/// Peers of one tunnel (messages.h: 2^20).
pub const TUNNEL_PEERS_MAX: usize = 1 << 20;

/// Allowed IPs of one tunnel. Ours: four for each of the most peers; about 100 bytes each.
pub const TUNNEL_ALLOWED_IPS_MAX: usize = 4 << 20;

/// Packets that wait for a session of one peer (messages.h) …
pub const STAGED_PACKETS_MAX: usize = 128;

/// … and their bytes. Ours: as many of 1500 bytes.
pub const STAGED_BYTES_MAX: usize = 192 << 10;

/// Bytes of all packets that wait in a tunnel. Ours: 170 peers with all they may have.
pub const STAGED_TUNNEL_BYTES_MAX: usize = 32 << 20;

/// Handshake messages that are worked on per second before senders must show a cookie. Ours: the first step of one
/// costs about 50 us, so strangers get at most 2.5 % of a core …
pub const HANDSHAKES_PER_SECOND: u32 = 500;

/// … and so many at once, such as the peers of a gateway that was restarted. Ours.
pub const HANDSHAKES_BURST: u32 = 250;

/// Under load a cookie is demanded for so long after it was last too much (receive.c).
pub const UNDER_LOAD_TIME: Duration = Duration::from_secs(1);

/// With a valid cookie: handshake messages of one source per second (ratelimiter.c) …
pub const HANDSHAKES_PER_SOURCE_PER_SECOND: u32 = 20;

/// … and at once (ratelimiter.c).
pub const HANDSHAKES_PER_SOURCE_BURST: u32 = 5;

/// Sources that are watched at a time. Ours: only hosts that answer to their address get in, 64 bytes each.
pub const HANDSHAKE_SOURCES_MAX: usize = 16 << 10;

/// Bits of an IPv6 source that count as one (ratelimiter.c); of an IPv4 source all.
pub const HANDSHAKE_SOURCE_BITS_V6: u8 = 64;

/// Messages that wait to be fetched by the driver. Ours: what a turn of the largest trains of junk can provoke.
pub const TUNNEL_EFFECTS_MAX: usize = 4 << 10;

const _: () = assert!(before(REKEY_AFTER_TIME, REJECT_AFTER_TIME));
const _: () = assert!(REKEY_AFTER_MESSAGES < REJECT_AFTER_MESSAGES);
const _: () = assert!(ms(WIPE_AFTER_TIME) == 3 * ms(REJECT_AFTER_TIME));
const _: () = assert!(
    ms(KEEPALIVE_TIMEOUT) + ms(REKEY_TIMEOUT) < ms(REJECT_AFTER_TIME) - ms(REKEY_AFTER_TIME),
    "a session that is heard of shortly before its end is replaced in time"
);
const _: () = assert!(before(REKEY_TIMEOUT_JITTER_MAX, REKEY_TIMEOUT));
const _: () = assert!(before(COOKIE_SECRET_LATENCY, COOKIE_SECRET_AGE_MAX));
const _: () = assert!(REPLAY_BITS.is_power_of_two());
const _: () = assert!(STAGED_BYTES_MAX < STAGED_TUNNEL_BYTES_MAX);

// ---- Drain -------------------------------------------------------------------------------------

/// Time over which a drain spreads its closes. Ours: it ends well within systemd's 90 s.
pub const DRAIN_SPREAD_DEFAULT: Duration = Duration::from_secs(20);

/// What `Restarting` says of how long a client should try before it takes the region for lost.
pub const RESTART_TRY_FOR: Duration = Duration::from_secs(60);

const _: () = assert!(before(DRAIN_SPREAD_DEFAULT, RESTART_TRY_FOR));
const _: () = assert!(ms(RESTART_TRY_FOR) <= u32::MAX as u128);

// `Duration` has neither comparison nor addition in constants; these stand in for them.
const fn before(a: Duration, b: Duration) -> bool {
    a.as_nanos() < b.as_nanos()
}

const fn ms(span: Duration) -> u128 {
    span.as_millis()
}
