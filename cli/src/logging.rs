//! Where log lines go and how they look. Only commands that run as a service call this.
//!
//! Quiet by default: `info` for start, stop and reload, `warn` for what needs a person. Addresses
//! of clients appear at `debug` only.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use towline_relay::config::{LogConfig, LogFormat};

use crate::failure::Failure;

/// Sends log lines that pass `filter` to stderr.
pub(crate) fn start(format: LogFormat, filter: EnvFilter) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // The journal stamps each line itself.
    let stamped = std::env::var_os("JOURNAL_STREAM").is_none();
    match (format, stamped) {
        (LogFormat::Text, true) => lines
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .init(),
        (LogFormat::Text, false) => lines
            .with_target(false)
            .with_ansi(false)
            .without_time()
            .init(),
        (LogFormat::Json, _) => lines.json().flatten_event(true).init(),
    }
}

/// The filter of this process: `RUST_LOG` decides unless `level_given`.
pub(crate) fn filter_of_process(
    config: &LogConfig,
    level_given: bool,
) -> Result<EnvFilter, Failure> {
    filter(config, level_given, std::env::var("RUST_LOG").ok())
}

fn filter(
    config: &LogConfig,
    level_given: bool,
    rust_log: Option<String>,
) -> Result<EnvFilter, Failure> {
    let (place, directives) = match rust_log {
        Some(rust_log) if !level_given && !rust_log.is_empty() => ("RUST_LOG", rust_log),
        _ => ("--log-level", config.level.clone()),
    };
    EnvFilter::try_new(&directives).map_err(|error| {
        Failure::usage(format!(
            "{place}: {directives:?} is no level ({error}); give error, warn, info, debug or trace"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(given: Option<&str>, rust_log: Option<&str>) -> String {
        let config = LogConfig {
            level: given.unwrap_or("info").to_owned(),
            ..LogConfig::default()
        };
        let filter = filter(&config, given.is_some(), rust_log.map(str::to_owned));
        filter.map_or_else(|_| "refused".to_owned(), |filter| filter.to_string())
    }

    #[test]
    fn a_level_that_was_given_wins_over_rust_log() {
        assert_eq!(level(None, None), "info");
        assert_eq!(level(None, Some("")), "info");
        assert_eq!(level(None, Some("debug")), "debug");
        assert_eq!(level(Some("warn"), Some("debug")), "warn");
        assert_eq!(level(Some("warn,towline_relay=loud"), None), "refused");
    }
}
