//! A program's own numbers as Prometheus text.
//!
//! Source: the Prometheus text exposition format, version 0.0.4.

use std::fmt::Write as _;

/// Builds the body of `GET /metrics`; names get the prefix `dotter_`.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// The content type to answer with.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Adds a count that only grows; by convention its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, help, "counter");
        let _ = writeln!(self.0, "dotter_{name} {value}");
    }

    /// Adds a value that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, help, "gauge");
        let _ = writeln!(self.0, "dotter_{name} {value}");
    }

    /// Adds one counter for each value of a label.
    pub fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.family(name, help, "counter");
        for (of, value) in values {
            let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = writeln!(self.0, "dotter_{name}{{{label}=\"{of}\"}} {value}");
        }
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.0
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String cannot fail.
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP dotter_{name} {help}\n# TYPE dotter_{name} {kind}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut text = Exposition::default();
        text.counter("dots_total", "Dots stored.", 3);
        text.counters("bad_total", "Bad lines.", "why", [("a\"b", 1)]);
        assert_eq!(
            text.finish(),
            "# HELP dotter_dots_total Dots stored.\n# TYPE dotter_dots_total counter\ndotter_dots_total 3\n\
             # HELP dotter_bad_total Bad lines.\n# TYPE dotter_bad_total counter\n\
             dotter_bad_total{why=\"a\\\"b\"} 1\n"
        );
    }
}
