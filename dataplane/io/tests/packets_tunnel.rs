//! A tunnel without secrets between two hosts: TCP in both directions at once, through TUN, the
//! drivers and a veth pair, with every offload on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use support::namespace::{in_namespace, ip};
use support::packets::{Way, on_every_packet_driver, tun_options};
use support::{check, fill};
use towline_io::packet::{
    Arrival, Family, PacketConfig, PacketDriver, PacketStats, SEND_BYTES_MAX,
};
use towline_io::udp::UdpOptions;
use towline_io::{Waker, tun, udp};

on_every_packet_driver!(tcp_through_two_drivers_loses_nothing);

const BYTES: usize = 8 << 20;
const PORT: u16 = 51820;
const APP: u16 = 7000;

/// Hosts 1 and 2 have 10.5.0.N outside and 10.9.0.N inside.
fn tcp_through_two_drivers_loses_nothing(way: Way) {
    let linked = Barrier::new(2);
    let (tell, far) = channel();
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            in_namespace(|| {
                // SAFETY: touches no memory.
                tell.send(unsafe { libc::gettid() }).unwrap();
                linked.wait();
                host(2, way, &linked)
            })
        });
        let tid = far.recv().unwrap();
        ip(&format!(
            "link add outer type veth peer name outer netns {tid}"
        ));
        linked.wait();
        let stats = [host(1, way, &linked), second.join().unwrap()];
        for stats in stats {
            assert!(stats.received_bytes as usize > BYTES, "{stats:?}");
            assert!(
                stats.tun_reads < stats.tun_read_bytes / 4000,
                "super-packets: {stats:?}"
            );
            let lost = stats.send_full + stats.send_too_big + stats.send_other + stats.tun_full;
            assert_eq!(lost + stats.tun_refused + stats.truncated, 0, "{stats:?}");
        }
    });
}

fn host(number: u8, way: Way, linked: &Barrier) -> PacketStats {
    ip(&format!("addr add 10.5.0.{number}/24 dev outer"));
    ip("link set outer up");
    let mut tun = tun::open(&tun_options()).unwrap();
    // Each super-packet is to fit into one datagram, which leaves in fragments.
    ip("link set wg0 gso_max_size 60000 up");
    ip(&format!("addr add 10.9.0.{number}/24 dev wg0"));
    let options = UdpOptions {
        port: PORT,
        ..UdpOptions::default()
    };
    let outer = udp::bind_v4(&options).unwrap();
    let queue = tun.queues.remove(0);
    let listener = TcpListener::bind(("0.0.0.0", APP)).unwrap();
    linked.wait();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (tell, waker) = channel();
        let done = &done;
        let worker = scope.spawn(move || {
            let config = PacketConfig {
                features: way.features,
                send_buffer_bytes: SEND_BYTES_MAX as u32,
                ..PacketConfig::default()
            };
            let mut driver = PacketDriver::open(way.kind, &config, queue).unwrap();
            driver.set_udp(Family::V4, Some(outer));
            forward(&mut driver, number, &tell, done)
        });
        let waker: Waker = waker.recv().unwrap();
        let server = scope.spawn(move || receive(listener));
        send(number);
        server.join().unwrap();
        linked.wait();
        done.store(true, Ordering::Relaxed);
        waker.wake();
        worker.join().unwrap()
    })
}

/// TUN to the other host as it comes, vnet header and all, and back.
fn forward(
    driver: &mut PacketDriver,
    number: u8,
    tell: &Sender<Waker>,
    done: &AtomicBool,
) -> PacketStats {
    tell.send(driver.waker()).unwrap();
    let other: SocketAddr = (Ipv4Addr::new(10, 5, 0, 3 - number), PORT).into();
    let mut out = Vec::new();
    while !done.load(Ordering::Relaxed) {
        driver.wait(None, &mut out).unwrap();
        for arrival in out.drain(..) {
            match arrival {
                Arrival::Tun { buf } => {
                    let send = driver.send_buffer().unwrap();
                    let (bytes, received) = driver.send_bytes_and_received(&send);
                    let packet = received.bytes(&buf);
                    bytes[..packet.len()].copy_from_slice(packet);
                    driver.send(send, buf.len(), buf.len(), other, None, 0);
                    driver.recycle(buf);
                }
                Arrival::Datagrams {
                    buf, segment_bytes, ..
                } => {
                    let packets = driver.recv_bytes(&buf).to_vec();
                    for packet in packets.chunks(segment_bytes) {
                        driver.write_tun(packet, &[], &[]);
                    }
                    driver.recycle(buf);
                }
                Arrival::Woken => {}
                other => panic!("{other:?}"),
            }
        }
    }
    driver.wait(Some(Duration::ZERO), &mut out).unwrap();
    driver.stats()
}

fn send(number: u8) {
    let other = Ipv4Addr::new(10, 9, 0, 3 - number);
    let mut stream = TcpStream::connect((other, APP)).unwrap();
    let mut bytes = vec![0; 1 << 20];
    for from in (0..BYTES).step_by(bytes.len()) {
        fill(1, from as u64, &mut bytes);
        stream.write_all(&bytes).unwrap();
    }
}

fn receive(listener: TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = vec![0; 1 << 20];
    for from in (0..BYTES).step_by(bytes.len()) {
        stream.read_exact(&mut bytes).unwrap();
        check(1, from as u64, &bytes);
    }
}
