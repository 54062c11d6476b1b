//! Driver, its features, and shards.

use std::num::NonZeroU16;
use std::time::Duration;

use towline_io::{DriverConfig, Features};

use super::setting::{Field, Kind, Setting, setting, words};

/// How the relay talks to the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct IoConfig {
    /// Which driver.
    pub driver: DriverChoice,
    /// Optional io_uring features that may be used where the kernel has them.
    pub features: Features,
    /// How long arriving packets may gather under load before they are handled; zero: not at all.
    pub gather: Duration,
}

impl Default for IoConfig {
    fn default() -> Self {
        Self {
            driver: DriverChoice::Auto,
            features: Features::all(),
            gather: DriverConfig::default().gather,
        }
    }
}

/// Which driver moves bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where it works, else epoll, with a warning that names the cause.
    #[default]
    Auto,
    /// io_uring, or the start fails.
    Uring,
    /// epoll.
    Epoll,
}

/// A set of optional io_uring features, as `--io-features` writes it.
impl Field for Features {
    const KIND: Kind = Kind::List;

    /// Items from left to right: `all`, `none`, a name to add it, `-name` to take it out. A list
    /// that begins with `-name` begins with everything.
    fn parse(text: &str) -> Result<Self, String> {
        let mut set = if text.trim_start().starts_with('-') {
            Self::all()
        } else {
            Self::none()
        };
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let find = |name: &str| {
                Self::by_name(name).ok_or_else(|| {
                    let names: Vec<_> = Self::all().names().collect();
                    format!(
                        "{name:?} is no io_uring feature; there are {}",
                        names.join(", ")
                    )
                })
            };
            set = match (item, item.strip_prefix('-')) {
                ("all", _) => Self::all(),
                ("none", _) => Self::none(),
                (_, Some(name)) => set.without(find(name)?),
                (name, None) => set.with(find(name)?),
            };
        }
        Ok(set)
    }

    fn show(&self) -> toml::Value {
        if *self == Self::all() {
            "all".into()
        } else {
            self.to_string().into()
        }
    }
}

/// Threads that own connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardsConfig {
    /// How many; `None`: one for each CPU that this process may use.
    pub count: Option<NonZeroU16>,
    /// Bind each shard's thread to one CPU.
    pub pin: bool,
}

impl Field for NonZeroU16 {
    const KIND: Kind = Kind::Integer;
    fn parse(text: &str) -> Result<Self, String> {
        let count = u16::parse(text)?;
        Self::new(count).ok_or_else(|| "0 is too few; give at least 1".to_owned())
    }
    fn show(&self) -> toml::Value {
        i64::from(self.get()).into()
    }
}

words!(DriverChoice { "auto" => Auto, "uring" => Uring, "epoll" => Epoll });

pub(super) const SETTINGS: &[Setting] = &[
    setting!(
        Machine,
        "shards",
        "shards.count",
        "COUNT",
        shards.count,
        "Threads that own connections [default: one for each CPU that the process may use]"
    ),
    setting!(
        Machine,
        "pin-shards",
        "shards.pin",
        "BOOL",
        shards.pin,
        "Bind each of them to a CPU of its own"
    ),
    setting!(
        Machine,
        "io",
        "io.driver",
        "DRIVER",
        io.driver,
        "auto takes io_uring and falls back to epoll with a warning that says why; uring makes that an error"
    ),
    setting!(
        Machine,
        "io-features",
        "io.features",
        "NAME,…",
        io.features,
        "io_uring features that may be used where the kernel has them: all, none, names, or -name to take one out of all"
    ),
    setting!(
        Machine,
        "io-gather",
        "io.gather",
        "DURATION",
        io.gather,
        "Longest time that packets gather under load, which saves processor time and adds to the way of busy clients' packets; 0 for the shortest way"
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_added_and_taken_out() {
        let all = Features::all();
        let one = Features::MULTISHOT_RECV;
        let cases = [
            ("all", all),
            ("none", Features::none()),
            ("", Features::none()),
            ("multishot-recv", one),
            ("-multishot-recv", all.without(one)),
            ("all,-multishot-recv", all.without(one)),
            ("none, multishot-recv", one),
        ];
        for (text, set) in cases {
            assert_eq!(Features::parse(text), Ok(set), "{text:?}");
        }
        assert!(
            Features::parse("telepathy")
                .unwrap_err()
                .contains("multishot-recv")
        );
        for set in [all, one, Features::none(), all.without(one)] {
            let written = set.show();
            assert_eq!(
                Features::parse(written.as_str().unwrap()),
                Ok(set),
                "{written}"
            );
        }
    }
}
