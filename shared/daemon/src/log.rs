//! Log lines on standard error: one event, one line, nothing in it that could fake another.
//!
//! Warnings carry a key; of one key at most one line a second is written, and the next one says how many
//! were held back. So a peer that sends garbage for a day costs a line a second, not a disk.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dotter_dot::Timestamp;

const QUIET: Duration = Duration::from_secs(1);
/// Keys remembered at once; past it the memory of all is dropped, which lets a few lines more through.
const KEYS_MAX: usize = 256;

/// A program's voice. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    program: &'static str,
    quiet: Arc<Mutex<HashMap<String, Quiet>>>,
}

struct Quiet {
    since: Instant,
    held_back: u64,
}

impl Log {
    /// Lines will begin with the time and `program`.
    pub fn new(program: &'static str) -> Log {
        Log { program, quiet: Arc::default() }
    }

    /// Writes one line.
    pub fn info(&self, text: &str) {
        let line = line(Timestamp::now(), self.program, text);
        // Standard error may be closed; there is nobody left to tell.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    /// Writes one line unless another with `key` was written within the last second.
    pub fn warn(&self, key: &str, text: &str) {
        match self.admit(key, Instant::now()) {
            None => {}
            Some(0) => self.info(&format!("warning: {text}")),
            Some(held_back) => {
                self.info(&format!("warning: {text} ({held_back} more like this held back)"));
            }
        }
    }

    /// How many lines of this key were held back, if one may be written now.
    fn admit(&self, key: &str, now: Instant) -> Option<u64> {
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = quiet.get_mut(key) {
            if now.saturating_duration_since(seen.since) < QUIET {
                seen.held_back += 1;
                return None;
            }
            seen.since = now;
            return Some(std::mem::take(&mut seen.held_back));
        }
        if quiet.len() >= KEYS_MAX {
            quiet.clear();
        }
        quiet.insert(key.to_owned(), Quiet { since: now, held_back: 0 });
        Some(0)
    }
}

/// Control characters are escaped: text from a peer stays inside its line.
fn line(now: Timestamp, program: &str, text: &str) -> String {
    let millis = now.nanos() / 1_000_000 * 1_000_000;
    let mut line = format!("{} {program}: ", Timestamp::from_nanos(millis));
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let text = line(Timestamp::from_nanos(1_710_504_000_123_456_789), "dotter-x", "a\nb\x1b[2J");
        assert_eq!(text, "2024-03-15T12:00:00.123Z dotter-x: a\\nb\\u{1b}[2J\n");
    }

    #[test]
    fn a_key_speaks_once_a_second_and_says_what_it_held_back() {
        let log = Log::new("test");
        let start = Instant::now();
        assert_eq!(log.admit("a", start), Some(0));
        assert_eq!(log.admit("a", start), None);
        assert_eq!(log.admit("b", start), Some(0));
        assert_eq!(log.admit("a", start + QUIET), Some(1));
    }
}
