//! The Prometheus text format (version 0.0.4).

use super::names::{Kind, Metric};
use std::fmt::Write as _;

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Begins a metric: its help and type.
    pub(super) fn family(&mut self, metric: &Metric) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let Metric { name, help, .. } = metric;
        // A string takes everything, here and below.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A value. `suffix` stands behind the name.
    pub(super) fn sample(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.text, "{name}{suffix}");
        for (n, (label, text)) in labels.iter().enumerate() {
            self.text.push(if n == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// A metric with one value.
    pub(super) fn one(&mut self, metric: &Metric, value: f64) {
        self.family(metric);
        self.sample(metric.name, "", &[], value);
    }

    /// A metric with a value for each text of one label.
    pub(super) fn by<T: AsRef<str>>(
        &mut self,
        metric: &Metric,
        label: &str,
        values: impl IntoIterator<Item = (T, f64)>,
    ) {
        self.family(metric);
        for (text, value) in values {
            self.sample(metric.name, "", &[(label, text.as_ref())], value);
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}
