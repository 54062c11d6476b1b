//! Where log lines go and how they look. Only commands that run as a service call this.
//!
//! Quiet by default: `info` for start, stop and reload, `warn` for what needs a person. Addresses
//! of clients appear at `debug` only.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use towline_relay::config::{LogConfig, LogFormat};

use crate::failure::Failure;

/// What rustls says of a client's handshake holds as many bytes as the client likes. Who wants it names `rustls`.
const UNHEARD: &str = "rustls=error";

/// Sends log lines that pass `filter` to stderr.
pub(crate) fn start(format: LogFormat, filter: EnvFilter) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A full disk or a dead reader costs lines, not the relay: the complaint about it would panic.
        .log_internal_errors(false)
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
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "{place}: {directives:?} is no level ({why}); give error, warn, info, debug, trace or off"
        ))
    };
    for word in directives.split(',').map(str::trim) {
        // By itself a word that is no level would name a target, and silence all others.
        let is_level = !word.is_empty() && word.parse::<LevelFilter>().is_ok();
        if !is_level && !word.contains(['=', '[']) {
            return Err(wrong(&format_args!("what is {word:?}?")));
        }
    }
    EnvFilter::try_new(format!("{UNHEARD},{directives}")).map_err(|error| wrong(&error))
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
        assert_eq!(level(None, None), "rustls=error,info");
        assert_eq!(level(None, Some("")), "rustls=error,info");
        assert_eq!(level(None, Some("debug")), "rustls=error,debug");
        assert_eq!(level(Some("warn"), Some("debug")), "rustls=error,warn");
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for given in [
            "warn,towline_relay=loud",
            "wran",
            "",
            "info,",
            "info,towline_relay",
        ] {
            assert_eq!(level(Some(given), None), "refused", "{given}");
        }
    }

    #[test]
    fn rustls_is_heard_by_who_names_it() {
        assert_eq!(level(Some("info,rustls=debug"), None), "rustls=debug,info");
    }
}
