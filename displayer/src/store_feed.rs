//! The store's directory as a feed: opened read-only and followed; nothing is asked of anyone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_query::{Dot, Method, Numbers, Rollup, Stretch};
use dotter_store::{Aggregation, Reader, Rules, Snapshot, WatchedRules};

use crate::feed::{ApplicationLosses, Feed, FeedError, LossNews, LossSpan, News, View};
use crate::pieces::{pieces, stretches};

/// How often the files of the retention rules are looked at.
const RULES_INTERVAL: Duration = Duration::from_secs(1);

/// A store directory, which may not be there yet.
pub struct StoreFeed {
    dir: PathBuf,
    reader: Option<Reader>,
    /// How often the thread of the log was lost: by opening, or by falling too far behind.
    epoch: u64,
    /// The reader's own count of the latter.
    lost: u64,
    /// They say how one number is made of a step of an archive. What cannot be read of them is left out; the collector
    /// names it.
    rules: WatchedRules,
    /// When they were looked at; `None` before the first time.
    looked: Option<Instant>,
}

impl StoreFeed {
    /// Opens nothing yet.
    pub fn new(dir: PathBuf) -> StoreFeed {
        let rules = WatchedRules::new(&dir);
        StoreFeed { dir, reader: None, epoch: 0, lost: 0, rules, looked: None }
    }

    /// Whether the rules have changed.
    fn look_at_rules(&mut self) -> bool {
        if self.looked.is_some_and(|looked| looked.elapsed() < RULES_INTERVAL) {
            return false;
        }
        self.looked = Some(Instant::now());
        self.rules.look()
    }
}

impl Feed for StoreFeed {
    fn refresh(&mut self, news: &mut Vec<News>) -> Result<Option<Arc<dyn View>>, FeedError> {
        let opened = self.reader.is_none();
        // Taken out while it is used: after an error it is opened anew at the next look.
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.dir)?,
        };
        let mut committed = Vec::new();
        let changed = reader.refresh(Some(&mut committed))? | self.look_at_rules();
        let snapshot = reader.snapshot();
        self.reader = Some(reader);
        if opened || snapshot.epoch() != self.lost {
            self.epoch += 1;
            self.lost = snapshot.epoch();
        }
        news.extend(committed.into_iter().map(told));
        let epoch = self.epoch;
        let rules = self.rules.rules().clone();
        Ok((changed || opened).then(|| Arc::new(StoreView { snapshot, epoch, rules }) as Arc<dyn View>))
    }
}

fn told(news: dotter_store::News) -> News {
    let losses = news.losses.into_iter().map(|loss| LossNews {
        application: loss.application,
        lost: loss.lost,
        reason: loss.reason,
        times: loss.times,
    });
    News { sequence: news.sequence, losses: losses.collect(), dots: news.dots }
}

struct StoreView {
    snapshot: Snapshot,
    epoch: u64,
    rules: Arc<Rules>,
}

impl View for StoreView {
    fn names(&self) -> Vec<SeriesName> {
        self.snapshot.series().collect()
    }

    fn name_count(&self) -> usize {
        self.snapshot.series().len()
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn generation(&self) -> u64 {
        self.snapshot.generation()
    }

    fn sequence(&self) -> u64 {
        self.snapshot.sequence()
    }

    fn fetch(
        &self,
        name: &str,
        range: TimeRange,
        visit: &mut dyn FnMut(&[Dot], u64) -> ControlFlow<()>,
    ) -> Result<(), FeedError> {
        let mut scan = self.snapshot.scan();
        let (mut found, mut dots) = (Vec::new(), Vec::new());
        for (piece, looked_at) in pieces(range, &self.snapshot.chunks(name, range)?) {
            found.clear();
            scan.read(name, piece, &mut found)?;
            dots.clear();
            dots.extend(found.iter().map(dot));
            if visit(&dots, looked_at.max(dots.len() as u64)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn stretches(&self, name: &str, range: TimeRange) -> Result<Option<Vec<Stretch>>, FeedError> {
        Ok(Some(stretches(range, &self.snapshot.chunks(name, range)?)))
    }

    fn rollups(&self, name: &str, range: TimeRange, step: Duration) -> Result<Vec<Rollup>, FeedError> {
        let one = self.rules.one_number(name);
        let rollup = |rollup: dotter_store::Rollup| {
            let method = one.of(&rollup).map(method);
            let dotter_store::Rollup { time, min, max, sum, count, last, steps, .. } = rollup;
            Rollup { time, numbers: Numbers { count, min, max, sum }, last, steps, method }
        };
        Ok(self.snapshot.rollups(name, range, step)?.into_iter().map(rollup).collect())
    }

    fn newest(&self, name: &str, count: usize) -> Result<Vec<Dot>, FeedError> {
        Ok(self.snapshot.last(name, count)?.iter().map(dot).collect())
    }

    fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)> {
        self.snapshot.span(name)
    }

    fn losses(&self) -> BTreeMap<String, ApplicationLosses> {
        let mut applications: BTreeMap<String, ApplicationLosses> = BTreeMap::new();
        for (_, account) in self.snapshot.ledger().iter() {
            let losses = applications.entry(account.application.clone()).or_default();
            losses.rings += 1;
            losses.stored += account.stored();
            for (reason, tally) in &account.lost {
                *losses.lost.entry(*reason).or_default() += tally.count;
                let spans = tally.spans.iter();
                losses.spans.extend(spans.map(|(times, lost)| LossSpan {
                    reason: *reason,
                    lost: *lost,
                    times: *times,
                }));
            }
            for (reason, count) in account.refused.iter().chain(&account.refused_in_ring) {
                *losses.refused.entry(*reason).or_default() += count;
            }
        }
        for (name, of) in self.snapshot.ledger().applications() {
            let losses = applications.entry(name.to_owned()).or_default();
            losses.rings += of.rings;
            losses.stored += of.stored;
            for (reason, count) in &of.lost {
                *losses.lost.entry(*reason).or_default() += count;
            }
            for (reason, count) in of.refused.iter().chain(&of.refused_in_ring) {
                *losses.refused.entry(*reason).or_default() += count;
            }
        }
        applications
    }
}

fn method(aggregation: Aggregation) -> Method {
    match aggregation {
        Aggregation::Average => Method::Average,
        Aggregation::Min => Method::Min,
        Aggregation::Max => Method::Max,
        Aggregation::Sum => Method::Sum,
        Aggregation::Last => Method::Last,
        Aggregation::Count => Method::Count,
    }
}

fn dot(dot: &dotter_store::Dot) -> Dot {
    Dot { time: dot.time, value: dot.value }
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Incarnation, Reason};
    use dotter_store::{LaneRecords, Lost, Machine, RingPart, Transaction, Writer};

    use super::*;

    #[test]
    fn what_was_lost_is_told_however_long_ago() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path()).unwrap();
        let incarnation = Incarnation([4; 16]);
        let now = Timestamp::from_nanos(5);
        let refusals = [(Reason::SIGNAL_HANDLER, 2)];
        let ring = RingPart { incarnation, application: "app", refusals: &refusals, now };
        let lost = Lost { first: 0, next: 3, reason: Reason::LAPPED, times: None };
        let lanes = [LaneRecords { lane: 0, first: 0, next: 3, losses: vec![lost], refused: vec![] }];
        let dots = dotter_store::Dots::default();
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
            let losses = view.losses();
            let of = &losses["app"];
            assert_eq!((of.rings, of.lost[&Reason::LAPPED], of.refused[&Reason::SIGNAL_HANDLER]), (1, 3, 2));
        }
        let ledger = Reader::open(dir.path()).unwrap().snapshot().ledger().clone();
        assert_eq!((ledger.iter().count(), ledger.applications().count()), (0, 1));
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
