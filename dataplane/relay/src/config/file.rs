//! The TOML file. Unknown keys and wrong types are problems, with their line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::Assignment;
use super::{Kind, Origin, Problem, Setting, settings};
use crate::bounded_file;

/// Many times a file with every setting, its comments and long lists.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the file at `path`; what is wrong goes to `problems`.
pub(super) fn read(path: &Path, assignments: &mut Vec<Assignment>, problems: &mut Vec<Problem>) {
    match bounded_file::open_text(path, FILE_BYTES_MAX) {
        Ok(text) => parse(path, &text, assignments, problems),
        Err(error) => problems.push(Problem {
            place: path.display().to_string(),
            message: format!("cannot read the configuration file: {error}"),
        }),
    }
}

fn parse(path: &Path, text: &str, assignments: &mut Vec<Assignment>, problems: &mut Vec<Problem>) {
    let line_of = |offset: usize| text[..offset].matches('\n').count() + 1;
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(span.start));
            problems.push(Problem {
                place: Origin::File {
                    path: path.to_owned(),
                    line,
                }
                .to_string(),
                message: error.message().to_owned(),
            });
            return;
        }
    };
    let mut walk = Walk {
        origin: |offset| Origin::File {
            path: path.to_owned(),
            line: line_of(offset),
        },
        assignments,
        problems,
    };
    walk.table("", table.get_ref());
}

struct Walk<'a, F> {
    origin: F,
    assignments: &'a mut Vec<Assignment>,
    problems: &'a mut Vec<Problem>,
}

impl<F: Fn(usize) -> Origin> Walk<'_, F> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                prefix => format!("{prefix}.{}", name.get_ref()),
            };
            let origin = (self.origin)(name.span().start);
            if let Some(setting) = settings().find(|setting| setting.key == key) {
                match text_of(setting, value) {
                    Ok(text) => self.assignments.push(Assignment {
                        setting,
                        text,
                        origin,
                    }),
                    Err(message) => self.problem(&origin, &key, message),
                }
            } else if let DeValue::Table(inner) = value.get_ref()
                && is_section(&key)
            {
                self.table(&key, inner);
            } else {
                let message = format!("there is no such setting; {}", known_beside(&key));
                self.problem(&origin, &key, message);
            }
        }
    }

    fn problem(&mut self, origin: &Origin, key: &str, message: String) {
        self.problems.push(Problem {
            place: format!("{origin}: {key}"),
            message,
        });
    }
}

fn is_section(key: &str) -> bool {
    settings().any(|setting| {
        setting
            .key
            .split_once('.')
            .is_some_and(|(section, _)| section == key)
    })
}

/// What could have been meant: the other keys of the section, or the sections.
fn known_beside(key: &str) -> String {
    let section = key
        .split_once('.')
        .map(|(section, _)| section)
        .filter(|name| is_section(name));
    let mut known: Vec<&str> = settings()
        .filter_map(|setting| match (section, setting.key.split_once('.')) {
            (Some(section), Some((its, name))) if its == section => Some(name),
            (None, Some((its, _))) => Some(its),
            (None, None) => Some(setting.key),
            _ => None,
        })
        .collect();
    let mut seen = std::collections::HashSet::new();
    known.retain(|name| seen.insert(*name));
    match section {
        Some(section) => format!("[{section}] has {}", known.join(", ")),
        None => format!("there are {}", known.join(", ")),
    }
}

/// The value as the text that a flag would carry, if it has the setting's type.
fn text_of(setting: &Setting, value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    let value = value.get_ref();
    let fits = match setting.kind {
        Kind::Switch => value.is_bool(),
        Kind::Integer => value.is_integer(),
        Kind::Number => value.is_integer() || value.is_float(),
        Kind::Bytes => value.is_integer() || value.is_str(),
        Kind::List => value.is_array() || value.is_str(),
        Kind::Duration | Kind::Choice(_) | Kind::Text | Kind::Path => value.is_str(),
    };
    if !fits {
        let wanted = match setting.kind {
            Kind::Switch => "true or false",
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
            Kind::Bytes => "a whole number of bytes, or text in quotes such as \"2MB\"",
            Kind::List => "an array of strings",
            Kind::Duration => "a duration in quotes, such as \"1m30s\"",
            Kind::Choice(_) | Kind::Text | Kind::Path => "text in quotes",
        };
        return Err(format!("it must be {wanted}, not a {}", value.type_str()));
    }
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(on) => Ok(on.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|value| value.to_string())
            .map_err(|_| "the number is too large".to_owned()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| match item.get_ref().as_str() {
                Some(text) if !text.contains(',') => Ok(text),
                Some(text) => Err(format!("{text:?} must not contain a comma")),
                None => Err("it must be an array of strings".to_owned()),
            });
            Ok(items.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        DeValue::Table(_) | DeValue::Datetime(_) => {
            Err(format!("it must not be a {}", value.type_str()))
        }
    }
}
