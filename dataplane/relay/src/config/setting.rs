//! One setting: its names in every source, what it means, how its text becomes a typed field.
//!
//! The lists of settings stand beside the structs they fill ([`super::settings`] joins them), so
//! a new setting is one entry there; the command line, the environment, the TOML file, `--help`
//! and `--check` follow from it.

use std::path::PathBuf;
use std::time::Duration;

use super::{RelayConfig, go};

/// One setting of the relay.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Long flag, without dashes: derper's name where derper has one that says something.
    pub long: &'static str,
    /// derper's flag, when it is a single letter.
    pub short: Option<char>,
    /// Key in the TOML file, such as `stun.port`.
    pub key: &'static str,
    /// Heading in `--help`.
    pub group: Group,
    /// Name of its value in `--help`.
    pub value_name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether SIGHUP applies a change; otherwise it waits for a restart.
    pub reloads: bool,
    /// Type of its value.
    pub kind: Kind,
    pub(super) set: fn(&mut RelayConfig, &str) -> Result<(), String>,
    pub(super) show: fn(&RelayConfig) -> toml::Value,
}

impl Setting {
    /// Its environment variable.
    #[must_use]
    pub fn env(&self) -> String {
        format!(
            "TOWLINE_RELAY_{}",
            self.long.replace('-', "_").to_ascii_uppercase()
        )
    }

    /// Its value in `config`, as text that the same setting accepts.
    #[must_use]
    pub fn text(&self, config: &RelayConfig) -> String {
        match (self.show)(config) {
            toml::Value::String(text) => text,
            toml::Value::Array(items) => {
                let items: Vec<_> = items
                    .iter()
                    .filter_map(toml::Value::as_str)
                    .map(str::to_owned)
                    .collect();
                items.join(",")
            }
            other => other.to_string(),
        }
    }
}

/// Headings of `--help`, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the titles below say it")]
pub enum Group {
    General,
    Listening,
    Certificates,
    Admission,
    Mesh,
    Limits,
    Pages,
    Operation,
    Machine,
}

impl Group {
    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::General => "Server",
            Self::Listening => "Listening",
            Self::Certificates => "TLS and certificates",
            Self::Admission => "Who may connect",
            Self::Mesh => "Mesh with other relays of the region",
            Self::Limits => "Limits and timeouts",
            Self::Pages => "Pages and metrics",
            Self::Operation => "Operation",
            Self::Machine => "Threads and kernel interface",
        }
    }
}

/// Type of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; the bare flag means `true`.
    Switch,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A number of bytes, plain or with its unit, such as `2MB`.
    Bytes,
    /// A duration in Go's form, such as `1m30s`.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text.
    Text,
    /// A file or directory.
    Path,
    /// Items separated by commas, or a TOML array.
    List,
}

/// A field that one setting fills whole.
pub(super) trait Field: Sized {
    const KIND: Kind;
    fn parse(text: &str) -> Result<Self, String>;
    fn show(&self) -> toml::Value;
}

/// Type of the field that an accessor leads to, for the macro below.
pub(super) const fn kind_of<F: Field>(_: fn(&RelayConfig) -> &F) -> Kind {
    F::KIND
}

/// Declares a [`Setting`] over a field of [`RelayConfig`]:
/// `setting!(Listening, "stun-port", "stun.port", "PORT", stun.port, "help")`.
macro_rules! setting {
    ($group:ident, $long:literal, $key:literal, $value:literal, $($field:ident).+, $help:literal) => {
        $crate::config::setting::Setting {
            long: $long,
            short: None,
            key: $key,
            group: $crate::config::setting::Group::$group,
            value_name: $value,
            help: $help,
            reloads: false,
            kind: $crate::config::setting::kind_of(|config| &config.$($field).+),
            set: |config, text| {
                config.$($field).+ = $crate::config::setting::Field::parse(text)?;
                Ok(())
            },
            show: |config| $crate::config::setting::Field::show(&config.$($field).+),
        }
    };
}
pub(super) use setting;

impl Field for bool {
    const KIND: Kind = Kind::Switch;
    fn parse(text: &str) -> Result<Self, String> {
        go::parse_bool(text)
    }
    fn show(&self) -> toml::Value {
        (*self).into()
    }
}

/// Whole numbers, with the range of the type named in the error.
macro_rules! integer_field {
    ($($type:ty),+) => {$(
        impl Field for $type {
            const KIND: Kind = Kind::Integer;
            fn parse(text: &str) -> Result<Self, String> {
                let value = go::parse_int(text)?;
                Self::try_from(value)
                    .map_err(|_| format!("{value} is out of range: give 0 to {}", Self::MAX))
            }
            fn show(&self) -> toml::Value {
                i64::try_from(*self).unwrap_or(i64::MAX).into()
            }
        }
    )+};
}
integer_field!(u16, u32, u64, usize);

impl Field for f64 {
    const KIND: Kind = Kind::Number;
    fn parse(text: &str) -> Result<Self, String> {
        go::parse_float(text)
    }
    fn show(&self) -> toml::Value {
        (*self).into()
    }
}

impl Field for Duration {
    const KIND: Kind = Kind::Duration;
    fn parse(text: &str) -> Result<Self, String> {
        go::parse_duration(text)
    }
    fn show(&self) -> toml::Value {
        go::format_duration(*self).into()
    }
}

impl Field for String {
    const KIND: Kind = Kind::Text;
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn show(&self) -> toml::Value {
        self.as_str().into()
    }
}

impl Field for PathBuf {
    const KIND: Kind = Kind::Path;
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
    fn show(&self) -> toml::Value {
        self.display().to_string().into()
    }
}

/// Empty text is `None`: that is how derper's flags are switched off.
impl<F: Field> Field for Option<F> {
    const KIND: Kind = F::KIND;
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(None)
        } else {
            F::parse(text).map(Some)
        }
    }
    fn show(&self) -> toml::Value {
        self.as_ref().map_or_else(|| "".into(), Field::show)
    }
}

/// An item of a list, separated by commas.
pub(super) trait Item: Sized {
    fn parse(text: &str) -> Result<Self, String>;
    fn show(&self) -> String;
}

impl<I: Item> Field for Vec<I> {
    const KIND: Kind = Kind::List;
    fn parse(text: &str) -> Result<Self, String> {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items.map(I::parse).collect()
    }
    fn show(&self) -> toml::Value {
        self.iter().map(Item::show).collect::<Vec<_>>().into()
    }
}

/// Declares how a small enum is written: `words!(CertMode { "manual" => Manual })`. Further words
/// that mean the same may follow after `|`.
macro_rules! words {
    ($type:ident { $($word:literal $(| $alias:literal)* => $variant:ident),+ $(,)? }) => {
        impl $crate::config::setting::Field for $type {
            const KIND: $crate::config::setting::Kind =
                $crate::config::setting::Kind::Choice(&[$($word),+]);
            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word $(| $alias)* => Ok(Self::$variant),)+
                    _ => Err(format!("{text:?} is none of {}", [$($word),+].join(", "))),
                }
            }
            fn show(&self) -> toml::Value {
                match self { $(Self::$variant => $word.into()),+ }
            }
        }
    };
}
pub(super) use words;
