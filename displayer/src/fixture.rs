//! For tests: a feed in memory that the test writes into.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_query::{
    Budget, Catalogue, Dot, Error, Known, Node, Pattern, Piece, Report, Sink, Source, SourceError, Stretch,
    Want, What,
};

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

/// The series at one moment.
struct Frozen {
    series: BTreeMap<SeriesName, Vec<Dot>>,
    catalogue: Catalogue,
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
    fn refresh(&mut self, news: &mut Vec<News>) -> Result<Option<View>, FeedError> {
        let mut inner = self.inner.lock().unwrap();
        if !inner.open {
            return Err("no store here".into());
        }
        news.append(&mut inner.news);
        if !std::mem::take(&mut inner.changed) {
            return Ok(None);
        }
        let Inner { epoch, sequence, .. } = *inner;
        let (series, losses) = (inner.series.clone(), inner.losses.clone());
        let catalogue = Catalogue::new(series.keys().cloned().collect());
        Ok(Some(View {
            source: Arc::new(Frozen { series, catalogue: catalogue.clone() }),
            catalogue,
            epoch,
            generation: 1,
            sequence,
            losses: Arc::new(move || losses.clone()),
        }))
    }
}

impl Frozen {
    fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)> {
        let dots = self.series.get(name)?;
        Some((dots.first()?.time, dots.last()?.time))
    }
}

impl Source for Frozen {
    fn find(
        &self,
        pattern: &Pattern,
        live: Option<TimeRange>,
        budget: &Budget,
        visit: &mut dyn FnMut(Node) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let shows = |name: &SeriesName| {
            let span = self.span(name.as_str());
            live.is_none_or(|range| span.is_some_and(|(first, last)| range.meets(first, last)))
        };
        self.catalogue.find(pattern, budget, &shows, visit)
    }

    fn known(&self, names: &[&str]) -> Result<Vec<Known>, SourceError> {
        Ok(names.iter().map(|name| Known { span: self.span(name), ..Known::default() }).collect())
    }

    fn fetch(&self, wants: &[Want<'_>], mut sink: Sink<'_>) -> Result<Report, SourceError> {
        for (index, want) in wants.iter().enumerate() {
            let dots = self.series.get(want.name).map_or(&[][..], |dots| dots);
            match want.what {
                What::Dots(range) => {
                    let dots: Vec<Dot> =
                        dots.iter().copied().filter(|dot| range.contains(dot.time)).collect();
                    if sink.look_at(index, dots.len() as u64).is_break() {
                        break;
                    }
                    sink.put(index, Piece::Dots(&dots));
                }
                What::Stretches(range) => {
                    let unread = Stretch { range, dots: dots.len() as u64, numbers: None };
                    sink.put(index, Piece::Stretches(&[unread]));
                }
                // Nothing expires here.
                What::Steps(..) => {}
                What::Newest(count) => {
                    sink.put(index, Piece::Dots(&dots[dots.len().saturating_sub(count)..]))
                }
            }
        }
        Ok(sink.report())
    }
}
