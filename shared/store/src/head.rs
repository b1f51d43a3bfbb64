//! The part of the log that no segment holds yet, as a reader sees it: dots by series.
//!
//! Parts are never changed once a snapshot has them; neighbours are merged into one as they come, so that there
//! are few of them however often a reader looks.

use std::collections::HashMap;
use std::sync::Arc;

use dotter_dot::SeriesName;

use crate::chunk::Columns;

/// Dots of consecutive frames of one WAL file.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadPart {
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) series: HashMap<SeriesName, HeadSeries>,
    pub(crate) dots: u64,
}

/// One series' dots in the order of their commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadSeries {
    pub(crate) explicit: Columns,
    pub(crate) clock: Columns,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl HeadSeries {
    fn is_empty(&self) -> bool {
        self.explicit.is_empty() && self.clock.is_empty()
    }

    pub(crate) fn len(&self) -> u64 {
        (self.explicit.len() + self.clock.len()) as u64
    }

    /// Dots by whether the clock stamped them.
    pub(crate) fn columns(&self, clock: bool) -> &Columns {
        if clock { &self.clock } else { &self.explicit }
    }

    pub(crate) fn extend(&mut self, times: &[u64], values: &[f64], clock: bool) {
        for time in times {
            (self.first, self.last) =
                if self.is_empty() { (*time, *time) } else { (self.first.min(*time), self.last.max(*time)) };
            let columns = if clock { &mut self.clock } else { &mut self.explicit };
            columns.times.push(*time);
        }
        let columns = if clock { &mut self.clock } else { &mut self.explicit };
        columns.values.extend_from_slice(values);
    }
}

impl HeadPart {
    /// Adds what was committed behind it.
    fn append(&mut self, later: &HeadPart) {
        self.last_sequence = later.last_sequence;
        self.dots += later.dots;
        for (name, theirs) in &later.series {
            let ours = match self.series.get_mut(name) {
                Some(ours) => ours,
                None => self.series.entry(name.clone()).or_default(),
            };
            for clock in [false, true] {
                let Columns { times, values } = theirs.columns(clock);
                ours.extend(times, values, clock);
            }
        }
    }
}

/// Adds a part behind the others; merges neighbours as long as the one behind is not much the smaller.
///
/// - `splits`: sequences of commits of other processes; what stands on both sides of one stays apart
pub(crate) fn push(parts: &mut Vec<Arc<HeadPart>>, part: HeadPart, splits: &[u64]) {
    parts.push(Arc::new(part));
    while let [.., before, last] = &parts[..] {
        let split = |commit: &u64| (before.last_sequence..last.first_sequence).contains(commit);
        if last.dots * 2 < before.dots || splits.iter().any(split) {
            return;
        }
        let last = parts.pop().expect("there are two");
        let before = parts.last_mut().expect("there are two");
        Arc::make_mut(before).append(&last);
    }
}
