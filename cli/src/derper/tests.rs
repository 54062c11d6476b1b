//! Command lines of derper, as they are found in the wild.

use proptest::prelude::*;

use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn rewritten(line: &str) -> String {
    match rewrite(&words(line)) {
        Ok(Rewritten::Arguments(arguments)) => arguments.join(" "),
        Ok(Rewritten::Version) => "VERSION".to_owned(),
        Err(failure) => panic!("{line}: {failure:?}"),
    }
}

fn refusal(line: &str) -> String {
    match rewrite(&words(line)) {
        Err(Failure::Usage(problems)) => problems.join("\n"),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn command_lines_become_ours() {
    let cases = [
        ("", ""),
        (
            "-a :8443 -certmode manual",
            "--listen=:8443 --certmode=manual",
        ),
        (
            "-certmode=manual -certdir=/c",
            "--certmode=manual --certdir=/c",
        ),
        (
            "--a=:443 --c=/k --hostname h",
            "--listen=:443 --key-file=/k --hostname=h",
        ),
        ("-derp=false -stun", "--derp=false --stun=true"),
        ("-stun -http-port -1", "--stun=true --http-port=-1"),
        (
            "-verify-client-url=http://h/?a=b",
            "--verify-client-url=http://h/?a=b",
        ),
        ("-mesh-psk-file=", "--mesh-psk-file="),
        ("-c -a", "--key-file=-a"),
        ("-verify-clients=false -ace=0 -a :1", "--listen=:1"),
        ("-secrets-url= -secrets-path-prefix prod/derp -socket=", ""),
        ("-version", "VERSION"),
        ("-dev --version=true", "VERSION"),
        ("-help", "--help"),
        ("-h", "-h"),
        (
            "--shards 4 --io=epoll -io-features none",
            "--shards=4 --io=epoll --io-features=none",
        ),
        (
            "--announce-limits --pin-shards=false",
            "--announce-limits=true --pin-shards=false",
        ),
        ("--config f.toml --check", "--config=f.toml --check"),
        ("-config f.toml -check", "--config=f.toml --check"),
        ("--no-such-flag", "--no-such-flag"),
        ("status --output json", "status --output json"),
        ("kick -h", "kick -h"),
    ];
    for (line, expected) in cases {
        assert_eq!(rewritten(line), expected, "{line}");
    }
}

#[test]
fn what_would_protect_and_does_not_stops_the_start() {
    let cases = [
        (
            "-verify-clients",
            "-verify-clients: a local tailscaled is not asked",
        ),
        ("--verify-clients=true", "-verify-clients: "),
        ("-verify-clients=T", "-verify-clients: "),
        ("-socket /run/tailscaled.sock", "-socket: "),
        ("-ace", "-ace: "),
        ("-acme-ip-certs", "-acme-ip-certs: "),
        (
            "-acme-eab-kid k -certmode gcp",
            "-acme-eab-kid: it is for -certmode gcp",
        ),
        (
            "-secrets-url https://setec",
            "-secrets-url: secrets are not fetched",
        ),
        ("-secrets-path-prefix other", "-secrets-path-prefix: "),
    ];
    for (line, says) in cases {
        assert!(refusal(line).starts_with(says), "{line}: {}", refusal(line));
    }
}

#[test]
fn broken_lines_say_what_is_broken() {
    let cases = [
        ("-a", "-a needs a value"),
        ("-verify-client-url", "-verify-client-url needs a value"),
        ("-derp false", "as in -derp=false"),
        ("-a :1 status", "unexpected \"status\""),
        ("-stun --", "unexpected \"--\""),
        ("---a=:1", "\"---a=:1\" is not a flag"),
        ("-=x", "\"-=x\" is not a flag"),
    ];
    for (line, says) in cases {
        assert!(refusal(line).contains(says), "{line}: {}", refusal(line));
    }
}

/// `derper -help` of Tailscale 1.102.5.
const DERPER_HELP: &str = "a accept-connection-burst accept-connection-limit ace acme-eab-key \
    acme-eab-kid acme-email acme-ip-certs bootstrap-dns-names c certdir certmode derp dev home \
    hostname http-port mesh-psk-file mesh-with rate-config secrets-cache-dir secrets-path-prefix \
    secrets-url socket stun stun-port tcp-keepalive-time tcp-user-timeout tcp-write-timeout \
    unpublished-bootstrap-dns-names verify-client-url verify-client-url-fail-open verify-clients \
    version";

#[test]
fn every_flag_of_derper_is_known_and_does_something() {
    let mut known: Vec<_> = FLAGS.iter().map(|flag| flag.name).collect();
    known.sort_unstable();
    assert_eq!(known, DERPER_HELP.split_whitespace().collect::<Vec<_>>());
    for flag in FLAGS {
        match flag.becomes {
            Becomes::Setting(long) => {
                assert!(
                    settings().any(|setting| setting.long == long),
                    "{}",
                    flag.name
                );
            }
            Becomes::Refused { reason, .. } => {
                assert!(reason.len() > 20 && !reason.ends_with('.'), "{}", flag.name);
            }
            Becomes::Version => {}
        }
    }
}

/// A flag of derper's that takes a value and becomes a setting.
fn valued() -> impl Strategy<Value = &'static str> {
    let valued: Vec<_> = FLAGS
        .iter()
        .filter(
            |flag| matches!(flag.becomes, Becomes::Setting(long) if takes(long) == Takes::Value),
        )
        .map(|flag| flag.name)
        .collect();
    prop::sample::select(valued)
}

proptest! {
    #[test]
    fn all_of_gos_forms_mean_the_same(name in valued(), value in "[^\0]{0,20}") {
        let forms = [
            vec![format!("-{name}"), value.clone()],
            vec![format!("--{name}"), value.clone()],
            vec![format!("-{name}={value}")],
            vec![format!("--{name}={value}")],
        ];
        let results: Vec<_> = forms.iter().map(|form| rewrite(form).unwrap()).collect();
        prop_assert!(results.iter().all(|result| *result == results[0]));
    }

    #[test]
    fn no_command_line_is_too_strange(arguments in prop::collection::vec("-{0,3}[a-z=-]{0,6}", 0..6)) {
        let _ = rewrite(&arguments);
    }
}
