//! Mesh peers that watch who is connected.

use towline_derp::connected::Connected;
use towline_derp::relay::CloseReason;
use towline_wire::frame::FrameType;
use towline_wire::limits::SHARD_WATCHERS_MAX;

use crate::clients::everywhere;
use crate::frames::Frame;
use crate::net::{End, Net, Peer, RelaySpec, connected, key, server_key};

fn mesh_client(n: usize) -> Connected {
    let mut client = connected(key(n));
    client.mesh = true;
    client
}

pub(crate) fn watcher(net: &mut Net, n: usize) -> Peer {
    let watcher = net.connect(0, mesh_client(n));
    net.frame(watcher, FrameType::WatchConns, &[]);
    net.run();
    watcher
}

fn present(n: usize, flags: u8) -> Frame {
    Frame::Present(key(n), Some(connected(key(n)).addr), flags)
}

fn sorted(mut frames: Vec<Frame>) -> Vec<Frame> {
    frames.sort_by_key(|frame| format!("{frame:?}"));
    frames
}

/// `TestWatch`.
#[test]
fn watchers_are_told_who_is_here_then_who_comes_and_goes() {
    everywhere(|net| {
        net.client(1);
        let mut special = connected(key(2));
        special.prober = true;
        special.not_ideal = true;
        net.connect(0, special);
        let first = watcher(net, 10);
        assert_eq!(net.take(first)[0], Frame::ServerInfo);
        // The rest was taken with it: ask again.
        net.frame(first, FrameType::WatchConns, &[]);
        net.run();
        let told = sorted(net.take(first));
        assert_eq!(told, [present(1, 1), present(2, 12), present(10, 2)]);

        let second = watcher(net, 11);
        assert_eq!(net.take(first), [present(11, 2)]);
        assert_eq!(net.take(second).len(), 5);
        assert_eq!(net.stats(0).watchers, 2);

        let third = net.client(3);
        for watcher in [first, second] {
            assert_eq!(net.take(watcher), [present(3, 1)]);
        }
        net.leave(third);
        net.run();
        for watcher in [first, second] {
            assert_eq!(net.take(watcher), [Frame::Gone(key(3))]);
        }
        net.leave(second);
        net.run();
        assert_eq!(net.take(first), [Frame::Gone(key(11))]);
        net.client(4);
        assert_eq!(net.take(first), [present(4, 1)]);
        assert_eq!(net.stats(0).watchers, 1);
    });
}

#[test]
fn a_watcher_is_told_of_duplicates_as_of_arrivals_but_of_one_departure() {
    everywhere(|net| {
        let w = watcher(net, 10);
        net.take(w);
        let a = net.client(1);
        let b = net.client(1);
        assert_eq!(net.take(w), [present(1, 1), present(1, 1)]);
        net.leave(b);
        net.run();
        assert_eq!(net.take(w), []);
        net.leave(a);
        net.run();
        assert_eq!(net.take(w), [Frame::Gone(key(1))]);
    });
}

#[test]
fn many_clients_are_told_to_a_slow_watcher_with_bounded_memory() {
    for (shards, mail_room) in [(1, 1), (4, 3)] {
        let spec = RelaySpec {
            shards,
            mail_room,
            ..RelaySpec::default()
        };
        let mut net = Net::new(5, &[spec]);
        let w = net.connect(0, mesh_client(5000));
        net.run();
        net.set_room(w, Some(2000));
        net.frame(w, FrameType::WatchConns, &[]);
        let mut peers: Vec<_> = (0..1000)
            .map(|n| net.connect(0, connected(key(n))))
            .collect();
        net.run();
        // Changes while it catches up are told in the state that they have then.
        for peer in peers.drain(..300) {
            net.leave(peer);
        }
        let mut known = std::collections::HashSet::new();
        for _ in 0..400 {
            net.set_room(w, Some(1000));
            net.pass(std::time::Duration::from_millis(5));
            for frame in net.take(w) {
                match frame {
                    Frame::Present(key, ..) => {
                        known.insert(key);
                    }
                    Frame::Gone(key) => {
                        known.remove(&key);
                    }
                    other => assert_eq!(other, Frame::ServerInfo),
                }
            }
        }
        let expected = (300..1000).map(key).chain([key(5000)]).collect();
        assert_eq!(known, expected);
    }
}

#[test]
fn a_watcher_that_lags_too_much_is_closed() {
    everywhere_with_few_departures(|net| {
        let [slow, quick] = [watcher(net, 10), watcher(net, 11)];
        net.take(quick);
        net.set_room(slow, Some(0));
        for n in 100..800 {
            let peer = net.client(n);
            net.leave(peer);
            net.run();
        }
        assert_eq!(
            net.end_of(slow),
            Some(End::Closed(CloseReason::WatcherLags))
        );
        assert_eq!(net.end_of(quick), None);
        assert_eq!(net.take(quick).len(), 1401);
    });
}

fn everywhere_with_few_departures(scenario: impl Fn(&mut Net)) {
    for shards in [1, 4] {
        let spec = RelaySpec {
            shards,
            configure: |config| config.departures_max = 10,
            ..RelaySpec::default()
        };
        scenario(&mut Net::new(7, &[spec]));
    }
}

#[test]
fn one_watcher_too_many_is_told_why() {
    let mut net = Net::single(1, 1);
    let watchers: Vec<_> = (0..=SHARD_WATCHERS_MAX)
        .map(|n| {
            let watcher = net.connect(0, mesh_client(n));
            net.set_room(watcher, Some(0));
            net.frame(watcher, FrameType::WatchConns, &[]);
            watcher
        })
        .collect();
    net.run();
    let ends: Vec<_> = watchers.iter().filter_map(|w| net.end_of(*w)).collect();
    assert_eq!(ends, [End::Closed(CloseReason::TooManyWatchers)]);
}

#[test]
fn the_relay_itself_is_told_nothing() {
    everywhere(|net| {
        net.client(1);
        let mut itself = mesh_client(0);
        itself.key = server_key(0);
        let itself = net.connect(0, itself);
        net.frame(itself, FrameType::WatchConns, &[]);
        net.client(2);
        assert_eq!(net.take(itself), [Frame::ServerInfo]);
        assert_eq!(net.stats(0).watchers, 0);
    });
}

#[test]
fn a_mesh_peer_may_close_a_key() {
    everywhere(|net| {
        let [a, b] = [net.client(1), net.client(1)];
        let m = watcher(net, 10);
        net.take(m);
        net.frame(m, FrameType::ClosePeer, &key(1).0);
        net.frame(m, FrameType::ClosePeer, &key(99).0);
        net.run();
        for peer in [a, b] {
            assert_eq!(
                net.end_of(peer),
                Some(End::Closed(CloseReason::ClosedByMesh))
            );
        }
        assert_eq!(net.take(m), [Frame::Gone(key(1))]);
    });
}

/// Asking again must not make a watcher miss a departure of whom it was told before.
#[test]
fn a_departure_that_waits_is_told_though_the_watcher_asks_again() {
    everywhere(|net| {
        let client = net.client(1);
        let first = watcher(net, 10);
        net.take(first);
        // It reads nothing while more comes than is under way to it at a time: the departure has to wait.
        net.set_room(first, Some(0));
        for n in 100..1500 {
            net.client(n);
        }
        net.leave(client);
        net.run();
        net.frame(first, FrameType::WatchConns, &[]);
        net.run();
        net.set_room(first, None);
        net.run();
        let told = net.take(first);
        assert!(told.contains(&Frame::Gone(key(1))));
    });
}
