//! Where the query gets series from.

use std::error::Error;
use std::ops::ControlFlow;

use dotter_dot::{SeriesName, TimeRange, Timestamp};

use crate::{Budget, Catalogue};

/// A number at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    /// When.
    pub time: Timestamp,
    /// What.
    pub value: f64,
}

/// What went wrong inside a source.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Named series of raw dots, as they are at one moment.
pub trait Source {
    /// Every name there is.
    fn catalogue(&self) -> &Catalogue;

    /// Hands the dots inside `range` to `visit`, oldest first, in pieces of any length; nothing for a series
    /// that is not there. Ends early where `visit` breaks.
    ///
    /// # Errors
    ///
    /// Where the dots cannot be read.
    fn fetch(
        &self,
        name: &str,
        range: TimeRange,
        visit: &mut dyn FnMut(&[Dot]) -> ControlFlow<()>,
    ) -> Result<(), SourceError>;

    /// The newest dots, oldest first, at most `count`.
    ///
    /// # Errors
    ///
    /// Where the dots cannot be read.
    fn newest(&self, name: &str, count: usize) -> Result<Vec<Dot>, SourceError>;

    /// The first and the last moment of a series; `None` where it has no dots.
    fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)>;
}

/// Fetches under a budget: every dot is counted, and the clock is looked at between pieces.
pub(crate) fn fetch_within(
    source: &dyn Source,
    name: &SeriesName,
    range: TimeRange,
    budget: &mut Budget,
    mut visit: impl FnMut(&[Dot]),
) -> Result<(), crate::Error> {
    let mut over = Ok(());
    source.fetch(name.as_str(), range, &mut |dots| {
        over = budget.add_dots(dots.len()).and_then(|()| budget.time());
        if over.is_err() {
            return ControlFlow::Break(());
        }
        visit(dots);
        ControlFlow::Continue(())
    })?;
    over
}
