#![forbid(unsafe_code)]
//! The `towline` binary: reads the command line and hands over to one file per command.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod admin;
mod bench;
mod clients;
mod completion;
mod derper;
mod drain;
mod failure;
mod kick;
mod limit;
mod logging;
mod print;
mod relay;
mod status;
mod units;
mod version;
mod wg;

use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use failure::Failure;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn start() -> Result<(), Failure> {
    let mut arguments = std::env::args_os()
        .map(|argument| {
            argument
                .into_string()
                .map_err(|argument| Failure::usage(format!("{argument:?} is not UTF-8")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if is_called(&arguments, wg::LINK_NAME) {
        arguments.insert(1, wg::NAME.to_owned());
    }
    if arguments
        .get(1)
        .is_some_and(|command| command == relay::NAME)
    {
        match derper::rewrite(&arguments[2..])? {
            derper::Rewritten::Version => return version::run(&version::VersionArgs::default()),
            derper::Rewritten::Arguments(rewritten) => {
                arguments.truncate(2);
                arguments.extend(rewritten);
            }
        }
    }
    let matches = command().try_get_matches_from(arguments)?;
    match matches.subcommand() {
        Some((relay::NAME, matches)) => relay::run(matches),
        Some((wg::NAME, matches)) => wg::run(&parsed(matches)?),
        Some(("bench", matches)) => bench::run(&parsed(matches)?),
        Some(("completion", matches)) => completion::run(&parsed(matches)?, command()),
        Some(("version", matches)) => version::run(&parsed(matches)?),
        // clap asks for one of the commands above.
        _ => Err(Failure::usage("no command given")),
    }
}

/// Whether the program was started by this name, a link to it.
fn is_called(arguments: &[String], name: &str) -> bool {
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    program.is_some_and(|program| program == name)
}

/// The whole command line.
fn command() -> Command {
    Command::new("towline")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Carries a user to a workspace: directly when the network allows it, else through a relay")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(relay::command())
        .subcommand(
            wg::WgArgs::augment_args(Command::new(wg::NAME))
                .about("Make a WireGuard interface that wg and wg-quick configure")
                .after_help(wg::AFTER_HELP),
        )
        .subcommand(bench::BenchArgs::augment_args(Command::new("bench")).about("Measure a relay"))
        .subcommand(completion::CompletionArgs::augment_args(Command::new("completion")).about("Print a completion script for a shell"))
        .subcommand(version::VersionArgs::augment_args(Command::new("version")).about("Print the version"))
}

/// What clap has read, as the arguments of one command.
fn parsed<A: FromArgMatches>(matches: &ArgMatches) -> Result<A, Failure> {
    Ok(A::from_arg_matches(matches)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
