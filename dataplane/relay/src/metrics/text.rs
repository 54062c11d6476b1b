//! The text format of Prometheus, version 0.0.4: one family after the other, each with its help and type.

use std::fmt::{Display, Write as _};

use super::histogram::Histogram;

/// A page of metrics in the making.
#[derive(Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// A counter without labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// A gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// A family whose samples differ in one label.
    pub(super) fn labelled<L: Display, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.family(name, kind, help);
        for (value, count) in samples {
            self.sample(name, &[(label, &value)], count);
        }
    }

    /// A histogram whose values are shown `per_unit` times smaller than they were observed.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        histogram: &Histogram<N>,
        per_unit: u32,
    ) {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let shown = |value: u64| value as f64 / f64::from(per_unit);
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (bound, observed) in histogram.buckets() {
            count += observed;
            self.sample(&bucket, &[("le", &shown(bound))], count);
        }
        count += histogram.above();
        self.sample(&bucket, &[("le", &"+Inf")], count);
        self.sample(&format!("{name}_sum"), &[], shown(histogram.sum()));
        self.sample(&format!("{name}_count"), &[], count);
    }

    /// Begins a family.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// Adds a sample to the family that was begun last.
    pub(super) fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &dyn Display)],
        value: impl Display,
    ) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            self.text.push(before);
            self.text.push_str(label);
            self.text.push_str("=\"");
            for character in text.to_string().chars() {
                match character {
                    '\\' | '"' => self.text.extend(['\\', character]),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to a String cannot fail");
    }
}
