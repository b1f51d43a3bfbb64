//! What one request may cost.

use std::time::{Duration, Instant};

use crate::{Error, Report};

/// Limits of one request, checked inside the loops that could pass them.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Series a request may name or match.
    pub series_max: usize,
    /// Dots looked at, whether or not they come out: those of chunks that are decoded, replaced ones too. A chunk
    /// that need not be decoded and a step count as one.
    pub dots_max: u64,
    /// Points in the answer, nulls included.
    pub points_max: u64,
    /// Alternatives that the braces of one path node may stand for.
    pub alternatives_max: usize,
    /// When the request has taken too long.
    pub deadline: Instant,
    /// Dots read so far.
    pub dots: u64,
}

impl Budget {
    /// The defaults, with a deadline of five seconds from now.
    pub fn start() -> Budget {
        Budget {
            series_max: 5_000,
            dots_max: 2_000_000,
            points_max: 100_000,
            alternatives_max: crate::pattern::ALTERNATIVES_MAX,
            deadline: Instant::now() + Duration::from_secs(5),
            dots: 0,
        }
    }

    /// # Errors
    ///
    /// [`Error::OverBudget`] where `count` series are too many.
    pub fn series(&self, count: usize) -> Result<(), Error> {
        over("series", count as u64, self.series_max as u64)
    }

    /// # Errors
    ///
    /// [`Error::OverBudget`] where `count` points are too many to answer with.
    pub fn points(&self, count: u64) -> Result<(), Error> {
        over("points in the answer", count, self.points_max)
    }

    /// Adds stretches that need not be read, each as one dot.
    ///
    /// # Errors
    ///
    /// [`Error::OverBudget`] where the dots are now too many.
    pub(crate) fn add_dots(&mut self, count: u64) -> Result<(), Error> {
        self.dots = self.dots.saturating_add(count);
        over("dots read", self.dots, self.dots_max)
    }

    /// Whether so many dots more may be looked at, now.
    ///
    /// # Errors
    ///
    /// [`Error::OverBudget`] where they are too many, [`Error::OutOfTime`] past the deadline.
    pub fn allows(&self, dots: u64) -> Result<(), Error> {
        over("dots read", self.dots.saturating_add(dots), self.dots_max)?;
        self.time()
    }

    /// Adds what a fetch has looked at.
    ///
    /// # Errors
    ///
    /// Why something is missing, where it is.
    pub fn settle(&mut self, report: Report) -> Result<(), Error> {
        self.dots = self.dots.saturating_add(report.looked_at);
        report.missing.map_or(Ok(()), |missing| Err(missing.why))
    }

    /// # Errors
    ///
    /// [`Error::OutOfTime`] past the deadline.
    pub fn time(&self) -> Result<(), Error> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(Error::OutOfTime) }
    }
}

fn over(what: &'static str, found: u64, limit: u64) -> Result<(), Error> {
    if found <= limit { Ok(()) } else { Err(Error::OverBudget { what, found, limit }) }
}
