//! Who may connect.

use std::path::PathBuf;
use std::time::Duration;

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
            cache_time: Duration::from_secs(60),
            keep_time: Duration::from_secs(60 * 60),
        }
    }
}
