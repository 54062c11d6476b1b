//! What follows from the settings together: defaults that depend on others, and contradictions.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use towline_wire::limits;

use super::environment::DEV_MESH_KEY;
use super::sources::place;
use super::{
    CertMode, DERPER_HOSTNAME, Environment, ListenAddress, MeshKeySource, Origins, Problem,
    RelayConfig, TlsSwitch, key_file, rate_file, settings,
};

/// Beyond it nothing is saved any more.
const GATHER_MAX: Duration = Duration::from_millis(100);

/// Port of development mode, above the plain relays of Tailscale's tests.
const DEV_PORT: u16 = 3340;

/// Fills in what depends on other settings and finds what does not fit together.
pub(super) fn settle(
    config: &mut RelayConfig,
    origins: &Origins,
    environment: &Environment,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    let mut rules = Rules {
        config,
        origins,
        environment,
        problems,
        warnings,
    };
    rules.development();
    rules.tls();
    rules.certificate();
    rules.ports();
    rules.server_key();
    rules.mesh();
    rules.client_rate();
    rules.connections();
    rules.queue();
    rules.gather();
    rules.admission();
    rules.admin();
}

struct Rules<'a> {
    config: &'a mut RelayConfig,
    origins: &'a Origins,
    environment: &'a Environment,
    problems: &'a mut Vec<Problem>,
    warnings: &'a mut Vec<String>,
}

impl Rules<'_> {
    fn given(&self, long: &str) -> bool {
        self.origins.of(long).is_some()
    }

    /// A problem with a setting, at the place where it was given or could be.
    fn problem(&mut self, long: &str, message: impl Into<String>) {
        let setting = settings().find(|setting| setting.long == long);
        let place = match (self.origins.of(long), setting) {
            (Some(origin), Some(setting)) => place(origin, setting),
            _ => format!("--{long}"),
        };
        self.problems.push(Problem {
            place,
            message: message.into(),
        });
    }

    fn development(&mut self) {
        if self.config.dev {
            self.config.listen.address = ListenAddress {
                ip: None,
                port: DEV_PORT,
            };
        }
    }

    fn tls(&mut self) {
        let tls = &mut self.config.tls;
        let port = self.config.listen.address.port;
        tls.enabled = match tls.switch {
            TlsSwitch::On => true,
            TlsSwitch::Off => false,
            TlsSwitch::Auto => port == 443 || tls.mode != CertMode::Acme,
        };
        if !tls.enabled && tls.switch == TlsSwitch::Auto && self.given("certmode") {
            self.warnings.push(format!(
                "serving plain HTTP on port {port}: with --certmode acme TLS is spoken on port 443 \
                 only, as with derper; add --tls on to speak it here"
            ));
        }
    }

    fn certificate(&mut self) {
        if !self.config.tls.enabled {
            return;
        }
        if !self.given("certdir") {
            match default_cert_dir(self.environment) {
                Some(dir) => self.config.tls.cert_dir = dir,
                None => self.problem(
                    "certdir",
                    "say where certificates are: neither \
                    XDG_CACHE_HOME nor HOME is set, so there is no default",
                ),
            }
        } else if self.config.tls.cert_dir.as_os_str().is_empty() {
            self.problem("certdir", "it must not be empty while TLS is on");
        }
        let hostname = self.config.tls.hostname.clone();
        let is_ip = hostname.parse::<IpAddr>().is_ok();
        let is_name = !hostname.is_empty()
            && hostname.len() <= 253
            && hostname
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        if !is_ip && !is_name {
            self.problem(
                "hostname",
                format!("{hostname:?} is neither a host name nor an IP address"),
            );
            return;
        }
        match self.config.tls.mode {
            CertMode::Manual => {}
            CertMode::Acme if is_ip => self.problem("hostname", format!(
                "{hostname} is an IP address, for which no certificate is fetched; use --certmode \
                 self-signed and pin it in the DERP map"
            )),
            CertMode::Acme | CertMode::SelfSigned if hostname == DERPER_HOSTNAME => {
                self.problem("hostname", "say the name (or, with --certmode self-signed, the IP \
                    address) that clients use for this relay");
            }
            CertMode::Acme | CertMode::SelfSigned => {}
        }
    }

    fn ports(&mut self) {
        let port = self.config.listen.address.port;
        if self.config.tls.enabled && port != 0 && self.config.listen.http_port == Some(port) {
            self.problem("http-port", format!(
                "port {port} is the main listener's already; choose another, or -1 to switch it off"
            ));
        }
    }

    fn server_key(&mut self) {
        if self.config.dev {
            self.config.key_file = None;
            return;
        }
        if self.config.key_file.is_none() {
            if !self.environment.is_root() {
                self.problem(
                    "key-file",
                    "say where the server's key is kept (-c FILE; it is made \
                    when missing): only root has a default",
                );
                return;
            }
            self.config.key_file = Some("/var/lib/derper/derper.key".into());
        }
        if let Some(path) = &self.config.key_file
            && path.exists()
            && let Err(error) = key_file::load(path)
        {
            self.problem("key-file", error.to_string());
        }
    }

    fn mesh(&mut self) {
        if self.config.dev {
            self.config.mesh.key = match self.environment.get(DEV_MESH_KEY) {
                Some(_) => MeshKeySource::Environment,
                None => MeshKeySource::None,
            };
        } else if !self.given("mesh-psk-file")
            && let Some(path) = default_mesh_key_file(self.environment)
        {
            self.config.mesh.key = MeshKeySource::File(path);
        }
        if let Err(error) = self.config.mesh.key.load() {
            self.problem("mesh-psk-file", error.to_string());
        }
        if self.config.mesh.key == MeshKeySource::None && !self.config.mesh.with.is_empty() {
            let needed = if self.config.dev {
                DEV_MESH_KEY
            } else {
                "--mesh-psk-file"
            };
            self.problem(
                "mesh-with",
                format!("a mesh needs its shared key; give {needed}"),
            );
        }
    }

    fn client_rate(&mut self) {
        let rate = &mut self.config.limits.client_rate;
        if let Some(path) = rate.file.clone() {
            if self
                .origins
                .of("client-rate")
                .or_else(|| self.origins.of("client-burst"))
                .is_some()
            {
                self.problem(
                    "rate-config",
                    "give either this file or --client-rate and \
                    --client-burst, not both",
                );
                return;
            }
            match rate_file::read(&path) {
                Ok((bytes_per_second, burst_bytes)) => {
                    rate.bytes_per_second = bytes_per_second;
                    rate.burst_bytes = burst_bytes;
                }
                Err(message) => {
                    self.problem("rate-config", message);
                    return;
                }
            }
        }
        self.config.limits.client_rate.raise_burst();
    }

    fn connections(&mut self) {
        let limits = &self.config.limits;
        let (per_second, burst) = (limits.accept_per_second, limits.accept_burst);
        let zeros = [
            ("connections-max", limits.connections_max == Some(0)),
            ("half-open-max", limits.half_open_max == Some(0)),
            (
                "accept-connection-burst",
                burst == 0 && per_second.is_finite(),
            ),
        ];
        for (setting, is_zero) in zeros {
            if is_zero {
                self.problem(setting, "with 0 nobody could connect; give at least 1");
            }
        }
        if per_second.is_finite() && !self.given("accept-connection-burst") {
            self.warnings.push(
                "--accept-connection-limit limits nothing with its default burst, which derper has too; \
                give --accept-connection-burst as well"
                    .to_owned(),
            );
        }
    }

    fn queue(&mut self) {
        let least = 2 * limits::PACKET_BYTES_MAX;
        if self.config.limits.queue_bytes_max < least {
            self.problem("queue-bytes-max", format!(
                "give at least {least}: the largest packet of one sender must leave room for another's"
            ));
        }
    }

    fn gather(&mut self) {
        if self.config.io.gather > GATHER_MAX {
            self.problem(
                "io-gather",
                format!(
                    "busy clients would wait so long again and again; give at most {GATHER_MAX:?}"
                ),
            );
        }
    }

    fn admission(&mut self) {
        let admission = &self.config.admission;
        if let Some(path) = admission.allow_file.clone()
            && let Err(error) = std::fs::File::open(&path)
        {
            self.problem(
                "admission-allow-file",
                format!("cannot read {}: {error}", path.display()),
            );
        }
        if self.config.admission.fail_open && self.config.admission.verify_url.is_none() {
            self.warnings.push(
                "--verify-client-url-fail-open says nothing without --verify-client-url".to_owned(),
            );
        }
    }

    fn admin(&mut self) {
        self.config.admin.required =
            self.given("admin-socket") && self.config.admin.socket.is_some();
        if !self.given("admin-socket") {
            self.config.admin.socket = self.environment.admin_socket();
        }
    }
}

/// derper's default of `-certdir`.
fn default_cert_dir(environment: &Environment) -> Option<PathBuf> {
    let cache = match environment.get("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(environment.get("HOME")?).join(".cache"),
    };
    Some(cache.join("tailscale/derper-certs"))
}

/// derper's search for the mesh key.
fn default_mesh_key_file(environment: &Environment) -> Option<PathBuf> {
    let of_user = environment
        .get("HOME")
        .map(|home| Path::new(home).join("keys/derp-mesh.key"));
    [
        Some(PathBuf::from("/home/derp/keys/derp-mesh.key")),
        of_user,
    ]
    .into_iter()
    .flatten()
    .find(|path| path.exists())
}
