//! Whole command lines of derper and ours, down to the configuration that they give.

use std::path::Path;
use std::time::Duration;

use towline_relay::config::{
    CertMode, ConfigError, DriverChoice, HomePage, LogFormat, MeshKeySource, TlsSwitch,
};

use super::*;
use crate::derper::{self, Rewritten};

/// What `towline relay <line>` would run. `-c` is added where the line has none.
fn load(line: &str) -> Result<RelayConfig, ConfigError> {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    if !words.iter().any(|word| word == "-c" || word == "-dev") {
        words.splice(
            0..0,
            ["-c".to_owned(), "/nonexistent/derper.key".to_owned()],
        );
    }
    let Rewritten::Arguments(mut arguments) = derper::rewrite(&words).unwrap() else {
        panic!("{line} prints the version");
    };
    arguments.insert(0, NAME.to_owned());
    let matches = command().try_get_matches_from(arguments).unwrap();
    let home = [("HOME".to_owned(), "/nonexistent/home".to_owned())];
    sources(&matches, Environment::new(home, false))
        .load()
        .map(|loaded| loaded.config)
}

fn config(line: &str) -> RelayConfig {
    load(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn derper_with_its_own_certificate() {
    let config = config(
        "-a :8443 -certmode manual -certdir /etc/derp -hostname derp.example.com -c /k -http-port -1 \
         -verify-client-url=https://control.example.com/verify -stun-port=3479",
    );
    assert_eq!(config.listen.address.to_string(), ":8443");
    assert_eq!(config.listen.http_port, None);
    assert!(config.tls.enabled);
    assert_eq!(config.tls.mode, CertMode::Manual);
    assert_eq!(config.tls.cert_dir, Path::new("/etc/derp"));
    assert_eq!(config.tls.hostname, "derp.example.com");
    assert_eq!(config.key_file.as_deref(), Some(Path::new("/k")));
    assert_eq!(config.stun.port, 3479);
    assert_eq!(
        config.admission.verify_url.as_deref(),
        Some("https://control.example.com/verify")
    );
    assert!(!config.admission.fail_open);
}

#[test]
fn derper_with_lets_encrypt() {
    let config = config(
        "--hostname=derp.example.com --certmode=letsencrypt --a=:443 --acme-email me@example.com",
    );
    assert!(config.tls.enabled);
    assert_eq!(config.tls.mode, CertMode::Acme);
    assert_eq!(config.tls.acme.email.as_deref(), Some("me@example.com"));
}

#[test]
fn derper_in_a_container_that_spells_out_every_default() {
    let config = config(
        "--hostname=derp.example.com --certmode=manual --certdir=/app/certs --a=:4443 --stun=true \
         --stun-port=3478 --http-port=-1 --verify-clients=false --verify-client-url= --ace=false",
    );
    assert!(config.tls.enabled && config.stun.enabled);
    assert_eq!(config.admission.verify_url, None);
}

#[test]
fn derper_behind_a_proxy() {
    let config = config("-a 127.0.0.1:3340 -http-port=-1 -stun=false -home=blank");
    assert!(!config.tls.enabled && !config.stun.enabled);
    assert_eq!(config.http.home, HomePage::Blank);
}

#[test]
fn derper_with_limits_and_times_in_gos_syntax() {
    let config = config(
        "-a :80 -accept-connection-limit 1e2 -accept-connection-burst 0x10 -tcp-keepalive-time 1h30m \
         -tcp-user-timeout 500ms -tcp-write-timeout 0",
    );
    assert_eq!(config.limits.accept_per_second, 100.0);
    assert_eq!(config.limits.accept_burst, 16);
    assert_eq!(config.tcp.keepalive_time, Duration::from_secs(5400));
    assert_eq!(config.tcp.user_timeout, Duration::from_millis(500));
    assert_eq!(config.tcp.write_timeout, Duration::ZERO);
}

#[test]
fn derper_for_development() {
    let config = config("-dev -a :9999");
    assert_eq!(config.listen.address.to_string(), ":3340");
    assert_eq!(config.mesh.key, MeshKeySource::None);
    assert!(!config.tls.enabled);
}

#[test]
fn derper_that_is_retired() {
    let config =
        config("-a :80 -derp=f -bootstrap-dns-names log.example.com,controlplane.example.com");
    assert!(!config.derp);
    assert_eq!(config.http.bootstrap_dns_names.len(), 2);
}

#[test]
fn the_last_of_several_wins() {
    let config = config("-a :80 -stun-port 1 --stun-port=2 -stun -stun=false");
    assert_eq!(config.stun.port, 2);
    assert!(!config.stun.enabled);
}

#[test]
fn our_own_options() {
    let config = config(
        "-a :8443 --certmode self-signed -hostname 192.0.2.1 --shards 4 --io epoll --io-features none \
         --drain-time 1m --admin-socket /tmp/s --log-format json --proxy-protocol-from 10.0.0.0/8 \
         --announce-limits --tls on",
    );
    assert_eq!(config.tls.mode, CertMode::SelfSigned);
    assert_eq!(config.tls.switch, TlsSwitch::On);
    assert_eq!(config.shards.count.map(u16::from), Some(4));
    assert_eq!(config.io.driver, DriverChoice::Epoll);
    assert_eq!(config.drain.time, Duration::from_secs(60));
    assert_eq!(config.admin.socket.as_deref(), Some(Path::new("/tmp/s")));
    assert!(config.admin.required && config.limits.announce);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.listen.proxy_protocol_from.len(), 1);
}

#[test]
fn wrong_values_name_their_flag() {
    let cases = [
        ("-a 8443", "-a: "),
        (
            "-a :80 -stun=maybe",
            "--stun: \"maybe\" is neither true nor false",
        ),
        (
            "-a :80 -tcp-user-timeout 15",
            "--tcp-user-timeout: \"15\" is not a duration",
        ),
        (
            "-certmode gcp -hostname h",
            "--certmode: gcp (Google Trust Services) is not offered",
        ),
        (
            "-a :80 -mesh-with a,b",
            "--mesh-with: a mesh needs its shared key",
        ),
        ("-a :80 -stun-port 70000 -shards 0", "--stun-port: 70000"),
    ];
    for (line, says) in cases {
        let error = load(line).unwrap_err();
        assert!(error.to_string().contains(says), "{line}: {error}");
    }
}

#[test]
fn help_teaches_every_option_under_a_heading() {
    let help = command().term_width(100).render_long_help().to_string();
    for setting in settings() {
        assert!(
            help.contains(&format!("--{}", setting.long)),
            "{}",
            setting.long
        );
        assert!(
            help.contains(&format!("{}:", setting.group.title())),
            "{}",
            setting.long
        );
    }
    for part in [
        "Examples:",
        "-a, --listen <ADDR>",
        "--derp[=<BOOL>]",
        "[default: 3478]",
        "status",
    ] {
        assert!(help.contains(part), "{part} is missing:\n{help}");
    }
    // Without a name the default certificate mode does not start, so no default is promised.
    let hostname = settings().find(|setting| setting.long == "hostname");
    let text = super::help(hostname.unwrap(), &RelayConfig::default()).to_string();
    assert!(text.contains("must be given"), "{text}");
    assert_eq!(text.matches("[default").count(), 1, "{text}");
    assert!(load("").is_err() && load("--certmode manual").is_ok());
    let longest = help.lines().map(str::len).max();
    assert!(longest <= Some(110), "a line of {longest:?} columns");
}
