//! One line on a terminal that says how far something has come.
//!
//! Where standard error is no terminal nothing is drawn.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the line is drawn anew.
const EVERY: Duration = Duration::from_millis(100);

/// What takes less than this draws no line.
const PATIENCE: Duration = Duration::from_millis(400);

/// Cells of the bar.
const BAR: usize = 24;

/// A line; it is wiped away when it is dropped.
pub(crate) struct Progress {
    doing: &'static str,
    unit: &'static str,
    /// `None` where it is not known.
    total: Option<u64>,
    since: Instant,
    drawn: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    /// - `doing`: as in "adding"
    /// - `unit`: what is counted; `"bytes"` are shown as such
    pub(crate) fn new(doing: &'static str, unit: &'static str, total: Option<u64>) -> Progress {
        let is_terminal = std::io::stderr().is_terminal();
        Progress { doing, unit, total, since: Instant::now(), drawn: None, is_terminal }
    }

    /// For what comes to be known later.
    pub(crate) fn set_total(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// Says how many are done. Cheap: call it as often as something happens.
    pub(crate) fn at(&mut self, done: u64) {
        if !self.is_terminal {
            return;
        }
        let now = Instant::now();
        let due = match self.drawn {
            Some(drawn) => now.duration_since(drawn) >= EVERY,
            None => now.duration_since(self.since) >= PATIENCE,
        };
        if due {
            self.drawn = Some(now);
            let line = line(self.doing, self.unit, done, self.total, now.duration_since(self.since));
            // A terminal that is gone needs no line.
            let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(doing: &str, unit: &str, done: u64, total: Option<u64>, passed: Duration) -> String {
    let rate = done as f64 / passed.as_secs_f64().max(0.001);
    let (done_text, rate_text) = (amount(done as f64, unit), amount(rate, unit));
    match total.filter(|total| *total > 0) {
        None => format!("{doing} {done_text}, {rate_text}/s"),
        Some(total) => {
            let share = (done as f64 / total as f64).min(1.0);
            let full = (share * BAR as f64) as usize;
            let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR - full));
            let left = if done == 0 { 0.0 } else { passed.as_secs_f64() * (1.0 - share) / share };
            format!(
                "{doing} [{bar}] {:3.0} %  {done_text} of {}, {rate_text}/s, {left:.0} s left",
                share * 100.0,
                amount(total as f64, unit)
            )
        }
    }
}

/// A number as people read it.
fn amount(number: f64, unit: &str) -> String {
    let (short, prefix) = match number {
        n if n >= 1e9 => (n / 1e9, "G"),
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e4 => (n / 1e3, "k"),
        n => (n, ""),
    };
    let digits = if prefix.is_empty() { 0 } else { 1 };
    match unit {
        "bytes" if prefix.is_empty() => format!("{short:.0} B"),
        "bytes" => format!("{short:.digits$} {prefix}B"),
        unit if prefix.is_empty() => format!("{short:.0} {unit}"),
        unit => format!("{short:.digits$} {prefix} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let second = Duration::from_secs(1);
        assert_eq!(line("adding", "rows", 1_500_000, None, second), "adding 1.5 M rows, 1.5 M rows/s");
        let half = line("adding", "bytes", 500, Some(1000), second);
        assert_eq!(half, "adding [############------------]  50 %  500 B of 1000 B, 500 B/s, 1 s left");
        assert!(line("adding", "bytes", 2000, Some(1000), second).contains("100 %"));
    }
}
