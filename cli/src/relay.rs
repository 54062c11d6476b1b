//! `towline relay`: runs a relay, or hands over to one of its subcommands.
//!
//! The options are made from the list of settings, so none is declared here a second time.

use clap::builder::StyledStr;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, ValueHint};
use towline_relay::config::{
    Environment, Kind, Loaded, RelayConfig, Setting, Sources, settings, to_toml,
};

use crate::failure::Failure;
use crate::{clients, drain, kick, limit, logging, parsed, print, status};

/// Name of the command.
pub(crate) const NAME: &str = "relay";

/// The option that names the configuration file. Not a setting: a file cannot name itself.
pub(crate) const CONFIG: &str = "config";

/// The option that checks and prints instead of running.
pub(crate) const CHECK: &str = "check";

const AFTER_HELP: &str = "\
Every option can also stand in the TOML file given with --config (--check prints one with all
names) and in the environment: --stun-port is TOWLINE_RELAY_STUN_PORT. The command line wins
over the environment, the environment over the file.

derper's flags mean what they mean to derper, with one dash or two; the one difference is that
-verify-client-url-fail-open is false unless given. A flag of derper's that is not offered
stops the start with its reason.

SIGHUP reads keys, limits, certificates and mesh members again. SIGTERM drains, then ends.

Examples:
  With a certificate from Let's Encrypt (TCP 443 and 80 and UDP 3478 must be reachable):
      towline relay -hostname relay.example.com -c relay.key
  Without a name: a self-signed certificate, pinned by the line for the DERP map that it prints:
      towline relay -a :8443 --certmode self-signed -hostname 192.0.2.1 -c relay.key
  With a certificate of yours, in certs/relay.example.com.crt and certs/relay.example.com.key:
      towline relay -certmode manual -certdir certs -hostname relay.example.com -c relay.key
  Only clients that your control server knows, or only those in a file:
      towline relay … -verify-client-url https://control.example.com/verify
      towline relay … --admission-allow-file allowed-keys
  Two relays of one region:
      towline relay … -mesh-psk-file mesh.key -mesh-with a.example.com,b.example.com
  On this machine, without TLS, to try things out:
      towline relay -dev
  What would run, and where each value comes from:
      towline relay --config /etc/towline/relay.toml --check";

/// The command with its options and subcommands.
pub(crate) fn command() -> Command {
    let defaults = RelayConfig::default();
    Command::new(NAME)
        .about("Run a DERP relay, in place of Tailscale's derper")
        .after_help(AFTER_HELP)
        .args_conflicts_with_subcommands(true)
        .args_override_self(true)
        .next_line_help(true)
        .subcommand_help_heading("Commands for a running relay")
        .arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .value_hint(ValueHint::FilePath)
                .help("TOML file with any of the settings below")
                .help_heading("Configuration"),
        )
        .arg(
            Arg::new(CHECK)
                .long(CHECK)
                .action(ArgAction::SetTrue)
                .help("Check the configuration, print it as a TOML file, and end")
                .help_heading("Configuration"),
        )
        .args(settings().map(|setting| option(setting, &defaults)))
        .subcommand(
            status::StatusArgs::augment_args(Command::new("status"))
                .about("Show how a running relay is"),
        )
        .subcommand(
            clients::ClientsArgs::augment_args(Command::new("clients"))
                .about("List connected clients"),
        )
        .subcommand(
            kick::KickArgs::augment_args(Command::new("kick"))
                .about("Close the connections of a client"),
        )
        .subcommand(
            limit::LimitArgs::augment_args(Command::new("limit"))
                .about("Change the rate limit of a connected client"),
        )
        .subcommand(
            drain::DrainArgs::augment_args(Command::new("drain"))
                .about("Let a relay take leave of its clients and end"),
        )
}

fn option(setting: &'static Setting, defaults: &RelayConfig) -> Arg {
    let arg = Arg::new(setting.long)
        .long(setting.long)
        .value_name(setting.value_name)
        .help_heading(setting.group.title())
        .help(help(setting, defaults))
        .hide_possible_values(true);
    let arg = match setting.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match setting.kind {
        Kind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Path => arg.value_hint(ValueHint::AnyPath),
        Kind::Integer
        | Kind::Number
        | Kind::Bytes
        | Kind::Duration
        | Kind::Choice(_)
        | Kind::Text
        | Kind::List => arg,
    }
}

/// The setting's help with its choices and its default.
fn help(setting: &Setting, defaults: &RelayConfig) -> StyledStr {
    let mut help = setting.help.to_owned();
    if let Kind::Choice(words) = setting.kind {
        help.push_str(&format!(" [one of: {}]", words.join(", ")));
    }
    let default = setting.text(defaults);
    let unlimited = default == "inf" || default == i64::MAX.to_string();
    if unlimited {
        help.push_str(" [default: no limit]");
    } else if !matches!(default.as_str(), "" | "0" | "false") && !help.contains("[default") {
        help.push_str(&format!(" [default: {default}]"));
    }
    help.into()
}

/// Runs the relay or the subcommand.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("status", matches)) => status::run(&parsed(matches)?),
        Some(("clients", matches)) => clients::run(&parsed(matches)?),
        Some(("kick", matches)) => kick::run(&parsed(matches)?),
        Some(("limit", matches)) => limit::run(&parsed(matches)?),
        Some(("drain", matches)) => drain::run(&parsed(matches)?),
        _ => serve(matches),
    }
}

fn serve(matches: &ArgMatches) -> Result<(), Failure> {
    let loaded = sources(matches, Environment::of_process()).load()?;
    let level_given = loaded.origins.of("log-level").is_some();
    let filter = logging::filter_of_process(&loaded.config.log, level_given)?;
    if matches.get_flag(CHECK) {
        return check(&loaded);
    }
    logging::start(loaded.config.log.format, filter);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(towline_relay::run(loaded.config)?)
}

/// What the command line gives, with the rest to be read from `environment` and the file.
fn sources(matches: &ArgMatches, environment: Environment) -> Sources {
    let arguments = settings().filter_map(|setting| {
        let given = matches.value_source(setting.long) == Some(ValueSource::CommandLine);
        let text = matches.get_one::<String>(setting.long).filter(|_| given)?;
        Some((setting.long.to_owned(), text.clone()))
    });
    Sources {
        file: matches.get_one::<String>(CONFIG).map(Into::into),
        environment,
        arguments: arguments.collect(),
    }
}

fn check(loaded: &Loaded) -> Result<(), Failure> {
    for warning in &loaded.warnings {
        print::note(warning);
    }
    towline_relay::check(&loaded.config)?;
    print::text(&to_toml(loaded))
}

#[cfg(test)]
mod tests;
