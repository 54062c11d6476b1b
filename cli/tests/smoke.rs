//! The binary itself: what it prints and how it ends.

mod support;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use support::{Started, page};

fn towline(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("TOWLINE_") || name.starts_with("TS_") || name == "RUST_LOG" {
            command.env_remove(name.as_ref());
        }
    }
    command
        .args(line.split_whitespace())
        .output()
        .expect("the binary starts")
}

/// Ends with `code`; gives stdout and stderr together.
#[track_caller]
fn ends(line: &str, code: i32) -> String {
    let output = towline(line);
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}: {text}");
    text
}

#[test]
fn help_and_versions_succeed() {
    assert!(ends("--help", 0).contains("relay"));
    assert!(ends("relay --help", 0).contains("Examples:"));
    assert!(ends("relay -help", 0).contains("Examples:"));
    assert!(ends("relay -h", 0).contains("--listen"));
    assert!(ends("bench relay --help", 0).contains("latency"));
    for line in ["version", "relay -version", "--version"] {
        assert!(ends(line, 0).starts_with("towline "), "{line}");
    }
    let json: serde_json::Value = serde_json::from_str(&ends("version --output json", 0)).unwrap();
    assert_eq!(json["name"], "towline");
}

#[test]
fn completion_scripts_know_the_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ends(&format!("completion {shell}"), 0);
        assert!(script.contains("stun-port"), "{shell}");
    }
    ends("completion powershell", 2);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    ends("", 2);
    ends("frobnicate", 2);
    assert!(
        ends("relay --stun-prt 1", 2).contains("--stun-port"),
        "suggests what was meant"
    );
    assert!(ends("relay -verify-clients", 2).contains("-verify-clients: "));
    assert!(ends("relay -derp false", 2).contains("-derp=false"));
    assert!(ends("relay -a nonsense", 2).contains("error: -a: "));
    assert!(ends("relay kick not-a-key", 2).contains("NODEKEY"));
    assert!(ends("relay -dev --log-level 1,,=2", 2).contains("--log-level"));
}

#[test]
fn a_relay_that_is_not_there_is_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let key = "nodekey:".to_owned() + &"a1".repeat(32);
    for command in [
        "status",
        "clients",
        &format!("kick {key}"),
        &format!("limit {key} 1MB"),
        "drain",
    ] {
        let line = format!("relay {command} --admin-socket {}", socket.display());
        assert!(ends(&line, 1).contains("no relay answers at"), "{line}");
    }
}

#[test]
fn check_prints_the_configuration_and_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    fs::write(&file, "[tls]\nhostname = \"relay.example.com\"\n").unwrap();
    let check = format!(
        "relay --config {} -c {}/key -a :8443 -certmode self-signed -certdir /nonexistent --check",
        file.display(),
        dir.path().display()
    );
    let text = ends(&check, 0);
    assert!(
        text.contains("hostname = \"relay.example.com\"  # "),
        "{text}"
    );
    assert!(text.contains("address = \":8443\"  # -a"), "{text}");
    assert!(!dir.path().join("key").exists(), "checking makes no key");
    fs::write(&file, "[tls]\nhostnam = \"relay.example.com\"\n").unwrap();
    assert!(ends(&check, 2).contains("line 2: tls.hostnam"));
}

#[test]
fn a_check_opens_the_certificate_and_says_what_a_start_says() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().display();
    let start = format!(
        "relay -a 127.0.0.1:0 -http-port -1 -stun=false -certmode manual -certdir {dir} \
         -hostname relay.example.com -c {dir}/relay.key"
    );
    let checked = ends(&format!("{start} --check"), 1);
    assert!(
        checked.starts_with("error: ") && checked.contains("there is no"),
        "{checked}"
    );
    let started = ends(&start, 1);
    assert!(started.ends_with(&checked), "{started}");
}

#[test]
fn a_check_reads_the_allowed_keys() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = dir.path().join("allowed");
    fs::write(&allowed, "nonsense\n").unwrap();
    let dir = dir.path().display();
    let start = format!(
        "relay -a 127.0.0.1:0 -stun=false -c {dir}/relay.key --admission-allow-file {}",
        allowed.display()
    );
    let checked = ends(&format!("{start} --check"), 1);
    assert!(checked.contains("line 1: not a key"), "{checked}");
    let started = ends(&start, 1);
    assert!(started.ends_with(&checked), "{started}");
}

#[test]
fn an_exposed_key_is_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("derper.key");
    let hex = "50".repeat(32);
    fs::write(&key, format!("{{\"PrivateKey\": \"privkey:{hex}\"}}")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let text = ends(&format!("relay -a :0 -c {} --check", key.display()), 2);
    assert!(text.contains("chmod 600"), "{text}");
    assert!(!text.contains(&hex), "{text}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    ends(&format!("relay -a :0 -c {} --check", key.display()), 0);
}

#[test]
fn a_full_disk_costs_log_lines_only() {
    let dir = tempfile::tempdir().unwrap();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = unused.local_addr().unwrap();
    drop(unused);
    let relay = Command::new(env!("CARGO_BIN_EXE_towline"))
        .args(["relay", "-stun=false", "-http-port", "-1"])
        .args(["-a", &address.to_string(), "-c"])
        .arg(dir.path().join("relay.key"))
        .stderr(File::options().write(true).open("/dev/full").unwrap())
        .spawn()
        .unwrap();
    let mut relay = Started(relay);
    assert!(page(address, "/derp/probe").starts_with("HTTP/1.1 200"));
    let kill = Command::new("kill").arg(relay.0.id().to_string()).status();
    assert!(kill.unwrap().success());
    assert!(relay.0.wait().unwrap().success());
}

#[test]
fn with_too_few_open_files_the_start_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for limit in 6..32 {
        let relay = Command::new("sh")
            .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_towline"))
            .args(["relay", "-stun=false", "-http-port", "-1", "--shards", "1"])
            .arg("--admin-socket")
            .arg(dir.path().join("relay.sock"))
            .args(["-a", "127.0.0.1:0", "-c"])
            .arg(dir.path().join("relay.key"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut relay = Started(relay);
        let mut said = String::new();
        for line in BufReader::new(relay.0.stderr.take().unwrap()).lines() {
            said += &line.unwrap();
            if said.contains("relay started") {
                break;
            }
        }
        if !said.contains("relay started") {
            assert_eq!(relay.0.wait().unwrap().code(), Some(1), "{limit}: {said}");
            assert!(said.contains("open files"), "{limit}: {said}");
            refused += 1;
        }
    }
    assert!((1..26).contains(&refused), "{refused}");
}
