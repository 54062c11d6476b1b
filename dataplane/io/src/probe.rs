//! What this host allows, found out by trying.

use core::fmt;

use crate::error::HostFacts;
use crate::uring;
use crate::{DriverError, Features};

/// The drivers that can be opened here. Epoll always can.
#[derive(Debug)]
pub struct Capabilities {
    /// As `uname -r` says.
    pub kernel: String,
    /// The io_uring features that work, or why there is no io_uring.
    pub uring: Result<Features, DriverError>,
}

/// Sets up a small ring on this thread, sees what it can do, and takes it down again.
#[must_use]
pub fn probe() -> Capabilities {
    Capabilities {
        kernel: HostFacts::read().release,
        uring: uring::probe(),
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.uring {
            Ok(features) => write!(f, "kernel {}: io_uring with {features}", self.kernel),
            Err(error) => write!(f, "kernel {}: {error}", self.kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_says_what_a_driver_then_has() {
        let found = probe();
        let Ok(features) = &found.uring else {
            panic!("{found}")
        };
        let config = crate::DriverConfig::default();
        let driver = crate::Driver::open(crate::DriverKind::Uring, &config).unwrap();
        assert_eq!(driver.features(), *features);
        assert!(
            found.to_string().contains(&format!("with {features}")),
            "{found}"
        );
    }
}
