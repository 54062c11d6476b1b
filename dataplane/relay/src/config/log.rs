//! Logging.

use super::setting::{Setting, setting, words};

/// Logging.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// Text for people or JSON for machines.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,towline_relay=debug`.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

words!(LogFormat { "text" => Text, "json" => Json });

pub(super) const SETTINGS: &[Setting] = &[
    setting!(
        Operation,
        "log-format",
        "log.format",
        "FORMAT",
        log.format,
        "How log lines look"
    ),
    setting!(
        Operation,
        "log-level",
        "log.level",
        "LEVEL",
        log.level,
        "error, warn, info, debug or trace, or a filter such as info,towline_relay=debug; RUST_LOG is used when this is not given. Client addresses appear at debug only"
    ),
];
