//! What `towline bench` shows on stderr while it measures. Hidden when that is no terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use towline_load::{Options, Progress};

use crate::units;

/// One line that changes.
pub(crate) struct Bar {
    bar: ProgressBar,
    /// Of a phase of load, in seconds.
    length_s: u64,
    unit: &'static str,
}

impl Bar {
    pub(crate) fn new(quiet: bool, options: &Options) -> Self {
        let target = match quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        // Without its style the bar is only less clear.
        if let Ok(style) = ProgressStyle::with_template("{msg:>34} {wide_bar} {pos}/{len}") {
            bar.set_style(style);
        }
        Self {
            bar,
            length_s: (options.traffic.warm_up + options.traffic.duration).as_secs(),
            unit: match options.scenario {
                towline_load::Scenario::Handshakes { .. } => "handshakes",
                _ => "packets",
            },
        }
    }

    /// Shows a step.
    pub(crate) fn show(&self, step: Progress) {
        match step {
            Progress::Connecting { done, of } => {
                self.bar.set_length(u64::from(of));
                self.bar.set_position(u64::from(done));
                self.bar.set_message("connecting");
            }
            Progress::Running { count, elapsed } => {
                self.bar.set_length(self.length_s);
                self.bar.set_position(elapsed.as_secs().min(self.length_s));
                self.bar
                    .set_message(format!("{} {}", units::count(count), self.unit));
            }
        }
    }

    /// Takes the line away, before the report.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
