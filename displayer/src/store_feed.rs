//! The store's directory as a feed: opened read-only and followed; nothing is asked of anyone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use dotter_query::Catalogue;
use dotter_store::{Commit, Error, Follow, Snapshot, What};

use crate::feed::{ApplicationLosses, Feed, FeedError, LossNews, LossSpan, News, View};
use crate::store_source::StoreSource;

/// A store directory, which may not be there yet.
pub struct StoreFeed {
    dir: PathBuf,
    follow: Option<Follow>,
    /// How often the thread of the log was lost: by opening, or by falling too far behind.
    epoch: u64,
    /// The names of the last view, and the generation and the sequence of its store.
    catalogue: Catalogue,
    generation: u64,
    sequence: u64,
}

impl StoreFeed {
    /// Opens nothing yet.
    pub fn new(dir: PathBuf) -> StoreFeed {
        StoreFeed { dir, follow: None, epoch: 0, catalogue: Catalogue::default(), generation: 0, sequence: 0 }
    }

    /// Brings the names up to date.
    ///
    /// - `starts`: whether the last view may have been another store's
    fn take_names(&mut self, snapshot: &Snapshot, starts: bool, news: &[News]) {
        let names = snapshot.series();
        if !starts && self.generation == snapshot.generation() {
            // None has gone. Those that came are mostly in the news; series of texts are not.
            let new_count = names.len().saturating_sub(self.catalogue.names().len());
            let mut new_names = BTreeSet::new();
            let mut told = news.iter().flat_map(|news| &news.dots).map(|(name, ..)| name);
            while new_names.len() < new_count
                && let Some(name) = told.next()
            {
                if !self.catalogue.contains(name.as_str()) {
                    new_names.insert(name.clone());
                }
            }
            self.catalogue.add(new_names);
            if self.catalogue.names().len() == names.len() {
                return;
            }
        }
        self.catalogue = Catalogue::new(names.collect());
    }
}

impl Feed for StoreFeed {
    fn refresh(&mut self, news: &mut Vec<News>) -> Result<Option<View>, FeedError> {
        let opened = self.follow.is_none();
        // Taken out while it is used: after an error it is opened anew at the next look.
        let mut follow = match self.follow.take() {
            Some(follow) => follow,
            None => Follow::now(&self.dir)?,
        };
        let before = follow.position();
        let mut commits = Vec::new();
        let mut has_missed = false;
        loop {
            match follow.look(&mut commits) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Error::Missed(missed)) => {
                    // The view has all of it: viewers begin anew.
                    has_missed = true;
                    commits.clear();
                    follow.skip(&missed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let snapshot = follow.snapshot();
        let changed = follow.position() != before;
        self.follow = Some(follow);
        let starts = opened || has_missed;
        self.epoch += starts as u64;
        let before = news.len();
        news.extend(commits.into_iter().filter_map(told));
        if !changed && !opened {
            return Ok(None);
        }
        self.take_names(&snapshot, starts || snapshot.sequence() < self.sequence, &news[before..]);
        self.generation = snapshot.generation();
        self.sequence = snapshot.sequence();
        let source = StoreSource::new(snapshot.clone(), self.catalogue.clone());
        Ok(Some(View {
            source: Arc::new(source),
            catalogue: self.catalogue.clone(),
            epoch: self.epoch,
            generation: self.generation,
            sequence: self.sequence,
            losses: Arc::new(move || losses(&snapshot)),
        }))
    }
}

/// What a viewer is told of a commit. What others have committed is in the view.
fn told(commit: Commit) -> Option<News> {
    let What::Frame(news) = commit.what else { return None };
    let losses = news.losses.into_iter().map(|loss| LossNews {
        application: loss.application,
        lost: loss.lost,
        reason: loss.reason,
        times: loss.times,
    });
    Some(News { sequence: news.sequence, losses: losses.collect(), dots: news.dots })
}

/// What the ledger says of every application, over all its rings.
fn losses(snapshot: &Snapshot) -> BTreeMap<String, ApplicationLosses> {
    let mut applications: BTreeMap<String, ApplicationLosses> = BTreeMap::new();
    for (_, account) in snapshot.ledger().open_rings() {
        let losses = applications.entry(account.application.clone()).or_default();
        losses.rings += 1;
        losses.stored += account.stored();
        for (reason, tally) in &account.lost {
            *losses.lost.entry(*reason).or_default() += tally.count;
            let spans = tally.spans.iter();
            losses.spans.extend(spans.map(|span| LossSpan {
                reason: *reason,
                lost: span.lost,
                times: span.times,
            }));
        }
        for (reason, count) in account.refused.iter().chain(&account.refused_in_ring) {
            *losses.refused.entry(*reason).or_default() += count;
        }
    }
    for (name, of) in snapshot.ledger().applications() {
        let losses = applications.entry(name.to_owned()).or_default();
        losses.rings += of.rings;
        losses.stored += of.stored;
        losses.spans.extend(of.losses.iter().map(|loss| LossSpan {
            reason: loss.reason,
            lost: loss.span.lost,
            times: loss.span.times,
        }));
        for (reason, count) in &of.lost {
            *losses.lost.entry(*reason).or_default() += count;
        }
        for (reason, count) in of.refused.iter().chain(&of.refused_in_ring) {
            *losses.refused.entry(*reason).or_default() += count;
        }
    }
    applications
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dotter_dot::{
        Cell, Dots, Format, Incarnation, Reason, SeriesName, Shape, TimeRange, Timestamp, Value, put_row,
    };
    use dotter_query::{Budget, Pattern};
    use dotter_store::{LaneRecords, Lost, Machine, Reader, RingPart, Transaction, Writer};

    use super::*;

    #[test]
    fn what_was_lost_is_told_however_long_ago() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path()).unwrap();
        let incarnation = Incarnation([4; 16]);
        let now = Timestamp::from_nanos(5);
        let refusals = [(Reason::SIGNAL_HANDLER, 2)];
        let ring =
            RingPart { incarnation, application: "app", refusals: &refusals, now, ..RingPart::default() };
        let lost = Lost { first: 0, next: 3, reason: Reason::LAPPED, times: None };
        let lanes =
            [LaneRecords { lane: 0, first: 0, next: 3, losses: vec![lost], ..LaneRecords::default() }];
        let dots = dotter_dot::Dots::default();
        writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
        writer.finish(&ring, &[(0, 3)], now).unwrap();
        writer.sync().unwrap();
        drop(writer);
        drop(Writer::open(dir.path()).unwrap());
        dotter_store::seal_all(dir.path(), &|| false).unwrap();
        let mut feed = StoreFeed::new(dir.path().to_owned());
        for days in [0, 31] {
            let length = Duration::from_secs(days * 24 * 3600);
            let machine = Machine { wall: now.saturating_add(length), boot: [1; 16], since_boot: length };
            dotter_store::tidy(dir.path(), &machine).unwrap();
            let view = feed.refresh(&mut Vec::new()).unwrap().expect("something has changed");
            let losses = (view.losses)();
            let of = &losses["app"];
            assert_eq!((of.rings, of.lost[&Reason::LAPPED], of.refused[&Reason::SIGNAL_HANDLER]), (1, 3, 2));
        }
        let ledger = Reader::open(dir.path()).unwrap().snapshot().ledger().clone();
        assert_eq!((ledger.open_rings().count(), ledger.applications().count()), (0, 1));
    }

    #[test]
    fn a_view_has_the_names_of_its_store_however_they_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path()).unwrap();
        let mut feed = StoreFeed::new(dir.path().to_owned());
        let now = Timestamp::from_secs(1_710_460_800).unwrap();
        let mut look = |expected: &[&str]| {
            let view = feed.refresh(&mut Vec::new()).unwrap().expect("something has changed");
            let names: Vec<&str> = view.catalogue.names().iter().map(SeriesName::as_str).collect();
            assert_eq!(names, expected);
            let stored: Vec<SeriesName> = Reader::open(dir.path()).unwrap().snapshot().series().collect();
            assert_eq!(view.catalogue.names(), stored);
            let found = dotter_query::series(&*view.source, &Pattern::new("*").unwrap(), &Budget::start());
            assert_eq!(found.unwrap(), stored);
        };
        let mut commit = |numbers: &[&str], texts: &[&str]| {
            let mut dots = Dots::default();
            for text in numbers {
                let key = writer.series(&SeriesName::new(text).unwrap(), &Shape::number());
                dots.push_number(key, true, now, 1.0);
            }
            for text in texts {
                let shape = Shape::from(Format::new("s").unwrap());
                let key = writer.series(&SeriesName::new(text).unwrap(), &shape);
                let mut row = Vec::new();
                put_row([Value::Text("x")], &mut row);
                dots.push(key, true, now, Cell::Row(&row));
            }
            writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
            writer.sync().unwrap();
        };
        commit(&["c"], &[]);
        look(&["c"]);
        commit(&["e", "c", "d", "e"], &[]);
        look(&["c", "d", "e"]);
        commit(&["f"], &["a"]);
        look(&["a", "c", "d", "e", "f"]);
        dotter_store::add(dir.path(), vec![(SeriesName::new("b").unwrap(), now, 1.0)]).unwrap();
        commit(&["g"], &[]);
        look(&["a", "b", "c", "d", "e", "f", "g"]);
        let pattern = dotter_store::Pattern::new("b");
        let deletion =
            dotter_store::Deletion { pattern, first_key: None, last_key: None, range: TimeRange::ALL };
        dotter_store::delete(dir.path(), &deletion).unwrap();
        // As many as before.
        commit(&["h"], &[]);
        look(&["a", "c", "d", "e", "f", "g", "h"]);
    }

    #[test]
    fn a_directory_without_a_store_is_an_error_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut feed = StoreFeed::new(dir.path().join("later"));
        for _ in 0..2 {
            assert!(feed.refresh(&mut Vec::new()).is_err());
        }
    }
}
