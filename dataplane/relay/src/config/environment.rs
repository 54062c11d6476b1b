//! The environment: our variables, and those of derper's that mean something here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::origin::Assignment;
use super::{Origin, Setting, go, settings};

/// derper's variable with the mesh key of development mode. Its value is never kept here.
pub(super) const DEV_MESH_KEY: &str = "TAILSCALE_DERPER_MESH_KEY";

const PREFIX: &str = "TOWLINE_RELAY_";
const CONFIG_FILE: &str = "TOWLINE_RELAY_CONFIG";

/// derper's variables that set something of ours.
const DERPER: [(&str, &str); 3] = [
    ("TS_DEBUG_TRUSTED_CIDRS", "debug-trusted-cidrs"),
    ("TS_ALLOW_DEBUG_IP", "debug-allow-ip"),
    ("TS_DEBUG_KEY_PATH", "debug-key-file"),
];

/// derper's switch for debug logs.
const DERPER_DEBUG_LOGS: &str = "DERP_DEBUG_LOGS";

/// derper's variables without a meaning here, and why. None of them protects anything.
const DERPER_IGNORED: [(&str, &str); 4] = [
    (
        "TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH",
        "queues are bounded in bytes; see --queue-bytes-max",
    ),
    (
        "TS_DEBUG_VERBOSE_DROPS",
        "drops are counted by reason in /metrics, not logged one by one",
    ),
    (
        "TS_DERP_DISABLE_RTT_STATS",
        "the round-trip statistics cost next to nothing",
    ),
    ("DERP_PROBER_DEBUG_LOGS", "use --log-level debug"),
];

/// What the process was started with, as far as the configuration looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    is_root: bool,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            // A value that is no text is kept, marked: a setting must fail, not be as if it were not there.
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        Self::new(variables, effective_user() == Some(0))
    }

    /// An environment made by hand.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, is_root: bool) -> Self {
        let variables = variables
            .into_iter()
            .filter(|(name, _)| is_ours(name))
            .map(|(name, value)| {
                if name == DEV_MESH_KEY {
                    (name, "set".to_owned())
                } else {
                    (name, value)
                }
            })
            .collect();
        Self { variables, is_root }
    }

    /// Whether the relay runs as root, for derper's default paths.
    pub(super) fn is_root(&self) -> bool {
        self.is_root
    }

    /// A variable; one that is set to nothing counts as not set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The configuration file that the environment names.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.get(CONFIG_FILE).map(PathBuf::from)
    }

    /// Where the admin socket is when nobody says otherwise. Both ends use this.
    #[must_use]
    pub fn admin_socket(&self) -> Option<PathBuf> {
        if let Some(directories) = self.get("RUNTIME_DIRECTORY") {
            // systemd lists several directories with colons between them.
            return directories
                .split(':')
                .next()
                .map(|dir| PathBuf::from(dir).join("relay.sock"));
        }
        if self.is_root {
            return Some("/run/towline/relay.sock".into());
        }
        self.get("XDG_RUNTIME_DIR")
            .map(|dir| PathBuf::from(dir).join("towline/relay.sock"))
    }

    /// Adds what the variables set; ours after derper's, so that ours win. Returns warnings.
    pub(super) fn assign(&self, assignments: &mut Vec<Assignment>) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut push = |setting: &'static Setting, variable: &str, text: &str| {
            assignments.push(Assignment {
                setting,
                text: text.to_owned(),
                origin: Origin::Environment(variable.to_owned()),
            });
        };
        for (variable, long) in DERPER {
            let setting = settings().find(|setting| setting.long == long);
            if let (Some(text), Some(setting)) = (self.get(variable), setting) {
                push(setting, variable, text);
            }
        }
        if self
            .get(DERPER_DEBUG_LOGS)
            .is_some_and(|text| go::parse_bool(text) == Ok(true))
            && let Some(setting) = settings().find(|setting| setting.long == "log-level")
        {
            push(setting, DERPER_DEBUG_LOGS, "debug");
        }
        for (variable, reason) in DERPER_IGNORED {
            if self.get(variable).is_some() {
                warnings.push(format!("{variable} is ignored: {reason}"));
            }
        }
        let ours: BTreeMap<String, &'static Setting> =
            settings().map(|setting| (setting.env(), setting)).collect();
        for (variable, text) in &self.variables {
            if !variable.starts_with(PREFIX) || variable == CONFIG_FILE || text.is_empty() {
                continue;
            }
            match ours.get(variable) {
                Some(setting) => push(setting, variable, text),
                None if is_from_kubernetes(variable, text) => {}
                None => warnings.push(format!("{variable} is ignored: there is no such setting")),
            }
        }
        warnings
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
        || name == DERPER_DEBUG_LOGS
        || name == DEV_MESH_KEY
        || DERPER
            .iter()
            .chain(&DERPER_IGNORED)
            .any(|(known, _)| *known == name)
        || matches!(
            name,
            "HOME" | "XDG_CACHE_HOME" | "XDG_RUNTIME_DIR" | "RUNTIME_DIRECTORY"
        )
}

/// Kubernetes sets `TOWLINE_RELAY_PORT=tcp://…` and others for a service named `towline-relay`.
fn is_from_kubernetes(variable: &str, text: &str) -> bool {
    variable.contains("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.contains("_TCP")
        || variable.contains("_UDP")
        || text.starts_with("tcp://")
        || text.starts_with("udp://")
}

/// The effective user of this process, from the kernel's own text, which needs no unsafe call.
fn effective_user() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(1)?.parse().ok()
}
