//! How a command fails: wrong usage (exit code 2) or a failure (exit code 1).

use std::io::Write as _;
use std::process::ExitCode;

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// clap's own errors, and `--help` and `--version`, which are none.
    Clap(clap::Error),
    /// The command line or the configuration is wrong: one line for each thing to correct.
    Usage(Vec<String>),
    /// It was asked rightly and did not work.
    Failed(anyhow::Error),
    /// Another process said why, and ended with this code.
    Said(i32),
    /// Nobody reads our output any more; there is nothing to say and nobody to hear it.
    Unread,
}

impl Failure {
    /// Wrong usage, in one line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(vec![message.into()])
    }

    /// Says on stderr what is wrong and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        // A failure to write to stderr leaves nowhere to say so.
        let mut stderr = std::io::stderr().lock();
        match self {
            Self::Clap(error) => {
                let _ = error.print();
                ExitCode::from(if error.use_stderr() { 2 } else { 0 })
            }
            Self::Usage(problems) => {
                for problem in problems {
                    let _ = writeln!(stderr, "error: {problem}");
                }
                ExitCode::from(2)
            }
            Self::Failed(error) => {
                let _ = writeln!(stderr, "error: {error:#}");
                ExitCode::from(1)
            }
            Self::Said(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
            Self::Unread => ExitCode::SUCCESS,
        }
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Clap(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<towline_relay::config::ConfigError> for Failure {
    fn from(error: towline_relay::config::ConfigError) -> Self {
        Self::Usage(error.problems.iter().map(ToString::to_string).collect())
    }
}

impl From<towline_relay::admin::ClientError> for Failure {
    fn from(error: towline_relay::admin::ClientError) -> Self {
        Self::Failed(error.into())
    }
}
