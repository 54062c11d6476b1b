//! Sources and rules together, as an operator meets them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;

/// Sources with a key file that is made on demand, so that only the tested settings matter.
fn sources(arguments: &[(&str, &str)]) -> Sources {
    let mut all = vec![("key-file", "/nonexistent/derper.key")];
    all.extend_from_slice(arguments);
    Sources {
        file: None,
        environment: environment(&[("HOME", "/nonexistent/home")]),
        arguments: all
            .iter()
            .map(|(long, text)| ((*long).to_owned(), (*text).to_owned()))
            .collect(),
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let owned = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment::new(owned, false)
}

fn load(arguments: &[(&str, &str)]) -> RelayConfig {
    sources(arguments).load().unwrap().config
}

/// The first problem with these arguments.
fn problem(arguments: &[(&str, &str)]) -> String {
    sources(arguments).load().unwrap_err().problems[0].to_string()
}

fn with_file(text: &str) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.toml");
    fs::write(&path, text).unwrap();
    Sources {
        file: Some(path),
        ..sources(&[("hostname", "relay.example.com")])
    }
    .load()
}

#[test]
fn every_setting_has_its_own_names() {
    for (index, setting) in settings().enumerate() {
        for other in settings().skip(index + 1) {
            assert_ne!(setting.long, other.long);
            assert_ne!(setting.key, other.key);
            assert!(setting.short.is_none() || setting.short != other.short);
        }
        assert!(
            !setting.help.ends_with('.') && !setting.help.is_empty(),
            "{}",
            setting.long
        );
    }
}

#[test]
fn every_default_is_a_value_that_its_setting_accepts() {
    let defaults = RelayConfig::default();
    let mut again = RelayConfig::default();
    for setting in settings() {
        let text = setting.text(&defaults);
        (setting.set)(&mut again, &text)
            .unwrap_or_else(|error| panic!("{}: {error}", setting.long));
    }
    assert_eq!(again, defaults);
}

#[test]
fn times_that_the_kernel_has_no_numbers_for_are_the_nearest_that_it_has() {
    let tcp = |keepalive_s: f64, user_timeout_s: u64| TcpConfig {
        keepalive_time: Duration::from_secs_f64(keepalive_s),
        user_timeout: Duration::from_secs(user_timeout_s),
        ..TcpConfig::default()
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (given_s, taken_s) in [(0.5, 1), (60.0, 60), (36_000.0, 32_767), (1e9, 32_767)] {
        let options = tcp(given_s, 1 << 40).accepted();
        options.set(&listener).unwrap();
        let keepalive = options.keepalive.unwrap();
        assert_eq!(keepalive.idle, Duration::from_secs(taken_s));
        assert_eq!(keepalive.interval, keepalive.idle);
    }
    let off = tcp(0.0, 0).accepted();
    assert_eq!((off.keepalive, off.user_timeout), (None, None));
}

#[test]
fn derpers_defaults() {
    let config = load(&[("hostname", "relay.example.com")]);
    assert_eq!(config.listen.address.to_string(), ":443");
    assert_eq!(config.listen.http_port, Some(80));
    assert!(config.derp && config.stun.enabled && config.tls.enabled);
    assert_eq!(config.stun.port, 3478);
    assert_eq!(config.tls.mode, CertMode::Acme);
    assert_eq!(
        config.tls.cert_dir,
        Path::new("/nonexistent/home/.cache/tailscale/derper-certs")
    );
    assert_eq!(config.limits.accept_per_second, f64::INFINITY);
    assert_eq!(config.tcp.keepalive_time, Duration::from_secs(600));
    assert_eq!(config.tcp.user_timeout, Duration::from_secs(15));
    assert_eq!(config.tcp.write_timeout, Duration::from_secs(2));
    assert!(!config.admission.fail_open, "the one deliberate difference");
}

#[test]
fn tls_follows_derpers_rule() {
    let cases: [(&[(&str, &str)], bool); 8] = [
        (&[("listen", ":443")], true),
        (&[("listen", "192.0.2.1:https")], true),
        (&[("listen", ":8443")], false),
        (&[("listen", ":8443"), ("certmode", "manual")], true),
        (&[("listen", ":8443"), ("certmode", "self-signed")], true),
        (&[("listen", ":8443"), ("tls", "on")], true),
        (&[("listen", ":443"), ("tls", "off")], false),
        (&[("dev", "true")], false),
    ];
    for (arguments, tls) in cases {
        let mut all = vec![("hostname", "relay.example.com")];
        all.extend_from_slice(arguments);
        assert_eq!(load(&all).tls.enabled, tls, "{arguments:?}");
    }
}

#[test]
fn a_configuration_file_has_a_bound() {
    let mut text = "#".repeat((1 << 20) - 1) + "\n";
    assert!(with_file(&text).is_ok());
    text.push('\n');
    let error = with_file(&text).unwrap_err().to_string();
    assert!(error.contains("longer than 1048576 bytes"), "{error}");
}

#[test]
fn sizes_and_rates_are_written_with_units_in_every_source() {
    let limits = load(&[
        ("listen", ":80"),
        ("client-rate", "2MB"),
        ("client-burst", "128KiB"),
        ("queue-bytes-max", "1.5 MiB"),
    ])
    .limits;
    assert_eq!(limits.client_rate.bytes_per_second, 2_000_000);
    assert_eq!(limits.client_rate.burst_bytes, 131_072);
    assert_eq!(limits.queue_bytes_max, 1_572_864);
    let file = with_file("[limits]\nclient_rate = \"500kB\"\nqueue_bytes_max = 1_000_000\n");
    let limits = file.unwrap().config.limits;
    assert_eq!(limits.client_rate.bytes_per_second, 500_000);
    assert_eq!(limits.queue_bytes_max, 1_000_000);
    let none = load(&[("listen", ":80"), ("client-rate", "none")]);
    assert_eq!(none.limits.client_rate.bytes_per_second, 0);
    let wrong = problem(&[("listen", ":80"), ("client-rate", "2Mbit")]);
    assert!(
        wrong.contains("--client-rate") && wrong.contains("or none"),
        "{wrong}"
    );
}

#[test]
fn development_mode_needs_nothing() {
    let sources = Sources {
        arguments: vec![("dev".to_owned(), "true".to_owned())],
        ..Sources::default()
    };
    let config = sources.load().unwrap().config;
    assert_eq!(config.listen.address.to_string(), ":3340");
    assert_eq!(config.key_file, None);
    assert!(!config.tls.enabled);
    assert_eq!(config.mesh.key, MeshKeySource::None);
}

#[test]
fn later_sources_win() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.toml");
    fs::write(
        &path,
        "[stun]\nport = 1001\n[listen]\naddress = \":1001\"\nhttp_port = 1001\n",
    )
    .unwrap();
    let mut sources = sources(&[("listen", ":1003")]);
    sources.environment = environment(&[
        ("TOWLINE_RELAY_CONFIG", path.to_str().unwrap()),
        ("TOWLINE_RELAY_HTTP_PORT", "1002"),
        ("TOWLINE_RELAY_LISTEN", ":1002"),
    ]);
    let loaded = sources.load().unwrap();
    assert_eq!(loaded.config.stun.port, 1001);
    assert_eq!(loaded.config.listen.http_port, Some(1002));
    assert_eq!(loaded.config.listen.address.to_string(), ":1003");
    assert_eq!(
        loaded.origins.of("listen"),
        Some(&Origin::Argument("-a".to_owned()))
    );
    assert_eq!(
        loaded.origins.of("http-port"),
        Some(&Origin::Environment("TOWLINE_RELAY_HTTP_PORT".to_owned()))
    );
    assert_eq!(
        loaded.origins.of("stun-port"),
        Some(&Origin::File { path, line: 2 })
    );
    assert_eq!(loaded.origins.of("stun"), None);
}

#[test]
fn derpers_variables_count_below_ours() {
    let mut sources = sources(&[("listen", ":8080")]);
    sources.environment = environment(&[
        ("TS_DEBUG_TRUSTED_CIDRS", "10.0.0.0/8,192.168.0.0/16"),
        ("TS_ALLOW_DEBUG_IP", "192.0.2.1"),
        ("TOWLINE_RELAY_DEBUG_ALLOW_IP", "192.0.2.2"),
        ("DERP_DEBUG_LOGS", "true"),
        ("TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH", "512"),
        ("TOWLINE_RELAY_STUN_PRT", "1"),
        ("TOWLINE_RELAY_PORT", "tcp://10.0.0.1:443"),
        ("TOWLINE_RELAY_SERVICE_HOST", "10.0.0.1"),
        ("UNRELATED", "x"),
    ]);
    let loaded = sources.load().unwrap();
    assert_eq!(loaded.config.debug.trusted_cidrs.len(), 2);
    assert_eq!(
        loaded.config.debug.allow_ip,
        Some("192.0.2.2".parse().unwrap())
    );
    assert_eq!(loaded.config.log.level, "debug");
    let [depth, typo] = loaded.warnings.as_slice() else {
        panic!("{:?}", loaded.warnings)
    };
    assert!(depth.contains("--queue-bytes-max"), "{depth}");
    assert!(typo.contains("TOWLINE_RELAY_STUN_PRT"), "{typo}");
}

#[test]
fn a_connection_limit_that_limits_nothing_is_warned_of() {
    let limit = ("accept-connection-limit", "5");
    let warnings = |arguments: &[(&str, &str)]| sources(arguments).load().unwrap().warnings;
    let alone = warnings(&[("listen", ":80"), limit]);
    assert!(alone[0].contains("--accept-connection-burst"));
    let burst = ("accept-connection-burst", "5");
    assert!(warnings(&[("listen", ":80"), limit, burst]).is_empty());
}

#[test]
fn the_development_mesh_key_stays_in_the_environment() {
    let sources = Sources {
        environment: environment(&[("TAILSCALE_DERPER_MESH_KEY", "hunter2")]),
        ..Sources::default()
    };
    assert!(!format!("{sources:?}").contains("hunter2"));
}

#[test]
fn a_file_with_every_type_of_value() {
    let loaded = with_file(
        r#"
        derp = false
        [listen]
        address = "192.0.2.1:8443"
        http_port = -1
        proxy_protocol_from = ["10.0.0.0/8", "fd00::/8"]
        [tls]
        certmode = "manual"
        [limits]
        accept_connection_limit = 100
        client_rate = 0x100000
        [drain]
        time = "1m30s"
        "#,
    );
    let config = loaded.unwrap().config;
    assert!(!config.derp && config.tls.enabled);
    assert_eq!(config.listen.http_port, None);
    assert_eq!(config.listen.proxy_protocol_from.len(), 2);
    assert_eq!(config.limits.accept_per_second, 100.0);
    assert_eq!(config.limits.client_rate.bytes_per_second, 1 << 20);
    assert_eq!(
        config.limits.client_rate.burst_bytes,
        65536 + 32,
        "raised to a whole packet"
    );
    assert_eq!(config.drain.time, Duration::from_secs(90));
}

#[test]
fn a_wrong_file_names_line_key_and_remedy() {
    let cases = [
        (
            "[stun]\nprt = 1",
            "line 2: stun.prt: there is no such setting; [stun] has enabled, port",
        ),
        (
            "[stn]\nport = 1",
            "line 1: stn: there is no such setting; there are ",
        ),
        ("stun = true", "line 1: stun: there is no such setting"),
        (
            "\n\n[stun]\nport = \"3478\"",
            "line 4: stun.port: it must be a whole number, not a string",
        ),
        (
            "[stun]\nport = 99999",
            "line 2: stun.port: 99999 is out of range: give 0 to 65535",
        ),
        (
            "[drain]\ntime = 30",
            "line 2: drain.time: it must be a duration in quotes",
        ),
        (
            "[drain]\ntime = \"30\"",
            "line 2: drain.time: \"30\" is not a duration",
        ),
        (
            "[mesh]\nwith = [\"a,b\"]",
            "line 2: mesh.with: \"a,b\" must not contain a comma",
        ),
        (
            "[mesh]\nwith = [1]",
            "line 2: mesh.with: it must be an array of strings",
        ),
        (
            "[tls]\ncertmode = \"gcp\"",
            "line 2: tls.certmode: gcp (Google Trust Services) is not",
        ),
        ("[tls\n", "line 1"),
    ];
    for (text, says) in cases {
        let error = with_file(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
}

#[test]
fn contradictions_name_the_place_and_the_remedy() {
    let cases: [(&[(&str, &str)], &str); 18] = [
        (&[], "--hostname: say the name"),
        (
            &[("hostname", "192.0.2.1")],
            "--hostname: 192.0.2.1 is an IP address",
        ),
        (&[("hostname", "a b")], "--hostname: \"a b\" is neither"),
        (
            &[("certmode", "self-signed"), ("listen", ":8443")],
            "--hostname: say the name",
        ),
        (
            &[("listen", ":80"), ("tls", "on"), ("hostname", "a.b")],
            "--http-port: port 80 is the main",
        ),
        (&[("listen", "443")], "-a: \"443\" is not a listen address"),
        (
            &[("listen", ":80"), ("mesh-with", "a,b")],
            "--mesh-with: a mesh needs its shared key",
        ),
        (
            &[("listen", ":80"), ("mesh-with", "a/b/c")],
            "--mesh-with: \"a/b/c\" has too many parts",
        ),
        (
            &[("listen", ":80"), ("home", "about:blank")],
            "--home: \"about:blank\" is neither blank",
        ),
        (
            &[
                ("listen", ":80"),
                ("unpublished-bootstrap-dns-names", "a.example/share.example"),
            ],
            "--unpublished-bootstrap-dns-names: \"a.example/share.example\": the share of askers",
        ),
        (
            &[("listen", ":80"), ("shards", "0")],
            "--shards: 0 is too few",
        ),
        (
            &[("listen", ":80"), ("io", "kqueue")],
            "--io: \"kqueue\" is none of auto, uring, epoll",
        ),
        (
            &[("listen", ":80"), ("accept-connection-limit", "-1")],
            "--accept-connection-limit: -1",
        ),
        (
            &[
                ("listen", ":80"),
                ("accept-connection-limit", "5"),
                ("accept-connection-burst", "0"),
            ],
            "--accept-connection-burst: with 0 nobody could connect",
        ),
        (
            &[("listen", ":80"), ("connections-max", "0")],
            "--connections-max: with 0 nobody could connect",
        ),
        (
            &[("listen", ":80"), ("io-gather", "1s")],
            "--io-gather: busy clients would wait",
        ),
        (
            &[("listen", ":80"), ("queue-bytes-max", "1000")],
            "--queue-bytes-max: give at least",
        ),
        (
            &[
                ("listen", ":80"),
                ("admission-allow-file", "/nonexistent/keys"),
            ],
            "--admission-allow-file: cannot read /nonexistent/keys",
        ),
    ];
    for (arguments, says) in cases {
        let problem = problem(arguments);
        assert!(problem.starts_with(says), "{arguments:?}: {problem}");
    }
}

#[test]
fn the_server_key_has_a_default_for_root_only() {
    let mut sources = Sources {
        environment: Environment::new([], true),
        arguments: vec![("listen".to_owned(), ":80".to_owned())],
        ..Sources::default()
    };
    let root = sources.load().unwrap().config;
    assert_eq!(
        root.key_file.as_deref(),
        Some(Path::new("/var/lib/derper/derper.key"))
    );
    assert_eq!(
        root.admin.socket.as_deref(),
        Some(Path::new("/run/towline/relay.sock"))
    );
    sources.environment = environment(&[]);
    assert!(
        sources
            .load()
            .unwrap_err()
            .to_string()
            .starts_with("--key-file: say where")
    );
}

#[test]
fn a_rate_file_excludes_rates_given_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rate.json");
    fs::write(&path, r#"{"PerClientRateLimitBytesPerSec": 1000000}"#).unwrap();
    let file = ("rate-config", path.to_str().unwrap());
    let rate = load(&[("listen", ":80"), file]).limits.client_rate;
    assert_eq!(
        (rate.bytes_per_second, rate.burst_bytes),
        (1_000_000, 65536 + 32)
    );
    assert!(problem(&[("listen", ":80"), file, ("client-rate", "5")]).contains("not both"));
    fs::write(&path, "nonsense").unwrap();
    let error = sources(&[("listen", ":80"), file, ("half-open-max", "0")]).load();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("--rate-config: "), "{error}");
    assert!(error.contains("--half-open-max: with 0"), "{error}");
}

#[test]
fn sighup_reads_the_file_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.toml");
    fs::write(&path, "[limits]\nclient_rate = 1000\n").unwrap();
    let sources = Sources {
        file: Some(path.clone()),
        ..sources(&[("listen", ":80")])
    };
    let config = sources.load().unwrap().config;
    fs::write(&path, "[limits]\nclient_rate = 2000\n[stun]\nport = 1\n").unwrap();
    let new = config.reload().unwrap().config;
    assert_eq!(new.limits.client_rate.bytes_per_second, 2000);
    let waiting: Vec<_> = config
        .needing_restart(&new)
        .iter()
        .map(|setting| setting.long)
        .collect();
    assert_eq!(waiting, ["stun-port"]);
    fs::write(&path, "nonsense").unwrap();
    assert!(config.reload().is_err());
}

#[test]
fn what_check_prints_gives_the_same_configuration() {
    let loaded = sources(&[
        ("hostname", "relay.example.com"),
        ("certmode", "manual"),
        ("mesh-psk-file", ""),
        ("bootstrap-dns-names", "a.example.com,b.example.com"),
        ("unpublished-bootstrap-dns-names", "c.example.com"),
        ("proxy-protocol-from", "10.0.0.0/8"),
        ("io-features", "-multishot-recv"),
        ("io-gather", "50us"),
        ("admin-socket", ""),
        ("shards", "3"),
        ("client-rate", "123456"),
    ])
    .load()
    .unwrap();
    let text = to_toml(&loaded);
    assert!(text.contains("count = 3  # --shards"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("again.toml");
    fs::write(&path, &text).unwrap();
    let again = Sources {
        file: Some(path),
        ..Sources::default()
    }
    .load();
    let mut again = again
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
        .config;
    again.sources.clone_from(&loaded.config.sources);
    assert_eq!(again, loaded.config, "{text}");
}
