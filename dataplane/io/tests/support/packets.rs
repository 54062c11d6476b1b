//! What the tests of packet drivers share: the table of drivers, one with its TUN device and
//! sockets, and its loop.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use towline_io::packet::{Arrival, Family, Local, PacketConfig, PacketDriver, VNET_HEADER_BYTES};
use towline_io::tun::{self, Tun, TunOffload, TunOptions};
use towline_io::udp::{self, UdpOptions};
use towline_io::{DriverKind, Features};

use super::PATIENCE;
use super::namespace::ip;

/// One way to run the drivers.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) kind: DriverKind,
    pub(crate) features: Features,
}

/// Makes a test of each named function for every way to run the drivers, each in a namespace of its
/// own.
macro_rules! on_every_packet_driver {
    ($($case:ident),+ $(,)?) => {
        on_every_packet_driver!(@way uring, Uring, Features::all(), $($case),+);
        on_every_packet_driver!(@way uring_6_1, Uring, Features::all()
            .without(Features::MULTISHOT_READ).without(Features::NO_SQARRAY)
            .without(Features::NO_IOWAIT), $($case),+);
        on_every_packet_driver!(@way epoll, Epoll, Features::none(), $($case),+);
    };
    (@way $module:ident, $kind:ident, $features:expr, $($case:ident),+) => {
        mod $module {
            use towline_io::{DriverKind, Features};
            $(
                #[test]
                fn $case() {
                    let way = super::support::packets::Way {
                        kind: DriverKind::$kind,
                        features: $features,
                    };
                    super::support::namespace::in_namespace(|| super::$case(way));
                }
            )+
        }
    };
}
pub(crate) use on_every_packet_driver;

/// A driver with its interface, which is up and has 10.9.0.1/24 and fd09::1/64.
pub(crate) struct Station {
    pub(crate) driver: PacketDriver,
    pub(crate) tun: Tun,
}

pub(crate) fn tun_options() -> TunOptions {
    TunOptions {
        name: "wg%d".to_owned(),
        queues: 1,
        offload: TunOffload {
            checksum: true,
            tso: true,
            uso: true,
        },
        mtu: None,
    }
}

impl Way {
    pub(crate) fn open(self, config: PacketConfig) -> Station {
        let mut tun = tun::open(&tun_options()).unwrap();
        let config = PacketConfig {
            features: self.features,
            ..config
        };
        let queue = tun.queues.remove(0);
        let driver = PacketDriver::open(self.kind, &config, queue).unwrap();
        let name = &tun.name;
        // Without this the kernel's own neighbour and router messages would come in between.
        std::fs::write(
            format!("/proc/sys/net/ipv6/conf/{name}/router_solicitations"),
            "0",
        )
        .unwrap();
        ip(&format!("link set {name} up"));
        ip(&format!("addr add 10.9.0.1/24 dev {name}"));
        ip(&format!("addr add fd09::1/64 dev {name} nodad"));
        Station { driver, tun }
    }

    /// With a socket of each family on one port: the port.
    pub(crate) fn open_with_udp(self, config: PacketConfig) -> (Station, u16) {
        let mut station = self.open(config);
        let port = station.bind(&UdpOptions::default());
        (station, port)
    }
}

impl Station {
    /// Gives the driver new sockets of both families on one port.
    pub(crate) fn bind(&mut self, options: &UdpOptions) -> u16 {
        let v4 = udp::bind_v4(options).unwrap();
        let port = v4.port;
        let v6 = udp::bind_v6(&UdpOptions { port, ..*options }).unwrap();
        self.driver.set_udp(Family::V4, Some(v4));
        self.driver.set_udp(Family::V6, Some(v6));
        port
    }

    /// Queues a copy of these bytes.
    pub(crate) fn send(
        &mut self,
        bytes: &[u8],
        segment_bytes: usize,
        to: SocketAddr,
        local: Option<IpAddr>,
        ecn: u8,
    ) {
        let buf = self.driver.send_buffer().unwrap();
        self.driver.send_bytes_mut(&buf)[..bytes.len()].copy_from_slice(bytes);
        let local = local.map(|address| Local {
            address,
            interface: 0,
        });
        self.driver
            .send(buf, bytes.len(), segment_bytes, to, local, ecn);
    }

    /// Waits, handing each arrival to `handle`, until that says it is done.
    pub(crate) fn run(&mut self, mut handle: impl FnMut(&mut PacketDriver, Arrival) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut out = Vec::new();
        loop {
            let driver = &mut self.driver;
            driver
                .wait(Some(Duration::from_millis(100)), &mut out)
                .unwrap();
            let mut done = false;
            for arrival in out.drain(..) {
                done |= handle(driver, arrival);
            }
            if done {
                return;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "no progress: {:?}", driver.stats());
        }
    }

    /// Every buffer is free again.
    pub(crate) fn check_buffers(&mut self) {
        let mut out = Vec::new();
        self.driver.wait(Some(Duration::ZERO), &mut out).unwrap();
        for arrival in out {
            if let Arrival::Tun { buf } | Arrival::Datagrams { buf, .. } = arrival {
                self.driver.recycle(buf);
            }
        }
        assert_eq!(self.driver.buffers_held(), (0, 0));
    }
}

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;

/// The protocol of an IPv4 packet behind a vnet header; 0 of anything else.
pub(crate) fn protocol(packet: &[u8]) -> u8 {
    let ip = &packet[VNET_HEADER_BYTES..];
    if ip[0] >> 4 == 4 { ip[9] } else { 0 }
}
