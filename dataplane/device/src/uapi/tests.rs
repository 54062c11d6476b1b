//! The examples of the page, what is refused, and that what is printed can be read.

use core::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;

const PRIVATE: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";
const PEER: &str = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";
const PRESHARED: &str = "188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52";

fn bytes(hex: &str) -> [u8; KEY_BYTES] {
    *values::key(hex).unwrap()
}

fn set(lines: &str) -> Result<SetDevice, UapiError> {
    match Request::parse(&format!("set=1\n{lines}\n"))? {
        Request::Set(set) => Ok(set),
        Request::Get => panic!("not a get"),
    }
}

fn refusal(lines: &str) -> UapiError {
    set(lines).err().unwrap()
}

fn networks(peer: &SetPeer) -> Vec<String> {
    let text = |ip: &AllowedIp| format!("{}{}", if ip.remove { "-" } else { "" }, ip.network);
    peer.allowed_ips.iter().map(text).collect()
}

#[test]
fn an_interface_and_its_peers_are_set() {
    let set = set(&format!(
        "private_key={PRIVATE}\nfwmark=0\nlisten_port=12912\nreplace_peers=true\n\
         public_key={PEER}\npreshared_key={PRESHARED}\nreplace_allowed_ips=true\n\
         endpoint=[abcd:23::33%2]:51820\nallowed_ip=192.168.4.4/32\n\
         public_key={PRESHARED}\nupdate_only=true\nendpoint=182.122.22.19:3233\n\
         persistent_keepalive_interval=111\nallowed_ip=192.168.4.10/16\nallowed_ip=-10.0.0.0/8\n\
         protocol_version=1\npublic_key={PRIVATE}\nremove=true\n"
    ))
    .unwrap();
    let private_key = set.private_key.unwrap().unwrap();
    assert_eq!(*private_key, bytes(PRIVATE));
    assert_eq!((set.fwmark, set.listen_port), (Some(0), Some(12912)));
    assert!(set.replace_peers);
    let [first, second, third] = &set.peers[..] else {
        panic!("three peers")
    };

    assert_eq!(first.public_key, bytes(PEER));
    assert_eq!(**first.preshared_key.as_ref().unwrap(), bytes(PRESHARED));
    assert_eq!(first.endpoint.unwrap().to_string(), "[abcd:23::33%2]:51820");
    assert!(first.replace_allowed_ips && !first.remove && !first.update_only);
    assert_eq!(networks(first), ["192.168.4.4/32"]);

    assert!(second.update_only && !second.replace_allowed_ips);
    assert_eq!(second.endpoint.unwrap().to_string(), "182.122.22.19:3233");
    assert_eq!(second.persistent_keepalive_interval, Some(111));
    assert_eq!(networks(second), ["192.168.0.0/16", "-10.0.0.0/8"]);
    assert!(second.preshared_key.is_none());

    assert!(third.remove);
    assert_eq!(third.public_key, bytes(PRIVATE));
}

#[test]
fn zeros_clear_the_private_key_and_nothing_leaves_it() {
    let zeros = "0".repeat(64);
    assert!(matches!(
        set(&format!("private_key={zeros}\n")).unwrap().private_key,
        Some(None)
    ));
    assert!(set("").unwrap().private_key.is_none());
}

#[test]
fn allowed_ips_before_they_are_replaced_are_removed_too() {
    let set = set(&format!(
        "public_key={PEER}\nallowed_ip=10.0.0.0/8\nreplace_allowed_ips=true\nallowed_ip=fd00::1/64\n"
    ))
    .unwrap();
    assert_eq!(networks(&set.peers[0]), ["fd00::/64"]);
}

#[test]
fn refusals_have_the_numbers_of_wireguard_go() {
    let line = 2;
    let value = |key| UapiError::Value { key, line };
    for (text, error) in [
        ("listen_port=65536\n", value("listen_port")),
        ("listen_port=+1\n", value("listen_port")),
        ("listen_port=\n", value("listen_port")),
        ("fwmark=0x1\n", value("fwmark")),
        ("replace_peers=false\n", value("replace_peers")),
        ("private_key=00\n", value("private_key")),
        ("public_key=zz\n", value("public_key")),
        ("remove=true\n", UapiError::Key { line }),
        ("allowed_ip=10.0.0.0/8\n", UapiError::Key { line }),
        ("peer=1\n", UapiError::Key { line }),
    ] {
        assert_eq!(refusal(text), error, "{text}");
        assert_eq!(error.errno(), Errno::INVAL);
    }
    let line = 3;
    let value = |key| UapiError::Value { key, line };
    for (text, error) in [
        ("allowed_ip=10.0.0.0\n", value("allowed_ip")),
        ("allowed_ip=10.0.0.0/33\n", value("allowed_ip")),
        ("allowed_ip=--10.0.0.0/8\n", value("allowed_ip")),
        ("allowed_ip=10.0.0.0/+8\n", value("allowed_ip")),
        ("endpoint=example.org:1\n", value("endpoint")),
        ("endpoint=::1:1\n", value("endpoint")),
        ("endpoint=[fe80::1%eth0]:1\n", value("endpoint")),
        (
            "persistent_keepalive_interval=65536\n",
            value("persistent_keepalive_interval"),
        ),
        ("protocol_version=2\n", value("protocol_version")),
        ("update_only=1\n", value("update_only")),
        ("private_key=00\n", UapiError::Key { line }),
    ] {
        assert_eq!(
            refusal(&format!("public_key={PEER}\n{text}")),
            error,
            "{text}"
        );
        assert_eq!(error.errno(), Errno::INVAL);
    }
    assert_eq!(refusal("listen_port\n"), UapiError::Line { line: 2 });
    assert_eq!(refusal("\nlisten_port=1\n"), UapiError::Line { line: 3 });
    assert_eq!(UapiError::Line { line: 2 }.errno(), Errno::PROTO);
    let long = format!("listen_port={}\n", "1".repeat(LINE_BYTES_MAX));
    assert_eq!(refusal(&long), UapiError::LineTooLong { line: 2 });
    assert_eq!(refusal(&long).errno(), Errno::IO);
    let many = "fwmark=1\n".repeat(REQUEST_LINES_MAX);
    assert_eq!(refusal(&many), UapiError::TooManyLines);
    for text in ["", "\n", "get=2\n\n", "put=1\n\n"] {
        assert_eq!(Request::parse(text).err(), Some(UapiError::Operation));
    }
}

#[test]
fn a_scope_may_be_a_name_that_the_caller_knows() {
    let mut reader = Reader::new(|name| (name == "eth0").then_some(7));
    let text = format!("set=1\npublic_key={PEER}\nendpoint=[fe80::1%eth0]:1\n\n");
    let (used, request) = reader.read(text.as_bytes());
    assert_eq!(used, text.len());
    let Some(Ok(Request::Set(set))) = request else {
        panic!("a set")
    };
    assert_eq!(set.peers[0].endpoint.unwrap().to_string(), "[fe80::1%7]:1");
}

#[test]
fn requests_follow_each_other_however_they_are_cut() {
    let stream = "get=1\n\nset=1\nfwmark=x\nlisten_port=1\n\nset=1\nfwmark=3\n\nget=1\n\n";
    for step in 1..stream.len() {
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for mut bytes in stream.as_bytes().chunks(step) {
            while !bytes.is_empty() {
                let (used, request) = reader.read(bytes);
                bytes = &bytes[used..];
                seen.extend(request.map(|request| match request {
                    Ok(Request::Get) => "get".into(),
                    Ok(Request::Set(set)) => format!("set {:?}", set.fwmark),
                    Err(error) => format!("{error}"),
                }));
            }
        }
        assert_eq!(
            seen,
            ["get", "invalid fwmark in line 2", "set Some(3)", "get"],
            "{step}"
        );
    }
}

#[test]
fn an_answer_is_that_of_wireguard_go() {
    let snapshot = Snapshot {
        private_key: Some(Zeroizing::new(bytes(PRIVATE))),
        listen_port: 12912,
        fwmark: 5,
        peers: vec![PeerSnapshot {
            public_key: bytes(PEER),
            preshared_key: None,
            endpoint: Some("[abcd:23::33%2]:51820".parse().unwrap()),
            last_handshake: Duration::new(1_700_000_000, 5),
            tx_bytes: 38333,
            rx_bytes: 2224,
            persistent_keepalive_interval: 111,
            allowed_ips: vec![
                "192.168.4.4/32".parse().unwrap(),
                "fd00::/64".parse().unwrap(),
            ],
        }],
    };
    let zeros = "0".repeat(64);
    assert_eq!(
        *Answer::Got(&snapshot).text(),
        format!(
            "private_key={PRIVATE}\nlisten_port=12912\nfwmark=5\npublic_key={PEER}\npreshared_key={zeros}\n\
             protocol_version=1\nendpoint=[abcd:23::33%2]:51820\nlast_handshake_time_sec=1700000000\n\
             last_handshake_time_nsec=5\ntx_bytes=38333\nrx_bytes=2224\npersistent_keepalive_interval=111\n\
             allowed_ip=192.168.4.4/32\nallowed_ip=fd00::/64\nerrno=0\n\n"
        )
    );
    assert_eq!(*Answer::Got(&Snapshot::default()).text(), "errno=0\n\n");
    assert_eq!(*Answer::Done.text(), "errno=0\n\n");
    assert_eq!(*Answer::Refused(Errno::INVAL).text(), "errno=-22\n\n");
}

/// A snapshot as its plain values, of which tests can print a difference.
type Plain = (
    Option<[u8; KEY_BYTES]>,
    u16,
    u32,
    Vec<(
        [u8; KEY_BYTES],
        [u8; KEY_BYTES],
        Option<core::net::SocketAddr>,
        u16,
        Vec<IpNet>,
    )>,
);

fn plain() -> impl Strategy<Value = Plain> {
    let network = (any::<core::net::IpAddr>(), 0..=128_u8).prop_map(|(address, bits)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, bits.min(most)).unwrap().trunc()
    });
    let peer = (
        any::<[u8; KEY_BYTES]>(),
        any::<[u8; KEY_BYTES]>(),
        any::<Option<(core::net::IpAddr, u16)>>().prop_map(|endpoint| endpoint.map(Into::into)),
        any::<u16>(),
        prop::collection::vec(network, 0..5),
    );
    let private_key = prop::option::of(prop::array::uniform32(1..=255_u8));
    (
        private_key,
        any::<u16>(),
        any::<u32>(),
        prop::collection::vec(peer, 0..5),
    )
}

proptest! {
    #[test]
    fn what_is_printed_can_be_read(plain in plain(), bytes in any::<u64>(), time in any::<Duration>()) {
        let (private_key, listen_port, fwmark, peers) = plain.clone();
        let peers = peers.into_iter().map(|(public_key, preshared_key, endpoint, interval, allowed_ips)| PeerSnapshot {
            public_key,
            preshared_key: Some(Zeroizing::new(preshared_key)),
            endpoint,
            last_handshake: time,
            tx_bytes: bytes,
            rx_bytes: !bytes,
            persistent_keepalive_interval: interval,
            allowed_ips,
        });
        let private_key = private_key.map(Zeroizing::new);
        let snapshot = Snapshot { private_key, listen_port, fwmark, peers: peers.collect() };
        let text = Answer::Got(&snapshot).text();

        let read_only = ["last_handshake_time_", "tx_bytes", "rx_bytes", "errno"];
        let lines = text.lines().filter(|line| !read_only.iter().any(|key| line.starts_with(key)));
        let lines: String = lines.flat_map(|line| [line, "\n"]).collect();
        let Ok(Request::Set(set)) = Request::parse(&format!("set=1\n{lines}")) else {
            return Err(TestCaseError::fail("not a set"));
        };
        let peers = set.peers.iter().map(|peer| (
            peer.public_key,
            **peer.preshared_key.as_ref().unwrap(),
            peer.endpoint,
            peer.persistent_keepalive_interval.unwrap(),
            peer.allowed_ips.iter().map(|ip| ip.network).collect(),
        ));
        let private_key = set.private_key.map(|key| *key.unwrap());
        let read: Plain = (private_key, set.listen_port.unwrap_or(0), set.fwmark.unwrap_or(0), peers.collect());
        prop_assert_eq!(read, plain);
    }

    #[test]
    fn no_text_panics(text in "(set=1\n)?(((private|public|preshared)_key|endpoint|allowed_ip|fwmark)=[-0-9a-f.:\\[\\]%/\n]{0,80}\n|\\PC{0,20}\n){0,6}") {
        drop(Request::parse(&text));
        let mut reader = Reader::new(|name| name.len().try_into().ok());
        drop(reader.read(text.as_bytes()));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut reader = Reader::default();
        drop(reader.read(b"set=1\n"));
        drop(reader.read(&bytes));
    }
}
