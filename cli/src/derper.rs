//! derper's command line, read by derper's own rules and rewritten into ours.
//!
//! Go writes flags with one dash or two, values after `=` or a space, and switches without a
//! value; clap would read `-certmode=manual` as `-c ertmode=manual`. So `towline relay` passes its
//! arguments through here first, and clap sees `--certmode=manual`. A flag of derper's that we do
//! not have stops the start with its reason: leaving out `-verify-clients` would open the relay.

use towline_relay::config::{Kind, settings};

use crate::failure::Failure;
use crate::relay;

/// What becomes of the arguments of `towline relay`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// Arguments for clap.
    Arguments(Vec<String>),
    /// `-version`: print it and end.
    Version,
}

/// A flag of derper's.
struct DerperFlag {
    name: &'static str,
    becomes: Becomes,
}

enum Becomes {
    /// The setting with this long name.
    Setting(&'static str),
    /// Printing the version.
    Version,
    /// An error, unless the value is the one at which it does nothing.
    Refused {
        takes: Takes,
        idle: &'static str,
        reason: &'static str,
    },
}

/// Whether a flag needs a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
}

const fn ours(name: &'static str, long: &'static str) -> DerperFlag {
    DerperFlag {
        name,
        becomes: Becomes::Setting(long),
    }
}

const fn same(name: &'static str) -> DerperFlag {
    ours(name, name)
}

const fn refused(
    name: &'static str,
    takes: Takes,
    idle: &'static str,
    reason: &'static str,
) -> DerperFlag {
    DerperFlag {
        name,
        becomes: Becomes::Refused {
            takes,
            idle,
            reason,
        },
    }
}

const ONLY_GCP: &str = "it is for -certmode gcp, which is not offered; use -certmode letsencrypt, or \
     fetch the certificate with another tool and use -certmode manual";
const NO_SETEC: &str = "secrets are not fetched from a setec server; put the mesh key in a file and give \
     -mesh-psk-file";
const NO_TAILSCALED: &str = "a local tailscaled is not asked about clients, so they would not be verified; \
     give -verify-client-url or --admission-allow-file";

/// Every flag of derper (Tailscale 1.102), in the order of its source.
const FLAGS: &[DerperFlag] = &[
    same("dev"),
    DerperFlag {
        name: "version",
        becomes: Becomes::Version,
    },
    ours("a", "listen"),
    same("http-port"),
    same("stun-port"),
    ours("c", "key-file"),
    same("certmode"),
    same("certdir"),
    same("hostname"),
    refused("acme-eab-kid", Takes::Value, "", ONLY_GCP),
    refused("acme-eab-key", Takes::Value, "", ONLY_GCP),
    same("acme-email"),
    refused(
        "acme-ip-certs",
        Takes::Nothing,
        "false",
        "certificates for IP addresses are not fetched; use --certmode self-signed and pin the \
         certificate in the DERP map",
    ),
    same("stun"),
    same("derp"),
    same("home"),
    same("mesh-psk-file"),
    same("mesh-with"),
    refused("secrets-url", Takes::Value, "", NO_SETEC),
    refused("secrets-path-prefix", Takes::Value, "prod/derp", NO_SETEC),
    refused("secrets-cache-dir", Takes::Value, "", NO_SETEC),
    same("bootstrap-dns-names"),
    same("unpublished-bootstrap-dns-names"),
    refused("verify-clients", Takes::Nothing, "false", NO_TAILSCALED),
    same("verify-client-url"),
    same("verify-client-url-fail-open"),
    refused("socket", Takes::Value, "", NO_TAILSCALED),
    same("accept-connection-limit"),
    same("accept-connection-burst"),
    same("rate-config"),
    same("tcp-keepalive-time"),
    same("tcp-user-timeout"),
    same("tcp-write-timeout"),
    refused(
        "ace",
        Takes::Nothing,
        "false",
        "CONNECT to Tailscale's control servers is not offered",
    ),
];

/// Rewrites what follows `towline relay`. A subcommand of ours passes as it is.
pub(crate) fn rewrite(arguments: &[String]) -> Result<Rewritten, Failure> {
    let mut rewritten = Vec::new();
    if arguments.first().is_some_and(|first| is_positional(first)) {
        return Ok(Rewritten::Arguments(arguments.to_vec()));
    }
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if is_positional(argument) || argument == "--" {
            return Err(Failure::usage(format!(
                "unexpected {argument:?}: flags come without further arguments, and a switch is \
                 turned off with an equals sign, as in -derp=false"
            )));
        }
        let flag = Flag::parse(argument)?;
        let becomes = FLAGS
            .iter()
            .find(|known| known.name == flag.name)
            .map(|known| &known.becomes);
        match becomes {
            Some(Becomes::Version) => return Ok(Rewritten::Version),
            Some(Becomes::Setting(long)) => {
                rewritten.push(format!("--{long}={}", flag.value(takes(long), &mut rest)?));
            }
            Some(Becomes::Refused {
                takes,
                idle,
                reason,
            }) => {
                let value = flag.value(*takes, &mut rest)?;
                if !is_idle(&value, idle, *takes) {
                    return Err(Failure::usage(format!("-{}: {reason}", flag.name)));
                }
            }
            None if settings().any(|setting| setting.long == flag.name) => {
                let value = flag.value(takes(flag.name), &mut rest)?;
                rewritten.push(format!("--{}={value}", flag.name));
            }
            None if flag.name == relay::CONFIG => {
                let value = flag.value(Takes::Value, &mut rest)?;
                rewritten.push(format!("--{}={value}", flag.name));
            }
            None if flag.name == "h" => rewritten.push("-h".to_owned()),
            None if matches!(flag.text, relay::CHECK | "help") => {
                rewritten.push(format!("--{}", flag.text));
            }
            // It does not exist, and whether a value follows is unknown: clap ends the reading
            // here and suggests what was meant.
            None => {
                rewritten.push(format!("--{}", flag.text));
                return Ok(Rewritten::Arguments(rewritten));
            }
        }
    }
    Ok(Rewritten::Arguments(rewritten))
}

fn is_positional(argument: &str) -> bool {
    argument.len() < 2 || !argument.starts_with('-')
}

/// Whether the setting takes a value, which a switch does only after `=`.
fn takes(long: &str) -> Takes {
    let is_switch = settings().any(|setting| setting.long == long && setting.kind == Kind::Switch);
    if is_switch {
        Takes::Nothing
    } else {
        Takes::Value
    }
}

fn is_idle(value: &str, idle: &str, takes: Takes) -> bool {
    match takes {
        Takes::Nothing => matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False"),
        Takes::Value => value == idle || value.is_empty(),
    }
}

/// One flag as Go takes it apart.
struct Flag<'a> {
    /// Everything after the dashes.
    text: &'a str,
    name: &'a str,
    attached: Option<&'a str>,
}

impl<'a> Flag<'a> {
    fn parse(argument: &'a str) -> Result<Self, Failure> {
        let text = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'));
        let text = text.unwrap_or(argument);
        if text.is_empty() || text.starts_with(['-', '=']) {
            return Err(Failure::usage(format!("{argument:?} is not a flag")));
        }
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        Ok(Self {
            text,
            name,
            attached,
        })
    }

    /// Its value: attached, or the next argument whatever that looks like, or `true`.
    fn value(
        &self,
        takes: Takes,
        rest: &mut std::slice::Iter<'_, String>,
    ) -> Result<String, Failure> {
        match (self.attached, takes) {
            (Some(value), _) => Ok(value.to_owned()),
            (None, Takes::Nothing) => Ok("true".to_owned()),
            (None, Takes::Value) => rest
                .next()
                .cloned()
                .ok_or_else(|| Failure::usage(format!("-{} needs a value", self.name))),
        }
    }
}

#[cfg(test)]
mod tests;
