//! For tests: a feed in memory that the test writes into.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_query::Dot;

use crate::feed::{ApplicationLosses, Feed, FeedError, News, View};

/// Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    open: bool,
    epoch: u64,
    sequence: u64,
    series: BTreeMap<SeriesName, Vec<Dot>>,
    losses: BTreeMap<String, ApplicationLosses>,
    news: Vec<News>,
    changed: bool,
}

struct Frozen {
    epoch: u64,
    sequence: u64,
    series: BTreeMap<SeriesName, Vec<Dot>>,
    losses: BTreeMap<String, ApplicationLosses>,
}

impl Memory {
    /// One that is there from the start.
    pub(crate) fn open() -> Memory {
        let memory = Memory::default();
        memory.appear();
        memory
    }

    /// From now on there is something to read.
    pub(crate) fn appear(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.open = true;
        inner.changed = true;
    }

    /// Begins anew: what was committed and not yet told is never told.
    pub(crate) fn reopen(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.epoch += 1;
        inner.news.clear();
        inner.changed = true;
    }

    /// Commits dots; times in seconds.
    pub(crate) fn commit(&self, dots: &[(&str, f64, f64)]) {
        let mut inner = self.inner.lock().unwrap();
        inner.sequence += 1;
        inner.changed = true;
        let mut news = News { sequence: inner.sequence, ..News::default() };
        for (name, seconds, value) in dots {
            let name = SeriesName::new(name).unwrap();
            let time = Timestamp::from_nanos((seconds * 1e9).round() as u64);
            let dots = inner.series.entry(name.clone()).or_default();
            dots.push(Dot { time, value: *value });
            dots.sort_by_key(|dot| dot.time);
            news.dots.push((name, time, *value));
        }
        inner.news.push(news);
    }

    pub(crate) fn lose(&self, application: &str, losses: ApplicationLosses) {
        let mut inner = self.inner.lock().unwrap();
        inner.losses.insert(application.to_owned(), losses);
        inner.changed = true;
    }
}

impl Feed for Memory {
    fn refresh(&mut self, news: &mut Vec<News>) -> Result<Option<Arc<dyn View>>, FeedError> {
        let mut inner = self.inner.lock().unwrap();
        if !inner.open {
            return Err("no store here".into());
        }
        news.append(&mut inner.news);
        if !std::mem::take(&mut inner.changed) {
            return Ok(None);
        }
        let Inner { epoch, sequence, series, losses, .. } = &*inner;
        Ok(Some(Arc::new(Frozen {
            epoch: *epoch,
            sequence: *sequence,
            series: series.clone(),
            losses: losses.clone(),
        })))
    }
}

impl View for Frozen {
    fn names(&self) -> Vec<SeriesName> {
        self.series.keys().cloned().collect()
    }

    fn name_count(&self) -> usize {
        self.series.len()
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn generation(&self) -> u64 {
        1
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn fetch(
        &self,
        name: &str,
        range: TimeRange,
        visit: &mut dyn FnMut(&[Dot], u64) -> ControlFlow<()>,
    ) -> Result<(), FeedError> {
        let dots = self.series.get(name).map_or(&[][..], |dots| dots);
        let dots: Vec<Dot> = dots.iter().copied().filter(|dot| range.contains(dot.time)).collect();
        let _ = visit(&dots, dots.len() as u64);
        Ok(())
    }

    fn newest(&self, name: &str, count: usize) -> Result<Vec<Dot>, FeedError> {
        let dots = self.series.get(name).map_or(&[][..], |dots| dots);
        Ok(dots[dots.len().saturating_sub(count)..].to_vec())
    }

    fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)> {
        let dots = self.series.get(name)?;
        Some((dots.first()?.time, dots.last()?.time))
    }

    fn losses(&self) -> BTreeMap<String, ApplicationLosses> {
        self.losses.clone()
    }
}
