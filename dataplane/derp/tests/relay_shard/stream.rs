//! Bytes of the stream: cut anywhere, wrong in any way.

use proptest::prelude::*;
use towline_derp::relay::ConnError;
use towline_wire::frame::{FrameType, Header};

use crate::clients::everywhere;
use crate::frames::Frame;
use crate::net::{End, Net, connected, key};

#[test]
fn a_malformed_frame_ends_its_own_connection_and_no_other() {
    use FrameType::*;

    let cases: [(FrameType, u32, bool, ConnError); 12] = [
        (SendPacket, 31, false, length(SendPacket, 31)),
        (SendPacket, 32 + 65537, false, length(SendPacket, 65569)),
        (SendPacket, u32::MAX, false, length(SendPacket, u32::MAX)),
        (NotePreferred, 0, false, length(NotePreferred, 0)),
        (NotePreferred, 2, false, length(NotePreferred, 2)),
        (Ping, 7, false, length(Ping, 7)),
        (Ping, 1001, false, length(Ping, 1001)),
        (WatchConns, 0, false, ConnError::NotMesh(WatchConns)),
        (ClosePeer, 32, false, ConnError::NotMesh(ClosePeer)),
        (ForwardPacket, 64, false, ConnError::NotMesh(ForwardPacket)),
        (WatchConns, 1, true, length(WatchConns, 1)),
        (ClosePeer, 33, true, length(ClosePeer, 33)),
    ];
    everywhere(|net| {
        let [a, b] = [1, 2].map(|n| net.client(n));
        for (n, (kind, len, mesh, error)) in cases.into_iter().enumerate() {
            let mut client = connected(key(100 + n));
            client.mesh = mesh;
            let bad = net.connect(0, client);
            net.send(bad, &key(1), b"before");
            net.write(bad, &Header::new(kind, len).write());
            net.write(bad, &[0; 5000]);
            net.send(b, &key(1), b"beside");
            net.run();
            assert_eq!(net.end_of(bad), Some(End::Error(error)), "{kind:?} {len}");
            let frames = net.take(a);
            let place = |frame: &Frame| frames.iter().position(|f| f == frame);
            let before = place(&Frame::Recv(key(100 + n), b"before".to_vec()));
            let gone = place(&Frame::Gone(key(100 + n)));
            assert!(before.is_some() && before < gone, "{frames:?}");
            assert!(frames.contains(&Frame::Recv(key(2), b"beside".to_vec())));
        }
        assert_eq!(net.end_of(a), None);
        assert_eq!(net.end_of(b), None);
    });
}

fn length(frame: FrameType, len: u32) -> ConnError {
    ConnError::Length { frame, len }
}

#[test]
fn frames_that_we_do_not_know_are_skipped_at_any_length() {
    everywhere(|net| {
        let [a, b] = [1, 2].map(|n| net.client(n));
        for kind in [0x00, 0x05, 0x13, 0x16, 0x7f, 0xff] {
            for len in [0u32, 1, 4, 100, 300_000] {
                net.write(a, &Header { kind, len }.write());
                net.write(a, &vec![4; len as usize]);
            }
        }
        net.send(a, &key(2), b"after");
        net.run();
        assert_eq!(net.take(b), [Frame::Recv(key(1), b"after".to_vec())]);
        assert_eq!(net.stats(0).unknown_frames, 30);
    });
}

#[test]
fn packets_of_every_length_arrive_unchanged() {
    everywhere(|net| {
        let [a, b] = [1, 2].map(|n| net.client(n));
        let lengths = [
            0, 1, 474, 475, 476, 479, 480, 481, 511, 512, 513, 1400, 16384, 65535, 65536,
        ];
        let packets: Vec<Vec<u8>> = (lengths.iter())
            .map(|len| (0..*len).map(|i| (i % 251) as u8).collect())
            .collect();
        for packet in &packets {
            net.send(a, &key(2), packet);
            net.run();
        }
        let received: Vec<_> = net.take_packets(b).into_iter().map(|(_, p)| p).collect();
        assert!(received == packets);
    });
}

/// What a client might say.
fn frames() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let packet = (0usize..4, 0usize..3000)
        .prop_map(|(to, len)| (4, [&key(to).0[..], &vec![len as u8; len]].concat()));
    let ping = (8usize..1000).prop_map(|len| (0x12, vec![7; len]));
    let home = any::<bool>().prop_map(|home| (7, vec![u8::from(home)]));
    let unknown = (0x20u8.., 0usize..2000).prop_map(|(kind, len)| (kind, vec![1; len]));
    let frame = prop_oneof![4 => packet, 1 => ping, 1 => home, 1 => unknown];
    proptest::collection::vec(frame, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bytes_one_by_one_mean_the_same_as_all_at_once(frames in frames(), shards in 1u16..3) {
        let run = |chunk_bytes_max: usize| {
            let mut net = Net::single(1, shards);
            let peers = [0, 1, 2].map(|n| net.client(n));
            net.chunk_bytes_max = chunk_bytes_max;
            for (kind, body) in &frames {
                net.write(peers[0], &Header { kind: *kind, len: body.len() as u32 }.write());
                net.write(peers[0], body);
                net.run();
            }
            let received = peers.map(|peer| net.take(peer));
            let stats = net.stats(0);
            (received, stats.received, stats.got_ping, stats.home_connections, stats.unknown_frames, stats.drops)
        };
        let whole = run(1 << 20);
        prop_assert_eq!(&run(1), &whole);
        prop_assert_eq!(&run(700), &whole);
    }
}
