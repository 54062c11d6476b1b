//! Writes a configuration as a TOML file that gives the same configuration again.

use std::fmt::Write as _;

use super::{Loaded, Setting, settings};

/// The effective configuration as TOML, each value with a comment that says where it comes from.
#[must_use]
pub fn to_toml(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut sections: Vec<&str> = Vec::new();
    for setting in settings() {
        let section = setting
            .key
            .split_once('.')
            .map_or("", |(section, _)| section);
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    // Keys outside a section must come first in a TOML file.
    sections.sort_by_key(|section| !section.is_empty());
    for section in sections {
        if !section.is_empty() {
            let _ = writeln!(text, "\n[{section}]");
        }
        for setting in settings() {
            let (its, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
            if its == section {
                line(&mut text, setting, name, loaded);
            }
        }
    }
    text
}

fn line(text: &mut String, setting: &Setting, name: &str, loaded: &Loaded) {
    let value = (setting.show)(&loaded.config);
    let unset = value.as_str() == Some("") && !takes_empty(setting);
    let comment = match loaded.origins.of(setting.long) {
        Some(origin) => format!("  # {origin}"),
        None => String::new(),
    };
    let _ = match unset {
        true => writeln!(text, "# {name} is not set"),
        false => writeln!(text, "{name} = {value}{comment}"),
    };
}

/// Whether the TOML file may hold `""` for the setting.
fn takes_empty(setting: &Setting) -> bool {
    use super::Kind;
    matches!(setting.kind, Kind::Text | Kind::Path | Kind::List)
}
