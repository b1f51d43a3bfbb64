//! Where the query gets series from.

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Duration;

use dotter_dot::{TimeRange, Timestamp};

use crate::{Catalogue, Rollup, Stretch};

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
    /// that is not there. With each piece goes how many dots were looked at for it: no fewer than are in it, more
    /// where some were replaced, deleted or texts. Ends early where `visit` breaks.
    ///
    /// # Errors
    ///
    /// Where the dots cannot be read.
    fn fetch(
        &self,
        name: &str,
        range: TimeRange,
        visit: &mut dyn FnMut(&[Dot], u64) -> ControlFlow<()>,
    ) -> Result<(), SourceError>;

    /// What is known of the dots inside `range` without reading them, oldest first; no dot lies outside of all
    /// stretches. `None` where nothing is known.
    ///
    /// # Errors
    ///
    /// Where the source cannot be read.
    fn stretches(&self, _name: &str, _range: TimeRange) -> Result<Option<Vec<Stretch>>, SourceError> {
        Ok(None)
    }

    /// What the numbers of a series come to per step, for every step of `range` with any, oldest first; of expired
    /// dots as far as `step` is a multiple of what is kept of them.
    ///
    /// # Errors
    ///
    /// Where the source cannot be read.
    fn rollups(&self, _name: &str, _range: TimeRange, _step: Duration) -> Result<Vec<Rollup>, SourceError> {
        Ok(Vec::new())
    }

    /// The newest dots, oldest first, at most `count`.
    ///
    /// # Errors
    ///
    /// Where the dots cannot be read.
    fn newest(&self, name: &str, count: usize) -> Result<Vec<Dot>, SourceError>;

    /// The first and the last moment of a series; `None` where it has no dots.
    fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)>;
}
