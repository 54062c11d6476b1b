//! A virtual network: relays of several shards, clients with sockets of bounded room, mailboxes of
//! bounded room, a clock that moves only when a test says so, and a seed that decides everything else
//! (who runs first, where bytes are cut, how much room a buffer has).

mod turn;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use towline_derp::connected::Connected;
use towline_derp::relay::{
    CloseReason, ConnError, ConnId, Shard, ShardConfig, ShardId, Stats, UplinkId,
};
use towline_wire::frame::{FrameType, HEADER_LEN, Header};
use towline_wire::{NodePublic, Time};

use crate::frames::Frame;

/// A client, by the order in which it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer(usize);

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Error(ConnError),
    Closed(CloseReason),
    Left,
}

/// splitmix64.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// The other end of a shard's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Far {
    Peer(usize),
    /// A connection of another relay's shard: relay, shard, connection.
    Relay(usize, usize, ConnId),
}

/// A shard's end of a connection.
struct Socket {
    far: Far,
    inbound: VecDeque<u8>,
    paused: bool,
    /// The shard has more to write than there was room for.
    blocked: bool,
}

struct Relay {
    config: ShardConfig,
    shards: Vec<Shard>,
    sockets: Vec<HashMap<ConnId, Socket>>,
    mail: Vec<VecDeque<(ShardId, Vec<u8>)>>,
    mail_room: usize,
}

/// A client.
struct Client {
    relay: usize,
    shard: usize,
    conn: ConnId,
    /// Bytes that its socket takes before it reads again; `None` for an eager reader.
    room: Option<usize>,
    stream: Vec<u8>,
    frames: VecDeque<Frame>,
    end: Option<End>,
}

pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) random: Seeded,
    /// Bytes that a client's stream is cut into at most.
    pub(crate) chunk_bytes_max: usize,
    relays: Vec<Relay>,
    clients: Vec<Client>,
    /// From which relay, to which, and the near end.
    uplinks: Vec<(usize, usize, usize, ConnId)>,
}

/// What a relay is made of, by default with room for everything that a scenario does.
pub(crate) struct RelaySpec {
    pub(crate) shards: u16,
    pub(crate) mail_room: usize,
    pub(crate) configure: fn(&mut ShardConfig),
}

impl Default for RelaySpec {
    fn default() -> Self {
        Self {
            shards: 1,
            mail_room: 1 << 20,
            configure: |_| {},
        }
    }
}

pub(crate) fn key(n: usize) -> NodePublic {
    let mut bytes = [0xa5; 32];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    NodePublic(bytes)
}

/// The key of a relay.
pub(crate) fn server_key(relay: usize) -> NodePublic {
    NodePublic([0xf0 + relay as u8; 32])
}

pub(crate) fn connected(key: NodePublic) -> Connected {
    Connected {
        key,
        addr: "192.0.2.7:1234".parse().unwrap(),
        mesh: false,
        prober: false,
        not_ideal: false,
        can_ack_pings: true,
        go_client: true,
        app_name: None,
        limits: None,
    }
}

/// What a relay writes first; its content is the handshake's business.
pub(crate) const SERVER_INFO: [u8; 8] = [FrameType::ServerInfo as u8, 0, 0, 0, 3, b'b', b'o', b'x'];

impl Net {
    pub(crate) fn new(seed: u64, specs: &[RelaySpec]) -> Self {
        let mut net = Self {
            now: Time(1_000_000_000),
            random: Seeded(seed),
            chunk_bytes_max: 20_000,
            relays: Vec::new(),
            clients: Vec::new(),
            uplinks: Vec::new(),
        };
        for (number, spec) in specs.iter().enumerate() {
            let shard = |id| {
                let hash_key = [seed as u8; 16];
                let mut config =
                    ShardConfig::new(ShardId(id), spec.shards, hash_key, server_key(number));
                (spec.configure)(&mut config);
                config
            };
            net.relays.push(Relay {
                config: shard(0),
                shards: (0..spec.shards)
                    .map(|id| Shard::new(shard(id), [id as u8; 32]))
                    .collect(),
                sockets: (0..spec.shards).map(|_| HashMap::new()).collect(),
                mail: (0..spec.shards).map(|_| VecDeque::new()).collect(),
                mail_room: spec.mail_room,
            });
        }
        net
    }

    /// One relay.
    pub(crate) fn single(seed: u64, shards: u16) -> Self {
        Self::new(
            seed,
            &[RelaySpec {
                shards,
                ..RelaySpec::default()
            }],
        )
    }

    // ---- clients -------------------------------------------------------------------------------

    /// Connects a client to the first relay and runs the network.
    pub(crate) fn client(&mut self, n: usize) -> Peer {
        let peer = self.connect(0, connected(key(n)));
        self.run();
        assert_eq!(
            self.take(peer),
            [Frame::ServerInfo],
            "ServerInfo comes first"
        );
        peer
    }

    pub(crate) fn connect(&mut self, relay: usize, client: Connected) -> Peer {
        let key = client.key;
        let shard = usize::from(self.relays[relay].config.owner(&key).0);
        let (shard_ref, mut mail) = self.relays[relay].split(shard);
        let conn = shard_ref
            .handle_connected(self.now, client, SERVER_INFO.to_vec(), &mut mail)
            .unwrap();
        let far = Far::Peer(self.clients.len());
        self.relays[relay].sockets[shard].insert(conn, Socket::new(far));
        self.clients.push(Client {
            relay,
            shard,
            conn,
            room: None,
            stream: Vec::new(),
            frames: VecDeque::new(),
            end: None,
        });
        Peer(self.clients.len() - 1)
    }

    /// The client goes away without a word.
    pub(crate) fn leave(&mut self, peer: Peer) {
        self.end_client(peer.0, End::Left);
    }

    pub(crate) fn end_of(&self, peer: Peer) -> Option<End> {
        self.clients[peer.0].end
    }

    /// Sets how many bytes more a client's socket takes (`None`: it reads all).
    pub(crate) fn set_room(&mut self, peer: Peer, room: Option<usize>) {
        self.clients[peer.0].room = room;
        let (relay, shard, conn) = self.place(peer);
        if let Some(socket) = self.relays[relay].sockets[shard].get_mut(&conn) {
            socket.blocked = true;
        }
    }

    /// How many bytes more a slow reader's socket takes.
    pub(crate) fn room(&self, peer: Peer) -> usize {
        self.clients[peer.0].room.expect("a slow reader")
    }

    /// Writes bytes to the relay.
    pub(crate) fn write(&mut self, peer: Peer, bytes: &[u8]) {
        let (relay, shard, conn) = self.place(peer);
        if let Some(socket) = self.relays[relay].sockets[shard].get_mut(&conn) {
            socket.inbound.extend(bytes);
        }
    }

    pub(crate) fn frame(&mut self, peer: Peer, kind: FrameType, body: &[u8]) {
        self.write(peer, &Header::new(kind, body.len() as u32).write());
        self.write(peer, body);
    }

    pub(crate) fn send(&mut self, from: Peer, to: &NodePublic, packet: &[u8]) {
        self.frame(from, FrameType::SendPacket, &[&to.0, packet].concat());
    }

    /// What a client has received and was not yet taken.
    pub(crate) fn take(&mut self, peer: Peer) -> Vec<Frame> {
        self.clients[peer.0].frames.drain(..).collect()
    }

    /// The packets among what a client has received.
    pub(crate) fn take_packets(&mut self, peer: Peer) -> Vec<(NodePublic, Vec<u8>)> {
        self.take(peer)
            .into_iter()
            .filter_map(|frame| match frame {
                Frame::Recv(src, packet) => Some((src, packet)),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn is_paused(&self, peer: Peer) -> bool {
        let (relay, shard, conn) = self.place(peer);
        self.relays[relay].sockets[shard][&conn].paused
    }

    fn place(&self, peer: Peer) -> (usize, usize, ConnId) {
        let client = &self.clients[peer.0];
        (client.relay, client.shard, client.conn)
    }

    // ---- relays --------------------------------------------------------------------------------

    /// Connects `from` as a client of `to` in the mesh: the uplink that tells `from` who is at `to`.
    pub(crate) fn mesh(&mut self, from: usize, to: usize, uplink: u8) {
        let uplink = UplinkId(uplink);
        let near = usize::from(self.relays[from].config.uplink_owner(uplink).0);
        let mut client = connected(server_key(from));
        client.mesh = true;
        client.addr = SocketAddr::from(([198, 51, 100, from as u8], 443));
        let far = usize::from(self.relays[to].config.owner(&client.key).0);
        let (shard, mut mail) = self.relays[to].split(far);
        // An uplink is handed over after its ServerInfo was read.
        let far_conn = shard
            .handle_connected(self.now, client, Vec::new(), &mut mail)
            .unwrap();
        let near_conn = self.relays[from].shards[near]
            .handle_uplink(self.now, uplink)
            .unwrap();
        self.uplinks.push((from, to, near, near_conn));
        let near_end = Far::Relay(from, near, near_conn);
        let far_end = Far::Relay(to, far, far_conn);
        self.relays[to].sockets[far].insert(far_conn, Socket::new(near_end));
        self.relays[from].sockets[near].insert(near_conn, Socket::new(far_end));
    }

    /// Breaks the uplink from one relay to another.
    pub(crate) fn break_mesh(&mut self, from: usize, to: usize) {
        let place = (self.uplinks.iter()).position(|up| (up.0, up.1) == (from, to));
        let (_, _, shard, conn) = self.uplinks.remove(place.expect("there is such an uplink"));
        self.end_far(from, shard, conn, End::Left);
    }

    pub(crate) fn shard_of(&mut self, relay: usize, key: &NodePublic) -> &mut Shard {
        let shard = usize::from(self.relays[relay].config.owner(key).0);
        &mut self.relays[relay].shards[shard]
    }

    pub(crate) fn shards(&mut self, relay: usize) -> impl Iterator<Item = &mut Shard> {
        self.relays[relay].shards.iter_mut()
    }

    /// The counters of all shards of a relay.
    pub(crate) fn stats(&self, relay: usize) -> Stats {
        let mut sum = Stats::default();
        for shard in &self.relays[relay].shards {
            sum += shard.stats();
        }
        sum
    }

    // ---- time ----------------------------------------------------------------------------------

    /// Runs until nothing moves at this moment.
    pub(crate) fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.round() {
                return;
            }
        }
        panic!("the network does not come to rest");
    }

    /// Lets time pass, with whatever is due on the way.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.run();
            let next = (self.relays.iter())
                .flat_map(|relay| &relay.shards)
                .filter_map(Shard::poll_timeout)
                .min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
        }
        self.now = end;
        self.run();
    }

    /// One turn of each shard, in any order. False when nothing moved.
    pub(crate) fn round(&mut self) -> bool {
        let mut order: Vec<(usize, usize)> = (self.relays.iter().enumerate())
            .flat_map(|(relay, r)| (0..r.shards.len()).map(move |shard| (relay, shard)))
            .collect();
        self.random.shuffle(&mut order);
        let mut moved = false;
        for (relay, shard) in order {
            moved |= self.turn(relay, shard);
        }
        moved
    }

    // ---- ends ----------------------------------------------------------------------------------

    fn end_far(&mut self, relay: usize, shard: usize, conn: ConnId, end: End) {
        match self.relays[relay].sockets[shard].get(&conn).map(|s| s.far) {
            Some(Far::Peer(peer)) => self.end_client(peer, end),
            Some(Far::Relay(far_relay, far_shard, far_conn)) => {
                self.end_conn(relay, shard, conn);
                self.end_conn(far_relay, far_shard, far_conn);
            }
            None => {}
        }
    }

    fn end_client(&mut self, peer: usize, end: End) {
        let client = &mut self.clients[peer];
        if client.end.is_some() {
            return;
        }
        client.end = Some(end);
        let (relay, shard, conn) = (client.relay, client.shard, client.conn);
        self.end_conn(relay, shard, conn);
    }

    fn end_conn(&mut self, relay: usize, shard: usize, conn: ConnId) {
        if self.relays[relay].sockets[shard].remove(&conn).is_some() {
            let (shard, mut mail) = self.relays[relay].split(shard);
            shard.handle_disconnected(self.now, conn, &mut mail);
        }
    }
}

impl Socket {
    fn new(far: Far) -> Self {
        Self {
            far,
            inbound: VecDeque::new(),
            paused: false,
            blocked: false,
        }
    }
}

impl Client {
    fn receive(&mut self, bytes: &[u8]) {
        if let Some(room) = &mut self.room {
            *room -= bytes.len();
        }
        self.stream.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(header) = self.stream[at..].first_chunk::<HEADER_LEN>() {
            let header = Header::parse(header);
            let end = at + HEADER_LEN + header.len as usize;
            let Some(body) = self.stream.get(at + HEADER_LEN..end) else {
                break;
            };
            self.frames.push_back(Frame::parse(header, body));
            at = end;
        }
        self.stream.drain(..at);
    }
}
