//! How a connection comes to its shard: from the handshake stage, or from whoever dialled another relay. Called by `turn`.

use towline_derp::relay::ConnId;
use tracing::debug;

use super::command::{Adopted, Role};
use super::conn::{Conn, Sending, WINDOW_BYTES_MAX};
use super::transport::{Place, Transport, TransportError};
use super::turn::Thread;

impl Thread {
    /// Takes a connection over from whoever opened it.
    pub(super) fn adopt(&mut self, adopted: Adopted) {
        let Adopted {
            socket,
            tls,
            websocket,
            plaintext,
            raw,
            unsent,
            active_tls,
            role,
        } = adopted;
        if self.drain.is_some() {
            return;
        }
        if self.is_overruled(&role) {
            debug!(
                shard = self.shard.0,
                "connection not taken over: its key was taken back meanwhile"
            );
            return;
        }
        let is_limited = match &role {
            Role::Client { client, .. } => {
                let limit = client.limits.or_else(|| self.core.config().rate_limit);
                !client.mesh && limit.is_some()
            }
            Role::Uplink { .. } => false,
        };
        let (id, is_mesh, client_place, closed) = match role {
            Role::Client {
                client,
                decided: _,
                server_info_frame,
                half_open_place: _half_open,
                client_place,
            } => {
                let is_mesh = client.mesh;
                let id = self.core.handle_connected(
                    self.now,
                    client,
                    server_info_frame,
                    &mut self.outboxes,
                );
                (id, is_mesh, Some(client_place), None)
            }
            Role::Uplink { uplink, closed } => (
                self.core.handle_uplink(self.now, uplink),
                true,
                None,
                Some(closed),
            ),
        };
        let id = match id {
            Ok(id) => id,
            Err(error) => {
                debug!(shard = self.shard.0, %error, "connection not taken over");
                return;
            }
        };
        let added = match is_limited {
            true => self.driver.add_measured(socket, Conn::token(id)),
            false => self.driver.add(socket, Conn::token(id)),
        };
        let socket = match added {
            Ok(socket) => socket,
            Err(error) => {
                debug!(shard = self.shard.0, %error, "socket not taken over");
                self.core
                    .handle_disconnected(self.now, id, &mut self.outboxes);
                return;
            }
        };
        let slot = id.slot as usize;
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        self.counts.unsent_bytes += unsent.len() as u64;
        let sending = match unsent.is_empty() {
            true => Sending::Idle,
            false => Sending::Rest { rest: unsent },
        };
        self.conns[slot] = Some(Conn {
            id,
            socket,
            transport: Transport::new(tls, websocket),
            sending,
            has_more: true,
            window_bytes: WINDOW_BYTES_MAX,
            is_mesh,
            is_listed_as_stalled: false,
            _active_tls: active_tls,
            stalled_since: None,
            _client_place: client_place,
            closed,
        });
        self.ready.push(id);
        self.take_leftover(id, plaintext, raw);
    }

    fn is_overruled(&self, role: &Role) -> bool {
        let (
            Some(allowed),
            Role::Client {
                client, decided, ..
            },
        ) = (&self.allowed_keys, role)
        else {
            return false;
        };
        !client.mesh && allowed.overrule(*decided, &client.key)
    }

    /// Bytes that came with the handshake: those above TLS first, then those below.
    fn take_leftover(&mut self, id: ConnId, plaintext: Vec<u8>, raw: Vec<u8>) {
        for (mut bytes, is_raw) in [(plaintext, false), (raw, true)] {
            let conn = match self.conns.get_mut(id.slot as usize) {
                Some(Some(conn)) if conn.id == id && !bytes.is_empty() => conn,
                _ => continue,
            };
            // They lie in no receive buffer, so they become a carry buffer once they are opened.
            let carry = self.carries.take();
            let Self {
                core,
                carries,
                outboxes,
                now,
                ..
            } = self;
            let mut sink = |place: Place, offset: usize, bytes: &[u8]| {
                core.handle_bytes(*now, id, place.buffer(), offset, bytes, outboxes)
                    .map_err(TransportError::from)
            };
            let place = Place::Carry(carry);
            let received = if is_raw {
                conn.transport
                    .receive(place, &mut bytes, carries, &mut sink)
            } else {
                conn.transport
                    .receive_plaintext(place, &mut bytes, &mut sink)
            };
            *self.carries.bytes_mut(carry) = bytes;
            self.carries.opened(carry);
            self.received(id, received);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use tokio::io::AsyncReadExt;
    use tokio::sync::oneshot;
    use towline_wire::NodePublic;

    use crate::admission::AllowedKeys;
    use crate::config::{DriverChoice, RelayConfig, ShardsConfig};
    use crate::shard::testing::admitted;
    use crate::shard::{Command, Shards, ShardsOptions};

    fn one_shard() -> Shards {
        let mut config = RelayConfig::default();
        config.io.driver = DriverChoice::Epoll;
        config.shards = ShardsConfig {
            count: NonZeroU16::new(1),
            ..ShardsConfig::default()
        };
        Shards::start(&ShardsOptions {
            config: &config,
            server_key: NodePublic([9; 32]),
            connections_max: 16,
            rate_limit: None,
        })
        .unwrap()
    }

    #[tokio::test]
    async fn what_a_handshake_left_unsent_goes_out_though_the_client_errs_at_once() {
        let shards = one_shard();
        let (mut stream, mut adopted) = admitted(1, false, 0).await;
        adopted.unsent = b"server key".to_vec();
        // A frame longer than any may be.
        adopted.plaintext = vec![4, 0xff, 0xff, 0xff, 0xff];
        shards.handles()[0].ask(Command::Adopt(Box::new(adopted)));
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert!(got.starts_with(b"server key"), "{got:?}");
    }

    #[tokio::test]
    async fn a_key_that_is_taken_back_during_its_handshake_does_not_come_in() {
        let shards = one_shard();
        let shard = &shards.handles()[0];
        let mut streams = Vec::new();
        let allowed = AllowedKeys::of(5, [NodePublic([2; 32])]);
        shard.ask(Command::KeepOnly(allowed));
        for (key, mesh, decided) in [(1, false, 4), (2, false, 4), (3, false, 5), (4, true, 4)] {
            let (stream, adopted) = admitted(key, mesh, decided).await;
            streams.push(stream);
            shard.ask(Command::Adopt(Box::new(adopted)));
        }
        let (reply, clients) = oneshot::channel();
        shard.ask(Command::Clients(reply));
        let mut keys: Vec<_> = clients
            .await
            .unwrap()
            .iter()
            .map(|row| row.key.0[0])
            .collect();
        keys.sort_unstable();
        assert_eq!(keys, [2, 3, 4]);
    }
}
