//! Who may connect.

use std::path::PathBuf;
use std::time::Duration;

use towline_wire::limits;

use super::setting::{Setting, setting};

/// Who may connect. With neither file nor URL everyone may, which is derper's default.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmissionConfig {
    /// File of allowed node keys, one `nodekey:<hex>` a line, reloaded when it changes. Together
    /// with a URL: keys in the file are admitted without asking.
    pub allow_file: Option<PathBuf>,
    /// Admission controller (`-verify-client-url`): asked by POST for each unknown key.
    pub verify_url: Option<String>,
    /// Admit unknown clients while the controller cannot be reached
    /// (`-verify-client-url-fail-open`). derper's default is true; ours is false.
    pub fail_open: bool,
    /// How long an answer is used without asking again.
    pub cache_time: Duration,
    /// How often the controller is asked again about each connected client; zero: never.
    pub recheck_time: Duration,
    /// How long a client that was allowed once stays allowed while the controller cannot be
    /// reached.
    pub keep_time: Duration,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            allow_file: None,
            verify_url: None,
            fail_open: false,
            cache_time: limits::ADMISSION_FRESH_DEFAULT,
            recheck_time: limits::ADMISSION_RECHECK_DEFAULT,
            keep_time: limits::ADMISSION_KEEP_DEFAULT,
        }
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        reloads: true,
        ..setting!(
            Admission,
            "admission-allow-file",
            "admission.allow_file",
            "FILE",
            admission.allow_file,
            "Admit the keys in this file: one nodekey:<hex> a line, # begins a comment. Read again when it changes"
        )
    },
    Setting {
        reloads: true,
        set: |config, text| {
            if !(text.is_empty() || text.starts_with("https://") || text.starts_with("http://")) {
                return Err(format!(
                    "{text:?} is not a URL that starts with https:// or http://"
                ));
            }
            config.admission.verify_url = super::setting::Field::parse(text)?;
            Ok(())
        },
        ..setting!(
            Admission,
            "verify-client-url",
            "admission.verify_client_url",
            "URL",
            admission.verify_url,
            "Ask this admission controller about each key: POST {\"NodePublic\",\"Source\"} is answered {\"Allow\": true}"
        )
    },
    Setting {
        reloads: true,
        ..setting!(
            Admission,
            "verify-client-url-fail-open",
            "admission.verify_client_url_fail_open",
            "BOOL",
            admission.fail_open,
            "Admit unknown keys while the controller cannot be reached. Unlike derper, false unless given"
        )
    },
    Setting {
        reloads: true,
        ..setting!(
            Admission,
            "admission-cache-time",
            "admission.cache_time",
            "TIME",
            admission.cache_time,
            "How long an answer of the controller is used before it is asked again"
        )
    },
    Setting {
        reloads: true,
        ..setting!(
            Admission,
            "admission-recheck-time",
            "admission.recheck_time",
            "TIME",
            admission.recheck_time,
            "How often the controller is asked again about each connected client; one that it does not allow any more is disconnected. 0: never"
        )
    },
    Setting {
        reloads: true,
        ..setting!(
            Admission,
            "admission-keep-time",
            "admission.keep_time",
            "TIME",
            admission.keep_time,
            "How long an admitted key stays admitted, and connected, while the controller cannot be reached"
        )
    },
];
