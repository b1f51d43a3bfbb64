//! How many series may be made, and which may always.
//!
//! Always true: a series that the store has is never refused, however many others have come. The store is asked only
//! where the writer meets a name for the first time, and finds the name without reading dots.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dotter_daemon::{Log, chain};
use dotter_dot::{SeriesKey, SeriesName, Shape};
use dotter_store::{Reader, Writer};

use crate::metrics::OWN_SERIES;

/// The reader keeps the part of the log in memory that is not sealed: it goes when no new name has come for so long.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// A series may change its shape. Beyond so many each counts as a series: what a writer keeps is bounded.
const SHAPES_FREE: usize = 16;

/// For so long a look holds, while there is room for new series: what the writer itself has taken it knows, and what
/// another process has stored since then counts as new at worst.
const LOOK: Duration = Duration::from_secs(10);

/// The limit of one life of the writer.
pub(crate) struct SeriesLimit {
    dir: PathBuf,
    /// So many that are new to the store.
    max: usize,
    made: usize,
    store: Option<Store>,
    /// When the store could not be looked at, last.
    failed: Option<Instant>,
    /// Whether the store was looked at for the work at hand.
    is_fresh: bool,
    log: Log,
}

/// The store as of the last look.
struct Store {
    reader: Reader,
    looked: Instant,
    used: Instant,
}

impl SeriesLimit {
    pub(crate) fn new(dir: PathBuf, max: usize, log: Log) -> SeriesLimit {
        SeriesLimit { dir, max, made: 0, store: None, failed: None, is_fresh: false, log }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// A post or lines are about to be taken, or there is nothing to do: the next look at the store may be a new one.
    pub(crate) fn begin(&mut self) {
        self.is_fresh = false;
        if self.store.as_ref().is_some_and(|store| store.used.elapsed() > IDLE_MAX) {
            self.store = None;
        }
    }

    /// The key of a series, made where it may be; `None` where it is one too many.
    pub(crate) fn key(&mut self, writer: &mut Writer, name: &SeriesName, shape: &Shape) -> Option<SeriesKey> {
        let known = writer.find_series(name, shape);
        known.or_else(|| self.admit(writer, [(name, shape)]).then(|| writer.series(name, shape)))
    }

    /// Counts those of `series` that are new, unless they are too many; says whether all of them may be made.
    pub(crate) fn admit<'a>(
        &mut self,
        writer: &Writer,
        series: impl IntoIterator<Item = (&'a SeriesName, &'a Shape)> + Clone,
    ) -> bool {
        let mut new = self.new_among(writer, series.clone());
        if self.made + new > self.max && new > 0 && !self.is_fresh {
            self.renew();
            new = self.new_among(writer, series);
        }
        let fits = new == 0 || self.made + new <= self.max;
        self.made += if fits { new } else { 0 };
        fits
    }

    fn new_among<'a>(
        &mut self,
        writer: &Writer,
        series: impl IntoIterator<Item = (&'a SeriesName, &'a Shape)>,
    ) -> usize {
        let unseen = series.into_iter().filter(|(name, shape)| writer.find_series(name, shape).is_none());
        unseen.filter(|(name, _)| self.counts(writer, name)).count()
    }

    /// Whether another shape of a name counts.
    fn counts(&mut self, writer: &Writer, name: &SeriesName) -> bool {
        match writer.shapes_seen(name) {
            // The collector's own numbers tell of the limit that was reached.
            0 => !OWN_SERIES.contains(&name.as_str()) && !self.is_stored(name),
            seen => seen >= SHAPES_FREE,
        }
    }

    fn is_stored(&mut self, name: &SeriesName) -> bool {
        let now = Instant::now();
        // A look in vain holds as long: where a segment is missing, one for each name would leave no time for dots.
        let looked = self.store.as_ref().map_or(self.failed, |store| Some(store.looked));
        if looked.is_none_or(|looked| now.duration_since(looked) > LOOK) {
            self.renew();
        }
        // Where the store cannot be looked at, rather one series too many than one that is known and shut out.
        let Some(store) = &mut self.store else { return true };
        store.used = now;
        store.reader.snapshot().contains(name.as_str())
    }

    /// Looks at the store as it is now.
    fn renew(&mut self) {
        // Put back only when all went well: after an error the next look begins anew.
        let looked = match self.store.take() {
            // Not what the writer has put into the log since: that may be a million names, and dots wait meanwhile.
            Some(Store { mut reader, .. }) => reader.refresh_names().map(|()| reader),
            None => Reader::open(&self.dir),
        };
        match looked {
            Ok(reader) => {
                let now = Instant::now();
                self.store = Some(Store { reader, looked: now, used: now });
                self.is_fresh = true;
            }
            Err(error) => {
                self.failed = Some(Instant::now());
                let text =
                    format!("cannot look which series are stored: {}; new ones are taken", chain(&error));
                self.log.warn("series-limit", &text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dotter_dot::{Dots, Timestamp};
    use dotter_store::Transaction;

    use super::*;

    #[test]
    fn a_store_that_cannot_be_read_is_not_looked_at_for_every_name() {
        let dir = tempfile::tempdir().unwrap();
        let name = |text: &str| SeriesName::new(text).unwrap();
        let row = (name("stored"), Timestamp::from_nanos(1), 1.0);
        dotter_store::add(dir.path(), vec![row]).unwrap();
        let mut writer = Writer::open(dir.path()).unwrap();
        let mut limit = SeriesLimit::new(dir.path().to_owned(), 1, Log::new("test"));
        // As after a restore that left a segment out.
        std::fs::rename(dir.path().join("seg"), dir.path().join("aside")).unwrap();
        let begun = Instant::now();
        let mut looks = BTreeSet::new();
        for n in 0..100 {
            limit.begin();
            assert!(limit.key(&mut writer, &name(&format!("new.{n}")), &Shape::number()).is_some());
            looks.insert(limit.failed.expect("the store cannot be read"));
        }
        let most = 1 + begun.elapsed().as_secs() / LOOK.as_secs();
        assert!(looks.len() as u64 <= most, "{} looks, expected at most {most}", looks.len());
    }

    #[test]
    fn a_look_takes_in_what_others_stored_and_leaves_the_writers_own_log_alone() {
        let dir = tempfile::tempdir().unwrap();
        let name = |text: &str| SeriesName::new(text).unwrap();
        let write = |writer: &mut Writer, text: &str| {
            let key = writer.series(&name(text), &Shape::number());
            let mut dots = Dots::default();
            dots.push_number(key, false, Timestamp::from_nanos(1), 1.0);
            writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
            writer.sync().unwrap();
        };
        write(&mut Writer::open(dir.path()).unwrap(), "before");
        let mut writer = Writer::open(dir.path()).unwrap();
        let mut limit = SeriesLimit::new(dir.path().to_owned(), 0, Log::new("test"));
        let mut is_admitted = |writer: &mut Writer, text: &str| {
            limit.begin();
            let is_admitted = limit.key(writer, &name(text), &Shape::number()).is_some();
            let store = limit.store.as_ref().expect("the store can be read");
            (is_admitted, store.reader.snapshot().contains("own"))
        };
        assert_eq!(is_admitted(&mut writer, "new"), (false, false));
        write(&mut writer, "own");
        dotter_store::add(dir.path(), vec![(name("other"), Timestamp::from_nanos(1), 1.0)]).unwrap();
        assert_eq!(is_admitted(&mut writer, "new"), (false, false));
        for text in ["own", "before", "other"] {
            assert_eq!(is_admitted(&mut writer, text), (true, false), "{text}");
        }
    }
}
