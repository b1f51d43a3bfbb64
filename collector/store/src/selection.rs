//! Which rows a command is about.

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Deletion, Pattern, Snapshot};

use crate::args::Chosen;

impl Chosen {
    /// The series that are chosen, in order.
    pub(crate) fn series(&self, snapshot: &Snapshot) -> Vec<SeriesName> {
        let mut series = snapshot.matching(&self.pattern());
        series.retain(|name| self.has_key(name.as_str()));
        series
    }

    /// Whether a series is chosen.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.pattern().matches(name) && self.has_key(name)
    }

    /// The times that are chosen.
    pub(crate) fn range(&self) -> TimeRange {
        TimeRange::new(self.after.unwrap_or(Timestamp::MIN), self.before.unwrap_or(Timestamp::MAX))
    }

    /// The same as what is to be deleted.
    pub(crate) fn deletion(&self) -> Deletion {
        Deletion {
            pattern: self.pattern(),
            first_key: self.first_key.clone(),
            last_key: self.last_key.clone(),
            range: self.range(),
        }
    }

    fn pattern(&self) -> Pattern {
        Pattern::new(self.pattern.as_deref().unwrap_or("%"))
    }

    fn has_key(&self, name: &str) -> bool {
        self.first_key.as_deref().is_none_or(|first| name >= first)
            && self.last_key.as_deref().is_none_or(|last| name <= last)
    }
}
