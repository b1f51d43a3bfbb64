//! What the displayer follows: the store's directory, or in tests series in memory.
//!
//! A [`Feed`] tells what is new. What there is, its [`View`] gives to queries as a [`Source`].

use std::collections::BTreeMap;
use std::sync::Arc;

use dotter_dot::{Reason, SeriesName, TimeRange, Timestamp};
use dotter_query::{Catalogue, Source};

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
    fn refresh(&mut self, news: &mut Vec<News>) -> Result<Option<View>, FeedError>;
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
#[derive(Clone)]
pub struct View {
    /// The series, as queries ask for them.
    pub source: Arc<dyn Source>,
    /// Their names.
    pub catalogue: Catalogue,
    /// Changes when the feed had to begin anew: news before it may be missing.
    pub epoch: u64,
    /// Changes whenever names may have gone or come without being in the news.
    pub generation: u64,
    /// The last commit this holds.
    pub sequence: u64,
    /// Adds up what became of every application's dots, by application.
    pub losses: Arc<dyn Fn() -> BTreeMap<String, ApplicationLosses> + Send + Sync>,
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
