//! Certificates on disk: kept over restarts, reloaded when they change, refused when broken.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use towline_tls::cert::{SelfSigned, meta};

use super::*;

const SERVER: NodePublic = NodePublic([7; 32]);

fn config(dir: &Path, mode: CertMode, hostname: &str) -> TlsConfig {
    TlsConfig {
        mode,
        cert_dir: dir.to_owned(),
        hostname: hostname.to_owned(),
        ..TlsConfig::default()
    }
}

/// Puts a new pair there, as an operator's tool does, and gives its pin.
fn put_pair(dir: &Path, hostname: &str) -> String {
    let made = SelfSigned::generate(hostname, UnixTime::now()).unwrap();
    fs::write(dir.join(format!("{hostname}.crt")), &made.certificate_pem).unwrap();
    fs::write(dir.join(format!("{hostname}.key")), &*made.key_pem).unwrap();
    made.pin.to_string()
}

fn pin(certificates: &Certificates) -> String {
    certificates.status().unwrap().sha256_raw.unwrap()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_self_signed_certificate_is_kept_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("certs");
    let config = config(&dir, CertMode::SelfSigned, "192.0.2.1");
    let first = Certificates::start(&config, &SERVER).unwrap();
    let again = Certificates::start(&config, &SERVER).unwrap();
    assert_eq!(pin(&first), pin(&again));
    assert_eq!(mode_of(&dir), 0o700);
    assert_eq!(mode_of(&dir.join("192.0.2.1.key")), 0o600);
    // What derper prints for an address.
    assert_eq!(
        first.derp_map_hint().unwrap(),
        format!(
            r#"{{"Name":"custom","RegionID":900,"HostName":"192.0.2.1","CertName":"{}"}}"#,
            pin(&first)
        )
    );
    let listen = ListenConfig {
        address: "192.0.2.1:8443".parse().unwrap(),
        ..ListenConfig::default()
    };
    let no_stun = StunConfig {
        enabled: false,
        ..StunConfig::default()
    };
    let elsewhere = first.on_ports(&listen, &no_stun).derp_map_hint().unwrap();
    assert!(
        elsewhere.ends_with(r#","STUNPort":-1,"DERPPort":8443}"#),
        "{elsewhere}"
    );
}

#[test]
fn a_self_signed_certificate_for_another_name_or_expired_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), CertMode::SelfSigned, "relay.example");
    let files = PairFiles::new(dir.path(), "relay.example");

    let other = put_pair(dir.path(), "other.example");
    fs::rename(dir.path().join("other.example.crt"), &files.certificate).unwrap();
    fs::rename(dir.path().join("other.example.key"), &files.key).unwrap();
    assert_ne!(pin(&Certificates::start(&config, &SERVER).unwrap()), other);

    let long_ago = UnixTime::since_unix_epoch(Duration::from_secs(1_500_000_000));
    let expired = self_signed::make(&files, "relay.example", long_ago).unwrap();
    let replaced = Certificates::start(&config, &SERVER).unwrap();
    assert_ne!(pin(&replaced), expired.pin().to_string());
}

#[test]
fn files_that_may_be_somebodys_are_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), CertMode::SelfSigned, "relay.example");
    let key = dir.path().join("relay.example.key");
    fs::write(&key, "precious").unwrap();
    let error = Certificates::start(&config, &SERVER).err().unwrap();
    assert!(format!("{error:#}").contains("without"), "{error:#}");
    fs::write(dir.path().join("relay.example.crt"), "torn").unwrap();
    assert!(Certificates::start(&config, &SERVER).is_err());
    assert_eq!(fs::read(&key).unwrap(), b"precious");
}

#[test]
fn manual_files_must_be_there_for_a_name_and_are_made_for_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let named = config(dir.path(), CertMode::Manual, "relay.example");
    let error = Certificates::start(&named, &SERVER).err().unwrap();
    assert!(
        format!("{error:#}").contains("relay.example.crt"),
        "{error:#}"
    );

    let address = config(dir.path(), CertMode::Manual, "2001:db8::1");
    let made = Certificates::start(&address, &SERVER).unwrap();
    assert!(
        dir.path().join("2001db81.crt").exists(),
        "derper's file name"
    );
    assert!(made.derp_map_hint().is_some());
    let again = Certificates::start(&address, &SERVER).unwrap();
    assert_eq!(pin(&made), pin(&again));
}

#[test]
fn a_manual_certificate_for_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    put_pair(dir.path(), "other.example");
    for ending in ["crt", "key"] {
        let named = |name: &str| dir.path().join(format!("{name}.{ending}"));
        fs::copy(named("other.example"), named("relay.example")).unwrap();
    }
    let config = config(dir.path(), CertMode::Manual, "relay.example");
    let error = Certificates::start(&config, &SERVER).err().unwrap();
    assert!(
        format!("{error:#}").contains("not a certificate for relay.example"),
        "{error:#}"
    );
}

/// What is wrong with these files, to a check and to a start alike.
fn refusal(config: &TlsConfig) -> String {
    let checked = format!("{:#}", Certificates::check(config).unwrap_err());
    let started = Certificates::start(config, &SERVER).err().unwrap();
    assert_eq!(checked, format!("{started:#}"));
    checked
}

#[test]
fn a_check_finds_what_would_stop_a_start_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let named = config(dir.path(), CertMode::Manual, "relay.example");
    let key = dir.path().join("relay.example.key");
    assert!(refusal(&named).contains("relay.example.crt"));
    put_pair(dir.path(), "relay.example");
    Certificates::check(&named).unwrap();

    let stranger = SelfSigned::generate("relay.example", UnixTime::now()).unwrap();
    fs::write(&key, &*stranger.key_pem).unwrap();
    assert!(refusal(&named).contains("does not belong"));
    fs::remove_file(&key).unwrap();
    assert!(refusal(&named).contains("relay.example.key"));
    fs::create_dir(&key).unwrap();
    let unreadable = refusal(&named);
    assert!(unreadable.starts_with("cannot read"), "{unreadable}");
    assert_eq!(unreadable.matches("os error").count(), 1, "{unreadable}");
    let self_signed = config(dir.path(), CertMode::SelfSigned, "relay.example");
    assert!(refusal(&self_signed).contains("move the two files away"));

    let empty = tempfile::tempdir().unwrap();
    let address = config(empty.path(), CertMode::Manual, "192.0.2.1");
    Certificates::check(&address).unwrap();
    Certificates::check(&config(empty.path(), CertMode::SelfSigned, "relay.example")).unwrap();
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    fs::write(empty.path().join("192.0.2.1.key"), "precious").unwrap();
    assert!(refusal(&address).contains("without"));
}

/// Looks until a change has settled.
fn look(certificates: &Certificates) {
    let Source::Manual { files, watch } = &certificates.source else {
        panic!("not manual");
    };
    for _ in 0..3 {
        certificates.look_at_files(files, watch);
    }
}

#[test]
fn changed_manual_files_are_taken_and_broken_ones_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = put_pair(dir.path(), "relay.example");
    let config = config(dir.path(), CertMode::Manual, "relay.example");
    let certificates = Certificates::start(&config, &SERVER).unwrap();
    assert_eq!(pin(&certificates), first);

    let second = put_pair(dir.path(), "relay.example");
    look(&certificates);
    assert_eq!(pin(&certificates), second);
    assert_eq!(certificates.status().unwrap().last_error, None);

    // The key of another certificate.
    let stranger = SelfSigned::generate("relay.example", UnixTime::now()).unwrap();
    let key_path = dir.path().join("relay.example.key");
    let key = fs::read(&key_path).unwrap();
    fs::write(&key_path, &*stranger.key_pem).unwrap();
    look(&certificates);
    assert_eq!(pin(&certificates), second, "the old one stays");
    let error = certificates.status().unwrap().last_error.unwrap();
    assert!(error.contains("does not belong"), "{error}");
    assert_eq!(certificates.reload(), Err(error));

    fs::write(&key_path, key).unwrap();
    assert_eq!(certificates.reload(), Ok(()), "SIGHUP waits for no poll");
    assert_eq!(certificates.status().unwrap().last_error, None);

    fs::remove_file(&key_path).unwrap();
    look(&certificates);
    assert_eq!(
        pin(&certificates),
        second,
        "files that are gone change nothing"
    );
    assert_eq!(certificates.status().unwrap().last_error, None);
}

#[test]
fn half_a_change_is_waited_out_and_each_change_told_once() {
    let dir = tempfile::tempdir().unwrap();
    put_pair(dir.path(), "relay.example");
    let files = PairFiles::new(dir.path(), "relay.example");
    let mut watch = Watch::new(files.stamp());
    assert!(!files.have_changed(&mut watch));
    fs::write(&files.certificate, "new").unwrap();
    assert!(!files.have_changed(&mut watch), "may be half of it");
    fs::write(&files.key, "new too").unwrap();
    assert!(!files.have_changed(&mut watch));
    assert!(files.have_changed(&mut watch));
    assert!(!files.have_changed(&mut watch), "told already");
}

#[test]
fn the_meta_certificate_tells_the_server_key() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), CertMode::SelfSigned, "relay.example");
    let certificates = Certificates::start(&config, &SERVER).unwrap();
    let later = UnixTime::since_unix_epoch(Duration::from_secs(4_000_000_000));
    certificates.refresh_meta(later).unwrap();
    let made = meta::certificate(&SERVER.0, later).unwrap();
    assert_eq!(meta::key_of(&made), Some(SERVER.0));
}

#[test]
fn without_tls_there_is_no_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let config = TlsConfig {
        enabled: false,
        ..config(dir.path(), CertMode::Manual, "relay.example")
    };
    let certificates = Certificates::start(&config, &SERVER).unwrap();
    assert_eq!(certificates.status(), None);
    assert_eq!(certificates.reload(), Ok(()));
}

#[test]
fn a_key_that_anyone_may_read_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    put_pair(dir.path(), "relay.example");
    let files = PairFiles::new(dir.path(), "relay.example");
    for (mode, exposed) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(files.exposed_mode(), exposed.then_some(mode), "{mode:o}");
    }
}
