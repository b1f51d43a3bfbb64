//! What the displayer reads: the store's directory, or in tests series in memory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::{Reason, SeriesName, TimeRange, Timestamp};
use dotter_query::{Dot, Rollup, Stretch};

/// What went wrong inside a feed.
pub type FeedError = Box<dyn std::error::Error + Send + Sync>;

/// Something that changes and can be looked at.
pub trait Feed: Send {
    /// Looks for changes. What was committed since the last look is appended to `news`, in commit order; where
    /// something changed, or at the first look, the view to read from now on is returned.
    ///
    /// # Errors
    ///
    /// Where there is nothing to read yet, or it cannot be read. The next call tries again.
    fn refresh(&mut self, news: &mut Vec<News>) -> Result<Option<Arc<dyn View>>, FeedError>;
}

/// One commit.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Its position: later commits have greater ones.
    pub sequence: u64,
    /// Dots, in the order they were committed.
    pub dots: Vec<(SeriesName, Timestamp, f64)>,
    /// Losses it counted.
    pub losses: Vec<LossNews>,
}

/// A loss that was counted just now.
#[derive(Clone, Debug)]
pub struct LossNews {
    /// Whose dots.
    pub application: String,
    /// How many.
    pub lost: u64,
    /// Why.
    pub reason: Reason,
    /// When they would have been, where that is known.
    pub times: Option<TimeRange>,
}

/// Everything there is, at one moment.
pub trait View: Send + Sync {
    /// Every name, sorted by bytes.
    fn names(&self) -> Vec<SeriesName>;

    /// How many names there are.
    fn name_count(&self) -> usize;

    /// Changes when the feed had to begin anew: news before it may be missing.
    fn epoch(&self) -> u64;

    /// Changes whenever names may have gone or come without being in the news.
    fn generation(&self) -> u64;

    /// The last commit this holds.
    fn sequence(&self) -> u64;

    /// As [`dotter_query::Source::fetch`].
    ///
    /// # Errors
    ///
    /// Where the dots cannot be read.
    fn fetch(
        &self,
        name: &str,
        range: TimeRange,
        visit: &mut dyn FnMut(&[Dot], u64) -> ControlFlow<()>,
    ) -> Result<(), FeedError>;

    /// As [`dotter_query::Source::stretches`].
    ///
    /// # Errors
    ///
    /// Where the index cannot be read.
    fn stretches(&self, _name: &str, _range: TimeRange) -> Result<Option<Vec<Stretch>>, FeedError> {
        Ok(None)
    }

    /// As [`dotter_query::Source::rollups`].
    ///
    /// # Errors
    ///
    /// Where the archives cannot be read.
    fn rollups(&self, _name: &str, _range: TimeRange, _step: Duration) -> Result<Vec<Rollup>, FeedError> {
        Ok(Vec::new())
    }

    /// The newest dots, oldest first, at most `count`.
    ///
    /// # Errors
    ///
    /// Where the dots cannot be read.
    fn newest(&self, name: &str, count: usize) -> Result<Vec<Dot>, FeedError>;

    /// The first and the last moment of a series.
    fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)>;

    /// What became of every application's dots, by application.
    fn losses(&self) -> BTreeMap<String, ApplicationLosses>;
}

/// What became of one application's dots, over all its rings.
#[derive(Clone, Debug, Default)]
pub struct ApplicationLosses {
    /// Rings it has had.
    pub rings: u64,
    /// Dots stored.
    pub stored: u64,
    /// Dots lost, by reason.
    pub lost: BTreeMap<Reason, u64>,
    /// Dots refused, by reason, in the ring and by the collector.
    pub refused: BTreeMap<Reason, u64>,
    /// Losses whose times are known.
    pub spans: Vec<LossSpan>,
}

/// Dots lost over a span of time.
#[derive(Clone, Copy, Debug)]
pub struct LossSpan {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub lost: u64,
    /// When they would have been.
    pub times: TimeRange,
}
