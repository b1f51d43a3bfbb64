//! A walk over the series of several segments at once, in the order of their names.

use std::sync::Arc;

use dotter_dot::SeriesName;

use crate::error::Error;
use crate::read::segment::{Segment, SegmentSeries};

/// One walk for each segment. All stand at a series that is not before [`Walks::name`].
pub(crate) struct Walks<'a> {
    series: Vec<SegmentSeries<'a>>,
    names: Vec<Option<SeriesName>>,
}

impl<'a> Walks<'a> {
    pub(crate) fn new(segments: &'a [Arc<Segment>]) -> Result<Walks<'a>, Error> {
        let mut series: Vec<_> = segments.iter().map(|segment| segment.series("")).collect();
        let names = series.iter_mut().map(step).collect::<Result<_, _>>()?;
        Ok(Walks { series, names })
    }

    /// The next name that any segment has; `None` behind the last.
    pub(crate) fn name(&self) -> Option<SeriesName> {
        self.names.iter().flatten().min().cloned()
    }

    /// The series of a name in a segment, if the segment has it.
    ///
    /// - `name`: what [`Self::name`] gave
    pub(crate) fn at(&self, segment: usize, name: &SeriesName) -> Option<&SegmentSeries<'a>> {
        (self.names[segment].as_ref() == Some(name)).then(|| &self.series[segment])
    }

    /// Goes on behind a name.
    ///
    /// - `name`: what [`Self::name`] gave
    pub(crate) fn pass(&mut self, name: &SeriesName) -> Result<(), Error> {
        for (series, next) in self.series.iter_mut().zip(&mut self.names) {
            if next.as_ref() == Some(name) {
                *next = step(series)?;
            }
        }
        Ok(())
    }
}

fn step(series: &mut SegmentSeries<'_>) -> Result<Option<SeriesName>, Error> {
    series.next().map(|step| step.and_then(|()| series.name())).transpose()
}
