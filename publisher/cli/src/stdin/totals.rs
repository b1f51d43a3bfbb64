//! What became of the lines, said in the log, at the end, and meanwhile on a terminal.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use dotter_daemon::Log;

use super::input::Bad;

/// How much of a bad line is shown.
const SAMPLE_BYTES: usize = 200;
/// Between two looks at the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Lines that were not empty.
    pub(super) lines: u64,
    /// Dots published.
    pub(super) dots: u64,
    /// Dots for whose series the ring has no room.
    pub(super) refused: u64,
    /// Lines that say there was nothing to measure.
    pub(super) unmeasured: u64,
    /// Lines whose step had been published.
    pub(super) late: u64,
    pub(super) bad: BTreeMap<Bad, u64>,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { lines, dots, refused, unmeasured, late, bad } = self;
        write!(f, "{lines} lines read, {dots} dots published, {refused} refused, ")?;
        for (count, what) in [(unmeasured, "without a measurement"), (late, "too late")] {
            if *count > 0 {
                write!(f, "{count} {what}, ")?;
            }
        }
        write!(f, "{} bad lines", bad.values().sum::<u64>())?;
        for (index, (reason, count)) in bad.iter().enumerate() {
            write!(f, "{} {count} {reason}", if index == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

/// The log, and above the prompt of a terminal one more line that is written over and over.
pub(super) struct Talk {
    log: Log,
    /// When the progress is next due; `None` where standard error is no terminal.
    next_progress: Option<Instant>,
    /// The last line of the terminal is the progress.
    shown: bool,
}

impl Talk {
    pub(super) fn new() -> Talk {
        let next_progress = std::io::stderr().is_terminal().then(|| Instant::now() + PROGRESS_INTERVAL);
        Talk { log: Log::new("dotter-publisher"), next_progress, shown: false }
    }

    pub(super) fn info(&mut self, text: &str) {
        self.clear();
        self.log.info(text);
    }

    /// A sample of what is wrong with the input: one of a kind a second.
    pub(super) fn sample(&mut self, kind: &str, number: u64, line: &[u8]) {
        self.clear();
        let mut sample = String::from_utf8_lossy(&line[..line.len().min(SAMPLE_BYTES)]).trim_end().to_owned();
        if line.len() > SAMPLE_BYTES {
            sample.push_str("...");
        }
        self.log.warn(kind, &format!("line {number} is left out: {kind}: '{sample}'"));
    }

    pub(super) fn next_progress(&self) -> Option<Instant> {
        self.next_progress
    }

    /// Shows how far it has come, if that is due.
    pub(super) fn progress(&mut self, now: Instant, totals: &Totals) {
        if self.next_progress.is_some_and(|due| due <= now) {
            self.next_progress = Some(now + PROGRESS_INTERVAL);
            self.shown = true;
            // A terminal that has gone away is nobody to tell.
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{totals}");
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}
