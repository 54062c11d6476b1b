//! `towline completion`: a completion script for a shell, on stdout.

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::print;

/// Which shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  towline completion bash > /etc/bash_completion.d/towline
  towline completion zsh > \"${fpath[1]}/_towline\"
  towline completion fish > ~/.config/fish/completions/towline.fish")]
pub(crate) struct CompletionArgs {
    #[arg(value_enum)]
    shell: Supported,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Supported {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for `command`.
pub(crate) fn run(args: &CompletionArgs, mut command: Command) -> Result<(), Failure> {
    let shell = match args.shell {
        Supported::Bash => Shell::Bash,
        Supported::Zsh => Shell::Zsh,
        Supported::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "towline", &mut script);
    print::text(&String::from_utf8_lossy(&script))
}
