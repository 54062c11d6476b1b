//! Hosts that forbid io_uring: the cause is named, and epoll goes on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::thread;

use support::namespace::in_namespace;
use support::{packets, pair, run};
use towline_io::packet::{self, Arrival, PacketConfig, PacketDriver};
use towline_io::{Completion, Driver, DriverConfig, DriverError, DriverKind, Features, probe, tun};

#[test]
fn a_seccomp_filter_is_named_and_epoll_still_works() {
    // The filter holds for the thread that installs it.
    thread::spawn(|| {
        forbid_io_uring(libc::EPERM);
        let found = probe();
        assert!(
            matches!(found.uring, Err(DriverError::Seccomp { .. })),
            "{found:?}"
        );
        assert!(found.to_string().contains("seccomp"), "{found}");

        let config = DriverConfig::default();
        assert!(Driver::open(DriverKind::Uring, &config).is_err());
        let mut driver = Driver::open(DriverKind::Epoll, &config).unwrap();
        let (ours, mut peer) = pair();
        driver.add(ours, 1).unwrap();
        peer.write_all(b"still here").unwrap();
        run(&mut driver, |driver, completion| match completion {
            Completion::Received { buf, .. } => {
                assert_eq!(driver.recv_bytes(&buf), b"still here");
                driver.recycle(buf);
                true
            }
            other => panic!("{other:?}"),
        });
    })
    .join()
    .unwrap();
}

#[test]
fn packets_are_refused_with_the_same_cause_and_go_on_with_epoll() {
    in_namespace(|| {
        assert!(packet::probe().unwrap().contains(Features::MULTISHOT_RECV));
        let mut queues = tun::open(&packets::tun_options()).unwrap().queues;
        let config = PacketConfig::default();
        let copy = queues[0].try_clone().unwrap();
        forbid_io_uring(libc::EPERM);
        let refused = packet::probe();
        assert!(
            matches!(refused, Err(DriverError::Seccomp { .. })),
            "{refused:?}"
        );
        assert!(PacketDriver::open(DriverKind::Uring, &config, copy).is_err());
        let queue = queues.remove(0);
        let mut driver = PacketDriver::open(DriverKind::Epoll, &config, queue).unwrap();
        driver.waker().wake();
        let mut out = Vec::new();
        driver.wait(None, &mut out).unwrap();
        assert!(matches!(out[..], [Arrival::Woken]), "{out:?}");
    });
}

#[test]
fn packet_sizes_and_features_that_make_no_sense_are_refused() {
    let wrong = [
        PacketConfig {
            turn: 0,
            ..PacketConfig::default()
        },
        PacketConfig {
            recv_buffers: 40,
            ..PacketConfig::default()
        },
        PacketConfig {
            send_buffers: 0,
            ..PacketConfig::default()
        },
        PacketConfig {
            features: Features::all().without(Features::BUFFER_RING),
            ..PacketConfig::default()
        },
    ];
    in_namespace(|| {
        for config in wrong {
            let queue = tun::open(&packets::tun_options()).unwrap().queues.remove(0);
            let opened = PacketDriver::open(DriverKind::Uring, &config, queue);
            assert!(matches!(opened, Err(DriverError::Config(_))));
        }
    });
}

#[test]
fn a_filter_that_hides_the_system_call_is_not_taken_for_an_old_kernel() {
    thread::spawn(|| {
        forbid_io_uring(libc::ENOSYS);
        assert!(matches!(probe().uring, Err(DriverError::Seccomp { .. })));
    })
    .join()
    .unwrap();
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let wrong = [
        DriverConfig {
            recv_buffers: 3,
            ..DriverConfig::default()
        },
        DriverConfig {
            send_buffers: 0,
            ..DriverConfig::default()
        },
        DriverConfig {
            cq_entries: 16,
            ..DriverConfig::default()
        },
        DriverConfig {
            sockets_max: 0,
            ..DriverConfig::default()
        },
    ];
    for config in wrong {
        for kind in [DriverKind::Uring, DriverKind::Epoll] {
            assert!(matches!(
                Driver::open(kind, &config),
                Err(DriverError::Config(_))
            ));
        }
    }
}

/// A filter that answers `io_uring_setup` with an error and allows the rest, as container runtimes
/// do.
fn forbid_io_uring(errno: i32) {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` points to a program of its length; both live through the calls.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter),
        ]
    };
    assert_eq!(results, [0, 0]);
}
