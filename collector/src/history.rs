//! Reading back what was stored: the newest dots of a series, or all of a range.
//!
//! Always true: a read sees every commit that was acknowledged before it began, and holds a bounded number of dots
//! in memory at once, however dense they lie.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dotter_dot::{TimeRange, Timestamp};
use dotter_store::{Dot, Error, Reader, Snapshot};

/// A reader keeps the part of the log in memory that is not sealed: it goes when nobody has asked for so long.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// The first piece of a range that is read backwards is so long.
const PIECE: Duration = Duration::from_secs(1);
/// Pieces with fewer dots are too short.
const PIECE_DOTS_MIN: usize = 4096;
/// Pieces with more are too long.
const PIECE_DOTS_MAX: usize = 131_072;
/// Pieces with more than this are not read to their end.
const PIECE_DOTS_LIMIT: usize = 4 * PIECE_DOTS_MAX;
/// No piece is shorter.
const MOMENT: Duration = Duration::from_nanos(1);

/// The store as it is read.
pub(crate) struct History {
    dir: PathBuf,
    open: Mutex<Option<(Reader, Instant)>>,
}

impl History {
    pub(crate) fn new(dir: PathBuf) -> History {
        History { dir, open: Mutex::new(None) }
    }

    /// The newest `count` dots of a series within `range`; none where the series is unknown.
    pub(crate) fn newest(&self, series: &str, range: TimeRange, count: usize) -> Result<Newest, Error> {
        let snapshot = self.snapshot()?;
        // One more tells whether there is one.
        let mut dots = if range == TimeRange::ALL {
            snapshot.last(series, count + 1)?
        } else if let Some((first, last)) = snapshot.span(series) {
            let after_last = last.saturating_add(MOMENT);
            let range = TimeRange::new(range.from.max(first), range.until.min(after_last));
            newest_in(range, count + 1, |piece, most| read_up_to(&snapshot, series, piece, most))?
        } else {
            Vec::new()
        };
        let older = match dots.len() > count {
            true => dots_in(&snapshot, series, range)?.saturating_sub(count as u64).max(1),
            false => 0,
        };
        dots.drain(..dots.len().saturating_sub(count));
        Ok(Newest { dots, older })
    }

    /// All dots of a series within `range`, oldest first, or about how many there are where they are more than `most`.
    pub(crate) fn all(
        &self,
        series: &str,
        range: TimeRange,
        most: usize,
    ) -> Result<Result<Vec<Dot>, u64>, Error> {
        let snapshot = self.snapshot()?;
        Ok(match read_up_to(&snapshot, series, range, most)? {
            Some(dots) => Ok(dots),
            None => Err(dots_in(&snapshot, series, range)?.max(most as u64 + 1)),
        })
    }

    /// As long as this is held, nothing can be read.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> std::sync::MutexGuard<'_, Option<(Reader, Instant)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what is kept for the next read, unless there was one not long ago.
    pub(crate) fn forget_if_idle(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|(_, used)| used.elapsed() > IDLE_MAX) {
            *open = None;
        }
    }

    /// The store as of now.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Put back only when all went well: after an error the next read begins anew.
        let mut reader = match open.take() {
            Some((reader, _)) => reader,
            None => Reader::open(&self.dir)?,
        };
        reader.refresh(None)?;
        let snapshot = reader.snapshot();
        *open = Some((reader, Instant::now()));
        Ok(snapshot)
    }
}

/// The newest dots of a range.
pub(crate) struct Newest {
    /// Oldest first.
    pub(crate) dots: Vec<Dot>,
    /// How many older ones the range holds, or a few more than that.
    pub(crate) older: u64,
}

/// How many dots a range holds by what is known without reading them, which may be more than there are: some may be
/// replaced or deleted, others lie beside it in one chunk with those within.
fn dots_in(snapshot: &Snapshot, series: &str, range: TimeRange) -> Result<u64, Error> {
    Ok(snapshot.chunks(series, range)?.iter().map(|chunk| chunk.dots).sum())
}

/// The dots of a range, oldest first; `None` where it holds more than `most`: then no more than these were read.
fn read_up_to(
    snapshot: &Snapshot,
    series: &str,
    range: TimeRange,
    most: usize,
) -> Result<Option<Vec<Dot>>, Error> {
    let (mut dots, mut fits) = (Vec::new(), true);
    snapshot.scan().rows(series, range, |row| {
        // Texts have no number, and count for no dots here.
        if let Some(value) = row.number() {
            fits = dots.len() < most;
            dots.push(Dot { time: row.time(), value });
        }
        if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(fits.then_some(dots))
}

/// Reads `range` from its end on, in pieces that grow and shrink with how dense the dots lie, until there are `count`.
///
/// - `read`: the dots of a piece; `None` where they are more than it is told
fn newest_in(
    range: TimeRange,
    count: usize,
    mut read: impl FnMut(TimeRange, usize) -> Result<Option<Vec<Dot>>, Error>,
) -> Result<Vec<Dot>, Error> {
    let (mut pieces, mut found) = (Vec::new(), 0);
    let (mut until, mut length) = (range.until, PIECE);
    while range.from < until && found < count {
        let from = range.from.max(until.saturating_sub(length));
        // A moment is not cut in two, however many dots it holds.
        let most = if length > MOMENT { PIECE_DOTS_LIMIT } else { usize::MAX };
        let Some(mut dots) = read(TimeRange::new(from, until), most)? else {
            length = (length / 16).max(MOMENT);
            continue;
        };
        length = match dots.len() {
            len if len < PIECE_DOTS_MIN / 16 => length.saturating_mul(16),
            len if len < PIECE_DOTS_MIN => length.saturating_mul(2),
            len if len > PIECE_DOTS_MAX => (length / 2).max(MOMENT),
            _ => length,
        };
        let surplus = dots.len().saturating_sub(count - found);
        dots.drain(..surplus);
        found += dots.len();
        pieces.push(dots);
        until = from;
    }
    pieces.reverse();
    Ok(pieces.concat())
}

/// `[[seconds, value], ...]`; what is no finite number is null.
pub(crate) fn to_json(dots: &[Dot]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + dots.len() * 32);
    out.push(b'[');
    for (index, dot) in dots.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
        out.extend_from_slice(dot.time.seconds_text().as_bytes());
        out.push(b',');
        serde_json::to_writer(&mut out, &dot.value).expect("a number goes into memory");
        out.push(b']');
    }
    out.push(b']');
    out
}

/// The half-open range between two moments given as text; all there is where neither is.
///
/// # Errors
///
/// A sentence for whoever asked.
pub(crate) fn read_range(from: Option<&str>, until: Option<&str>) -> Result<TimeRange, String> {
    let moment = |text: &str| Timestamp::parse_seconds(text).or_else(|_| Timestamp::parse_rfc3339(text));
    let read = |key: &str, text: Option<&str>, without: Timestamp| match text {
        Some(text) => moment(text)
            .map_err(|_| format!("{key} '{text}' is no time from 1970 to 2554, in seconds or as RFC 3339")),
        None => Ok(without),
    };
    Ok(TimeRange::new(read("from", from, Timestamp::MIN)?, read("until", until, Timestamp::MAX)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(nanos: u64) -> Dot {
        Dot { time: Timestamp::from_nanos(nanos), value: nanos as f64 }
    }

    #[test]
    fn the_newest_are_found_whatever_their_density() {
        for (gap_ns, total) in
            [(1, 300_000), (1_000, 500_000), (1_000_000_000, 1000), (86_400_000_000_000, 3000)]
        {
            let all: Vec<Dot> = (0..total).map(|n| dot(n * gap_ns)).collect();
            let mut most = 0;
            let mut read = |piece: TimeRange, limit: usize| {
                let dots: Vec<Dot> = all.iter().filter(|dot| piece.contains(dot.time)).copied().collect();
                most = most.max(dots.len().min(limit));
                Ok((dots.len() <= limit).then_some(dots))
            };
            let range =
                TimeRange::new(Timestamp::from_nanos(5), Timestamp::from_nanos((total - 10) * gap_ns));
            let found = newest_in(range, 700, &mut read).unwrap();
            let end = total as usize - 10;
            let expected = &all[end.saturating_sub(700)..end];
            assert_eq!(found.len(), expected.len().min(700), "gap of {gap_ns} ns");
            assert!(found.iter().zip(expected).all(|(a, b)| a.time == b.time), "gap of {gap_ns} ns");
        }
    }

    #[test]
    fn a_crowd_behind_a_silence_is_read_in_pieces() {
        // A second with a million dots, and long after it one.
        let crowd = 1_000_000;
        let all: Vec<Dot> = (0..crowd).map(|n| dot(n * 1000)).chain([dot(86_400_000_000_000_000)]).collect();
        let index = |time: Timestamp| all.partition_point(|dot| dot.time < time);
        let mut most = 0;
        let read = |piece: TimeRange, limit: usize| {
            let dots = &all[index(piece.from)..index(piece.until)];
            most = most.max(dots.len().min(limit));
            Ok((dots.len() <= limit).then(|| dots.to_vec()))
        };
        let found = newest_in(TimeRange::ALL, 700, read).unwrap();
        assert_eq!(found, all[all.len() - 700..]);
        assert!(most <= PIECE_DOTS_LIMIT, "{most} dots in memory at once");
    }

    #[test]
    fn json_has_exact_seconds_and_null_for_what_is_no_number() {
        let dots = [
            dot(1_710_504_000_000_000_001),
            Dot { value: 0.1, ..dot(0) },
            Dot { value: f64::NAN, ..dot(1_500_000_000) },
            Dot { value: f64::INFINITY, ..dot(2_000_000_000) },
        ];
        let text = String::from_utf8(to_json(&dots)).unwrap();
        assert_eq!(text, "[[1710504000.000000001,1.710504e+18],[0,0.1],[1.5,null],[2,null]]");
        assert_eq!(to_json(&[]), b"[]");
    }

    #[test]
    fn a_range_is_seconds_or_rfc_3339() {
        assert_eq!(read_range(None, None), Ok(TimeRange::ALL));
        let range = read_range(Some("1.5"), Some("1970-01-01T00:00:03Z")).unwrap();
        assert_eq!((range.from.nanos(), range.until.nanos()), (1_500_000_000, 3_000_000_000));
        assert!(read_range(Some("now"), None).unwrap_err().contains("from 'now'"));
    }
}
