//! A Pebble of its own for one test, with its DNS server, on loopback; stopped when dropped.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use towline_tls::cert::{CertStore, SelfSigned};

use super::super::super::Certificates;

/// A connection that lasts so long is one to a program that runs.
const STEADY: Duration = Duration::from_millis(100);

pub(super) struct Pebble {
    dir: tempfile::TempDir,
    port: u16,
    http: Mutex<Option<std::net::TcpListener>>,
    tls: Mutex<Option<std::net::TcpListener>>,
    /// Pebble and its DNS server.
    children: Vec<Child>,
}

impl Pebble {
    /// # Panics
    /// Pebble is not there, or does not start.
    pub(super) async fn start() -> Self {
        let (binary, dns_binary) = (peer("pebble"), peer("pebble-challtestsrv"));
        let dir = tempfile::tempdir().unwrap();
        let port_of = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
        let (http, tls) = (bind(), bind());
        let free = [(); 4].map(|()| bind());
        let [port, management_port, dns_port, dns_management_port] = free.each_ref().map(port_of);

        // Its own HTTPS certificate is its own root too, and not the only one in the file.
        let made = SelfSigned::generate("127.0.0.1", UnixTime::now()).unwrap();
        let other = SelfSigned::generate("other.example", UnixTime::now()).unwrap();
        let roots = other.certificate_pem.clone() + &made.certificate_pem;
        fs::write(dir.path().join("ca.pem"), roots).unwrap();
        fs::write(dir.path().join("own.pem"), &made.certificate_pem).unwrap();
        fs::write(dir.path().join("own.key"), &*made.key_pem).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management_port}"),
            "certificate": dir.path().join("own.pem"),
            "privateKey": dir.path().join("own.key"),
            "httpPort": port_of(&http),
            "tlsPort": port_of(&tls),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "retryAfter": { "authz": 1, "order": 1 },
            "profiles": { "default": { "description": "", "validityPeriod": 7_776_000 } },
        }});
        fs::write(dir.path().join("pebble.json"), config.to_string()).unwrap();

        drop(free);
        let log = File::create(dir.path().join("log")).unwrap();
        let spawn = |command: &mut Command| {
            command
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log.try_clone().unwrap())
                .spawn()
                .unwrap()
        };
        let dns = spawn(Command::new(dns_binary).args([
            "-dnsserver",
            &format!("127.0.0.1:{dns_port}"),
            "-management",
            &format!("127.0.0.1:{dns_management_port}"),
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-doh",
            "",
        ]));
        let pebble = spawn(
            Command::new(binary)
                .env("PEBBLE_VA_ALWAYS_VALID", "0")
                .env("PEBBLE_VA_NOSLEEP", "1")
                .arg("-strict")
                .arg("-config")
                .arg(dir.path().join("pebble.json"))
                .arg("-dnsserver")
                .arg(format!("127.0.0.1:{dns_port}")),
        );
        let this = Self {
            dir,
            port,
            http: Mutex::new(Some(http)),
            tls: Mutex::new(Some(tls)),
            children: vec![dns, pebble],
        };
        for port in [port, dns_port] {
            this.wait_for(port).await;
        }
        this
    }

    async fn wait_for(&self, port: u16) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for _ in 0..200 {
            // A process that another test is starting holds a copy of the port, until it has become its program: then the
            // connection ends. Pebble waits for what it is sent.
            if let Ok(mut stream) = TcpStream::connect(address).await
                && timeout(STEADY, stream.read_u8()).await.is_err()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = fs::read_to_string(self.dir.path().join("log"));
        panic!("Pebble did not start: {}", log.unwrap_or_default());
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(super) fn directory_url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Closes the port of TLS-ALPN-01, which so fails at once, instead of when Pebble has waited long enough.
    pub(super) fn close_tls(&self) {
        self.tls.lock().unwrap().take();
    }

    /// Answers HTTP-01 as the relay's HTTP page does.
    pub(super) fn answer_http(&self, certificates: Arc<Certificates>) -> JoinHandle<()> {
        let listener = self.http.lock().unwrap().take().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // The authority asks several times at once, and may leave one of them.
                tokio::spawn(answer_one(stream, Arc::clone(&certificates)));
            }
        })
    }

    /// Answers TLS-ALPN-01 from the store, on a thread that ends with its listener's test.
    pub(super) fn answer_tls(&self, store: Arc<CertStore>) {
        let listener = self.tls.lock().unwrap().take().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(store);
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                // Pebble may go after the handshake as it likes.
                let _ = tls.complete_io(&mut stream);
            }
        });
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn answer_one(mut stream: TcpStream, certificates: Arc<Certificates>) -> io::Result<()> {
    let mut head = vec![0; 4096];
    let len = stream.read(&mut head).await?;
    let head = String::from_utf8_lossy(&head[..len]).into_owned();
    let token = head
        .strip_prefix("GET /.well-known/acme-challenge/")
        .and_then(|rest| rest.split(' ').next());
    let answer = match token.and_then(|token| certificates.challenge(token)) {
        Some(body) => format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await
}

/// Takes a port that no other test here takes, below those that the kernel takes outgoing connections from: some are given
/// back for Pebble to take them.
fn bind() -> std::net::TcpListener {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 100) as u16 * 50;
    (0..1000)
        .find_map(|_| {
            let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
        })
        .expect("a free port")
}

/// Where a program is that `scripts/peers.sh` builds.
fn peer(name: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/peers.sh");
    let output = Command::new(&script).args(["path", name]).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        output.status.success(),
        "this test needs {name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
