//! The loop of a shard.
//!
//! A turn: wait (which submits what the last turn queued), take completions, messages and commands in, a portion at a
//! time, and write to every connection that gained frames until queues are empty or sockets full; do what the protocol
//! asks, settle (packets that are still queued leave the receive buffers), give the buffers back.

use std::io;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use towline_derp::relay::{BufferId, Buffers, ConnId, Effect, Message, Shard, ShardId};
use towline_io::{Completion, Driver, Received, RecvBuf};
use towline_wire::Time;
use tracing::debug;

use super::carry::Carries;
use super::command::{Command, Snapshot};
use super::conn::{Conn, Sending};
use super::drain::Drain;
use super::mailbox::{Inboxes, Outboxes, RING_BYTES_MAX, TAKEN_BYTES_MAX};
use super::patience::Patience;
use super::rounds::Rounds;
use super::stalled::SocketRules;
use super::transport::Place;
use crate::admission::AllowedKeys;
use crate::metrics::Observations;

/// How long storage must have been of no use before it is given back.
const REST_AFTER: Duration = Duration::from_secs(1);

/// The most further sends of a connection in a turn: together they carry all that a turn can receive.
const MORE_SENDS_MAX: usize = 64;

/// Shares of the rings that are taken at most before receives are looked at again: whole rings.
const TAKES_MAX: usize = RING_BYTES_MAX / TAKEN_BYTES_MAX;

/// Places reserved in the lists of a turn, which grow with the busiest turn.
const RESERVED: usize = 1024;

/// All state of a shard's thread.
pub(super) struct Thread {
    pub(super) shard: ShardId,
    pub(super) now: Time,
    pub(super) core: Shard,
    pub(super) driver: Driver,
    pub(super) conns: Vec<Option<Conn>>,
    pub(super) carries: Carries,
    /// Receives of this turn, which queued packets point into.
    pub(super) held: Vec<RecvBuf>,
    pub(super) outboxes: Outboxes,
    patience: Patience,
    inboxes: Inboxes,
    /// Messages are left in the rings.
    messages_wait: bool,
    commands: Receiver<Command>,
    completions: Vec<Completion>,
    /// Those of sends within a turn.
    flushed: Vec<Completion>,
    /// Connections that may be written to: those whose send ended with more to write, or that found no send buffer.
    pub(super) ready: Vec<ConnId>,
    ready_now: Vec<ConnId>,
    /// A connection whose send is under way has more to write, or one found no send buffer.
    pub(super) more_waits: bool,
    /// Connections that are, or lately were, blocked.
    pub(super) stalled: Vec<ConnId>,
    pub(super) stall_check: Option<Time>,
    pub(super) rounds: Rounds,
    /// When storage that nobody needs is given back, if nobody needs it until then.
    rest_at: Option<Time>,
    /// Buffers for the sealed rest of sends that were cut short, used again and again.
    pub(super) spare_rests: Vec<Vec<u8>>,
    pub(super) rules: SocketRules,
    pub(super) drain: Option<Drain>,
    /// The last that this shard was told.
    pub(super) allowed_keys: Option<AllowedKeys>,
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) write_timeouts: u64,
    pub(super) unsent_bytes: u64,
    /// For room in the rings to other shards.
    pub(super) waited: Duration,
    pub(super) observed: Observations,
    /// Connections whose round trip the kernel did not tell.
    pub(super) round_trip_errors: u64,
}

/// The bytes that queued packets point to, until the turn ends.
pub(super) struct TurnBuffers<'a> {
    pub(super) received: Received<'a>,
    pub(super) held: &'a [RecvBuf],
    pub(super) carries: &'a Carries,
}

impl Buffers for TurnBuffers<'_> {
    #[inline]
    fn bytes(&self, buffer: BufferId) -> &[u8] {
        match Place::of(buffer) {
            Place::Receive(index) => self.received.bytes(&self.held[index]),
            Place::Carry(id) => self.carries.bytes(id),
        }
    }
}

impl Thread {
    pub(super) fn new(
        shard: ShardId,
        core: Shard,
        driver: Driver,
        (outboxes, inboxes): (Outboxes, Inboxes),
        commands: Receiver<Command>,
        rules: SocketRules,
    ) -> Self {
        Self {
            shard,
            now: now(),
            core,
            driver,
            conns: Vec::new(),
            carries: Carries::default(),
            held: Vec::with_capacity(RESERVED),
            outboxes,
            patience: Patience::new(now()),
            inboxes,
            messages_wait: false,
            commands,
            completions: Vec::with_capacity(RESERVED),
            flushed: Vec::with_capacity(RESERVED),
            ready: Vec::with_capacity(RESERVED),
            ready_now: Vec::with_capacity(RESERVED),
            more_waits: false,
            stalled: Vec::new(),
            stall_check: None,
            rounds: Rounds::default(),
            rest_at: None,
            spare_rests: Vec::new(),
            rules,
            drain: None,
            allowed_keys: None,
            counts: Counts::default(),
        }
    }

    /// Runs until a drain is over.
    ///
    /// # Errors
    /// The driver itself failed: the process cannot go on.
    pub(super) fn run(mut self) -> io::Result<()> {
        while !self.turn()? {}
        Ok(())
    }

    /// One turn; true when there will be no more.
    pub(super) fn turn(&mut self) -> io::Result<bool> {
        let mut completions = core::mem::take(&mut self.completions);
        self.driver.wait(self.timeout(), &mut completions)?;
        self.now = now();
        let mut kept_bytes = 0;
        for completion in completions.drain(..) {
            match completion {
                Completion::Received { token, buf } => {
                    self.receive_in_parts(Conn::id_of(token), buf, &mut kept_bytes)?;
                }
                completion => self.complete(completion),
            }
        }
        self.completions = completions;
        self.pass_on()?;
        if self.core.poll_timeout().is_some_and(|due| due <= self.now) {
            self.core.handle_timeout(self.now, &mut self.outboxes);
        }
        self.check_stalled();
        self.check_rest();
        self.check_rounds();
        self.continue_drain();
        // A connection that closes may have news for others.
        loop {
            self.write_all();
            self.write_more()?;
            if !self.apply_effects() {
                break;
            }
        }
        self.end_turn();
        Ok(self.drain.is_some() && self.driver.sockets() == 0)
    }

    /// How long the wait may last.
    fn timeout(&self) -> Option<Duration> {
        if self.messages_wait || !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let drain = self.drain.as_ref().and_then(Drain::due);
        let due = [
            self.core.poll_timeout(),
            self.stall_check,
            self.rounds.due(),
            self.rest_at,
            self.carries.due(),
            drain,
        ];
        due.into_iter().flatten().min().map(|due| due - now())
    }

    fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Received { token, buf } => {
                let all = 0..buf.len();
                let index = self.hold(buf);
                self.receive(Conn::id_of(token), index, all);
            }
            Completion::Sent { token, result, buf } => self.sent(Conn::id_of(token), result, buf),
            Completion::Writable { token } => self.writable(Conn::id_of(token)),
            Completion::Ended { token, error } => {
                let id = Conn::id_of(token);
                if let Some(error) = error {
                    debug!(shard = self.shard.0, slot = id.slot, %error, "connection failed");
                }
                self.close(id);
            }
            Completion::Closed { .. } => {}
            Completion::Woken => {
                while let Ok(command) = self.commands.try_recv() {
                    self.obey(command);
                }
            }
        }
    }

    pub(super) fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(id.slot as usize)?.as_mut()?;
        (conn.id == id).then_some(conn)
    }

    /// What is received next may go to a shard whose ring has no room for it: then passes on what there is, and waits a
    /// little.
    pub(super) fn wait_for_room(&mut self) -> io::Result<()> {
        while !self.outboxes.have_room() {
            self.outboxes.wake_readers();
            let Some(waited) = self.patience.wait() else {
                break;
            };
            self.counts.waited += waited;
            self.now = now();
            self.pass_on()?;
        }
        Ok(())
    }

    /// Passes on what was taken in so far, to connections and to other shards, and takes in what those have sent.
    pub(super) fn pass_on(&mut self) -> io::Result<()> {
        self.outboxes.wake_readers();
        for _ in 0..TAKES_MAX {
            self.take_messages();
            self.write_all();
            self.write_more()?;
            if !self.messages_wait {
                break;
            }
        }
        Ok(())
    }

    /// Takes a share of what other shards sent. The rest waits in their rings.
    fn take_messages(&mut self) {
        self.messages_wait = false;
        for from in (0..self.inboxes.shards()).map(ShardId) {
            let mut taken = 0;
            while taken < TAKEN_BYTES_MAX
                && let Some(record) = self.inboxes.next(from)
            {
                taken += record.len();
                let message = Message::decode(record);
                debug_assert!(message.is_ok(), "shards speak one version");
                if let Ok(message) = message {
                    self.core
                        .handle_message(self.now, from, message, &mut self.outboxes);
                }
            }
            self.messages_wait |= taken >= TAKEN_BYTES_MAX;
        }
    }

    /// Does what the protocol asks for; whether there was anything.
    fn apply_effects(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.core.poll_effect() {
            any = true;
            self.apply(effect);
        }
        any
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Close { conn, reason } => {
                debug!(
                    shard = self.shard.0,
                    slot = conn.slot,
                    ?reason,
                    "connection closed"
                );
                self.close_politely(conn);
            }
            Effect::PauseReads { conn } => {
                if let Some(socket) = self.conn(conn).map(|conn| conn.socket) {
                    // Also for a limit that came later than the connection.
                    self.driver.measure_recv(socket);
                    self.driver.pause_recv(socket);
                }
            }
            Effect::ResumeReads { conn } => {
                if let Some(socket) = self.conn(conn).map(|conn| conn.socket) {
                    self.driver.resume_recv(socket);
                }
            }
        }
    }

    /// Packets that are still queued leave the receive buffers, which go back to the driver.
    fn end_turn(&mut self) {
        let Self {
            core,
            driver,
            held,
            carries,
            now,
            ..
        } = self;
        core.settle(&TurnBuffers {
            received: driver.received(),
            held,
            carries,
        });
        for buf in held.drain(..) {
            driver.recycle(buf);
        }
        carries.end_turn(*now);
        self.outboxes.wake_readers();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Adopt(adopted) => self.adopt(*adopted),
            Command::Kick { key, reply } => {
                let _ = reply.send(self.core.kick(&key));
            }
            Command::KeepOnly(allowed) => {
                let gone: Vec<_> = self
                    .core
                    .clients()
                    .filter(|row| !row.mesh && !allowed.allow(&row.key))
                    .map(|row| row.key)
                    .collect();
                for key in gone {
                    self.core.kick(&key);
                }
                self.allowed_keys = Some(allowed);
            }
            Command::SetLimits(limit) => self.core.set_limits(limit),
            Command::SetClientLimit { key, limit, reply } => {
                let _ = reply.send(self.core.set_client_limit(&key, limit));
            }
            Command::Snapshot(reply) => {
                let _ = reply.send(self.snapshot());
            }
            Command::Clients(reply) => {
                let _ = reply.send(self.core.clients().collect());
            }
            Command::Drain { over } => self.begin_drain(over),
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            shard: self.shard.0,
            stats: self.core.stats().clone(),
            driver: self.driver.stats(),
            cpu_ns: towline_io::host::thread_cpu_ns(),
            unsent_bytes: self.counts.unsent_bytes,
            write_timeouts: self.counts.write_timeouts,
            waited: self.counts.waited,
            observed: self.counts.observed,
            round_trip_errors: self.counts.round_trip_errors,
        }
    }

    /// Gives storage back that no packet has needed for a while.
    fn check_rest(&mut self) {
        if !self.core.can_rest() {
            self.rest_at = None;
            return;
        }
        let due = *self.rest_at.get_or_insert(self.now + REST_AFTER);
        if due <= self.now {
            self.core.rest();
            self.rest_at = None;
        }
    }

    fn write_all(&mut self) {
        while let Some(id) = self.core.poll_writable() {
            self.write(id);
        }
        let mut ready = core::mem::replace(&mut self.ready, core::mem::take(&mut self.ready_now));
        for id in ready.drain(..) {
            self.write(id);
        }
        self.ready_now = ready;
    }

    /// Writes what one send for each connection was too small for, until queues are empty or sockets full. Receiving first
    /// would fill queues faster than they empty, whenever there is more to receive than one turn can send.
    fn write_more(&mut self) -> io::Result<()> {
        for _ in 0..MORE_SENDS_MAX {
            if !core::mem::take(&mut self.more_waits) {
                break;
            }
            let mut flushed = core::mem::take(&mut self.flushed);
            self.driver.flush(&mut flushed)?;
            for completion in flushed.drain(..) {
                self.complete(completion);
            }
            self.flushed = flushed;
            self.write_all();
        }
        Ok(())
    }

    /// Says goodbye if the socket takes it, then closes.
    pub(super) fn close_politely(&mut self, id: ConnId) {
        self.write_goodbye(id);
        self.close(id);
    }

    pub(super) fn close(&mut self, id: ConnId) {
        if self.conn(id).is_none() {
            return;
        }
        let Some(mut conn) = self.conns[id.slot as usize].take() else {
            return;
        };
        self.driver.close(conn.socket);
        conn.transport.release(&mut self.carries);
        if let Sending::Blocked { rest } | Sending::Rest { rest } = conn.sending {
            self.put_rest(rest);
        }
        self.core
            .handle_disconnected(self.now, id, &mut self.outboxes);
    }
}

pub(super) fn now() -> Time {
    Time(towline_io::host::now_ns())
}
