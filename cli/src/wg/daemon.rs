//! Leaving the foreground: a process of its own is started, and waited for until it answers.
//!
//! No fork: this process has no ring and no thread yet, and the other one starts from nothing. What goes wrong there is
//! said on the terminal as long as the caller waits; afterwards its output goes nowhere, because whoever reads the
//! caller's output (`$(wg-quick up wg0)`) would wait for its end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::failure::Failure;
use crate::print;

/// Set for the process that stays.
const MARK: &str = "TOWLINE_WG_DAEMON";
/// What it says when it answers, with the name of the interface.
const READY: &str = "ready ";

/// Whether this is the process that stays.
pub(super) fn is_daemon() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts this command again as the process that stays, and returns when that is ready.
pub(super) fn start(interface: &str) -> Result<(), Failure> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let arguments = std::env::args_os().skip(1);
    let name = std::env::args_os().next().unwrap_or_default();
    let mut command = Command::new(program);
    std::os::unix::process::CommandExt::arg0(&mut command, name);
    let mut process = command
        .args(arguments)
        .env(MARK, "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process of its own")?;
    let stdout = process.stdout.take().map(BufReader::new);
    let said = stdout.and_then(|mut stdout| {
        let mut line = String::new();
        stdout.read_line(&mut line).ok().map(|_| line)
    });
    if let Some(name) = said.as_deref().and_then(|line| line.strip_prefix(READY)) {
        // The kernel chose it.
        return if name.trim() == interface {
            Ok(())
        } else {
            print::line(name.trim())
        };
    }
    // It said why on stderr.
    let status = process.wait().context("cannot wait for the process")?;
    match status.code() {
        Some(code) => Err(Failure::Said(code)),
        None => Err(anyhow::anyhow!("the process ended by {status}").into()),
    }
}

/// Tells whoever started this process that it answers, and leaves the terminal.
pub(super) fn ready(name: &str) -> anyhow::Result<()> {
    if !is_daemon() {
        return Ok(());
    }
    rustix::process::setsid().context("cannot leave the session of the terminal")?;
    let nowhere = File::options()
        .write(true)
        .open("/dev/null")
        .context("cannot open /dev/null")?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{READY}{name}")
        .and_then(|()| stdout.flush())
        .context("nobody waits for this process")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    Ok(())
}
