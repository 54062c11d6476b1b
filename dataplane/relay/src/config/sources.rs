//! Joins the sources into one configuration: defaults, file, environment, command line.

use std::path::PathBuf;
use std::sync::Arc;

use super::origin::Assignment;
use super::{
    ConfigError, Environment, Origin, Origins, Problem, RelayConfig, Setting, file, rules, settings,
};

/// What a configuration is made from. Kept with it, so that SIGHUP can read the file again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The TOML file (`--config`).
    pub file: Option<PathBuf>,
    /// The environment at start.
    pub environment: Environment,
    /// Settings on the command line, by [`Setting::long`], in their order.
    pub arguments: Vec<(String, String)>,
}

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: RelayConfig,
    /// Where its values come from.
    pub origins: Origins,
    /// What a person should know; nothing that stops the start.
    pub warnings: Vec<String>,
}

impl Sources {
    /// Reads every source and checks the result as a whole. All problems are reported at once.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut problems = Vec::new();
        let mut assignments = Vec::new();
        let file = self.file.clone().or_else(|| self.environment.config_file());
        if let Some(path) = file {
            file::read(&path, &mut assignments, &mut problems);
        }
        let mut warnings = self.environment.assign(&mut assignments);
        for (long, text) in &self.arguments {
            match settings().find(|setting| setting.long == long) {
                Some(setting) => assignments.push(Assignment {
                    setting,
                    text: text.clone(),
                    origin: Origin::Argument(flag(setting)),
                }),
                None => problems.push(Problem {
                    place: format!("--{long}"),
                    message: "there is no such setting".to_owned(),
                }),
            }
        }

        let mut config = RelayConfig::default();
        let mut origins = Origins::default();
        for Assignment {
            setting,
            text,
            origin,
        } in assignments
        {
            if let Err(message) = (setting.set)(&mut config, &text) {
                problems.push(Problem {
                    place: place(&origin, setting),
                    message,
                });
            }
            origins.0.insert(setting.long, origin);
        }
        rules::settle(
            &mut config,
            &origins,
            &self.environment,
            &mut problems,
            &mut warnings,
        );
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        config.sources = Arc::new(self.clone());
        Ok(Loaded {
            config,
            origins,
            warnings,
        })
    }
}

impl RelayConfig {
    /// Reads the sources again, for SIGHUP. The environment and the command line are those of
    /// the start.
    pub fn reload(&self) -> Result<Loaded, ConfigError> {
        self.sources.load()
    }

    /// Settings whose value differs in `new` but which only a restart applies.
    #[must_use]
    pub fn needing_restart(&self, new: &Self) -> Vec<&'static Setting> {
        settings()
            .filter(|setting| !setting.reloads && setting.text(self) != setting.text(new))
            .collect()
    }
}

/// The flag of a setting, as an operator writes it.
fn flag(setting: &Setting) -> String {
    match setting.short {
        Some(short) => format!("-{short}"),
        None => format!("--{}", setting.long),
    }
}

/// Where to correct a value: a flag and a variable name their setting already.
pub(super) fn place(origin: &Origin, setting: &Setting) -> String {
    match origin {
        Origin::File { .. } => format!("{origin}: {}", setting.key),
        Origin::Environment(_) | Origin::Argument(_) => origin.to_string(),
    }
}
