//! Making TUN devices.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::namespace::in_namespace;
use support::packets::tun_options;
use towline_io::tun::{self, TunError, TunOffload, TunOptions};

#[test]
fn a_device_is_made_as_asked_and_named_errors_say_what_to_do() {
    in_namespace(|| {
        let options = TunOptions {
            name: "wg%d".to_owned(),
            queues: 3,
            mtu: Some(1380),
            ..tun_options()
        };
        let tun = tun::open(&options).unwrap();
        assert_eq!((tun.name.as_str(), tun.queues.len()), ("wg0", 3));
        assert_eq!(tun::mtu("wg0").unwrap(), 1380);
        assert!(tun::mtu("wg1").is_err());
        let read = |what: &str| {
            let link = std::process::Command::new("ip")
                .args(["-o", "link", "show", what])
                .output();
            String::from_utf8(link.unwrap().stdout).unwrap()
        };
        let link = read("wg0");
        assert!(
            link.contains("qlen 1000") && link.contains("state DOWN"),
            "{link}"
        );
        assert!(link.starts_with(&format!("{}:", tun.index)), "{link}");
        let named = TunOptions {
            name: "wg0".to_owned(),
            ..tun_options()
        };
        let error = tun::open(&named).unwrap_err();
        assert!(matches!(error, TunError::Busy { .. }), "{error}");
        assert!(error.to_string().contains("ip link delete wg0"), "{error}");
        for name in ["", "a b", "a/b", "sixteen-bytes-is", "."] {
            let options = TunOptions {
                name: name.to_owned(),
                ..tun_options()
            };
            assert!(
                matches!(tun::open(&options), Err(TunError::Name(_))),
                "{name}"
            );
        }
        let options = TunOptions {
            queues: 0,
            ..tun_options()
        };
        assert!(matches!(tun::open(&options), Err(TunError::Queues(0))));
        let plain = TunOptions {
            offload: TunOffload {
                checksum: true,
                tso: true,
                uso: false,
            },
            ..tun_options()
        };
        let other = tun::open(&plain).unwrap();
        assert_eq!(other.name, "wg1");
        assert_eq!(other.offload, plain.offload);
        assert_eq!(tun::mtu("wg1").unwrap(), 1420);
    });
}

#[test]
fn without_the_right_the_error_names_it() {
    in_namespace(|| {
        // SAFETY: changes this thread's identity, and nothing else of the process: the plain system call.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) };
        assert_eq!(result, 0);
        let error = tun::open(&tun_options()).unwrap_err();
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}
