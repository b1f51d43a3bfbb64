//! What a viewer missed who comes back: a quarter of a million dots at most.
//!
//! The live stream is held only to take hold of the commits, and again to join. In between they are compared with what
//! the viewer follows, and written, while others are served.

use std::collections::HashMap;
use std::slice;
use std::sync::Arc;

use dotter_dot::SeriesName;

use crate::events::{gap_event, group, object, write_series};
use crate::feed::News;
use crate::follows::{Interest, Places};
use crate::recent::Resume;

/// Comparisons that a viewer who comes back may take for what it missed; beyond, it is told of a gap.
pub(crate) const COMPARISONS_MAX: u64 = 500_000;

/// The commits that a viewer missed.
pub(crate) struct Missed {
    /// The position it asked to continue after.
    pub(crate) after: u64,
    pub(crate) resume: Resume,
    /// Everything up to this position is among them, or gone.
    pub(crate) until: u64,
}

/// One event for that viewer.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) sequence: u64,
    pub(crate) event: &'static str,
    pub(crate) data: String,
}

impl Missed {
    /// Where the viewer continues once it was told.
    pub(crate) fn continues_after(&self) -> u64 {
        match self.resume {
            // A position of another store means nothing here.
            Resume::Gone(_) => self.until,
            Resume::Kept(_) => self.until.max(self.after),
        }
    }

    /// The events of those who follow `interest`.
    pub(crate) fn write(&self, interest: &Interest, dots_max: Option<usize>) -> Vec<Told> {
        let mut known: HashMap<SeriesName, bool> = HashMap::new();
        let mut comparisons = 0;
        self.events(dots_max, |name| {
            if let Some(follows) = known.get(name) {
                return Some(*follows);
            }
            if comparisons >= COMPARISONS_MAX {
                return None;
            }
            comparisons += interest.comparisons() as u64;
            let follows = interest.includes(name);
            known.insert(name.clone(), follows);
            Some(follows)
        })
    }

    /// - `follows`: whether a name is followed; `None` where too much was compared to say so
    pub(crate) fn events(
        &self,
        dots_max: Option<usize>,
        mut follows: impl FnMut(&SeriesName) -> Option<bool>,
    ) -> Vec<Told> {
        let gap = |earliest| Told { sequence: self.until, event: "gap", data: gap_event(earliest) };
        let news: &[Arc<News>] = match &self.resume {
            Resume::Gone(earliest) => return vec![gap(*earliest)],
            Resume::Kept(news) => news,
        };
        let mut told = Vec::new();
        for (index, commit) in news.iter().enumerate() {
            let mut too_many = false;
            let grouped = group(slice::from_ref(commit), |name| {
                let mut places = Places::default();
                match follows(name) {
                    Some(true) => places.insert(0),
                    Some(false) => {}
                    None => too_many = true,
                }
                places
            });
            if too_many {
                let left = news[index..].iter().flat_map(|news| &news.dots);
                told.push(gap(left.map(|(_, time, _)| *time).min()));
                return told;
            }
            let write = |(name, _, dots): &(&SeriesName, Places, Vec<_>)| {
                Arc::new(write_series(name, dots, dots_max))
            };
            let parts: Vec<_> = grouped.iter().map(write).collect();
            if !parts.is_empty() {
                told.push(Told { sequence: commit.sequence, event: "dots", data: object(&parts) });
            }
        }
        told
    }
}
