//! The last commits, kept so that a viewer who comes back misses none of them.
//!
//! Bounded in dots; of what was dropped only the position and the earliest moment are remembered, so that a
//! viewer who stayed away too long can be told from when on to ask again.

use std::collections::VecDeque;
use std::sync::Arc;

use dotter_dot::Timestamp;

use crate::feed::News;

/// What is kept at most; a commit counts as a few dots even where it has none.
const DOTS_MAX: usize = 250_000;
const COMMIT_DOTS: usize = 4;
/// Dropped commits remembered.
const DROPPED_MAX: usize = 10_000;

/// Where a viewer continues.
#[derive(Clone, Debug)]
pub(crate) enum Resume {
    /// Everything since then, oldest first.
    Kept(Vec<Arc<News>>),
    /// Some of it is gone; the earliest moment it spoke of, where that is known.
    Gone(Option<Timestamp>),
}

/// The last commits.
#[derive(Debug)]
pub(crate) struct Recent {
    kept: VecDeque<Arc<News>>,
    dots: usize,
    dots_max: usize,
    dropped: VecDeque<(u64, Timestamp)>,
    /// Everything after this position is kept or remembered as dropped; what came before is not known.
    known_from: Option<u64>,
    last: u64,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent::with_dots_max(DOTS_MAX)
    }
}

impl Recent {
    fn with_dots_max(dots_max: usize) -> Recent {
        Recent {
            kept: VecDeque::new(),
            dots: 0,
            dots_max,
            dropped: VecDeque::new(),
            known_from: None,
            last: 0,
        }
    }

    /// Begins anew at a position: a store was opened, or another took its place.
    pub(crate) fn restart(&mut self, sequence: u64) {
        *self = Recent::with_dots_max(self.dots_max);
        self.known_from = Some(sequence);
        self.last = sequence;
    }

    /// Adds a commit.
    pub(crate) fn add(&mut self, news: Arc<News>) {
        self.dots += news.dots.len() + COMMIT_DOTS;
        self.last = self.last.max(news.sequence);
        self.kept.push_back(news);
        while self.dots > self.dots_max && self.kept.len() > 1 {
            let Some(gone) = self.kept.pop_front() else { break };
            self.dots -= gone.dots.len() + COMMIT_DOTS;
            let earliest = gone.dots.iter().map(|(_, time, _)| *time).min().unwrap_or(Timestamp::MAX);
            self.dropped.push_back((gone.sequence, earliest));
            if self.dropped.len() > DROPPED_MAX {
                self.known_from = self.dropped.pop_front().map(|(sequence, _)| sequence);
            }
        }
    }

    /// The last position.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// What came after `sequence`.
    pub(crate) fn since(&self, sequence: u64) -> Resume {
        if sequence > self.last || self.known_from.is_none_or(|from| sequence < from) {
            return Resume::Gone(None);
        }
        let gone = self.dropped.iter().filter(|(dropped, _)| *dropped > sequence);
        if let Some(earliest) = gone.map(|(_, earliest)| *earliest).min() {
            return Resume::Gone((earliest < Timestamp::MAX).then_some(earliest));
        }
        Resume::Kept(self.kept.iter().filter(|news| news.sequence > sequence).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dotter_dot::SeriesName;

    fn news(sequence: u64, seconds: u64, dots: usize) -> Arc<News> {
        let name = SeriesName::new("a").unwrap();
        let time = Timestamp::from_secs(seconds).unwrap();
        let dots = (0..dots).map(|n| (name.clone(), time, n as f64)).collect();
        Arc::new(News { sequence, dots, losses: Vec::new() })
    }

    fn kept(recent: &Recent, sequence: u64) -> Option<Vec<u64>> {
        match recent.since(sequence) {
            Resume::Kept(news) => Some(news.iter().map(|news| news.sequence).collect()),
            Resume::Gone(_) => None,
        }
    }

    #[test]
    fn who_comes_back_in_time_misses_nothing() {
        let mut recent = Recent::default();
        recent.restart(10);
        recent.add(news(11, 1, 2));
        recent.add(news(14, 2, 2));
        assert_eq!(kept(&recent, 10), Some(vec![11, 14]));
        assert_eq!(kept(&recent, 11), Some(vec![14]));
        assert_eq!(kept(&recent, 13), Some(vec![14]));
        assert_eq!(kept(&recent, 14), Some(vec![]));
        assert_eq!(recent.last(), 14);
    }

    #[test]
    fn who_comes_back_late_is_told_from_when_on_to_ask_again() {
        let mut recent = Recent::with_dots_max(3 * (10 + COMMIT_DOTS));
        recent.restart(0);
        for n in 1..=6 {
            recent.add(news(n, 100 - n, 10));
        }
        let gone = |sequence| match recent.since(sequence) {
            Resume::Gone(earliest) => earliest.map(|time| time.seconds_text()),
            Resume::Kept(_) => panic!("{sequence} is kept"),
        };
        assert_eq!(gone(0).as_deref(), Some("97"));
        assert_eq!(gone(2).as_deref(), Some("97"));
        assert_eq!(kept(&recent, 3), Some(vec![4, 5, 6]));
    }

    #[test]
    fn positions_from_before_or_from_another_store_are_gone() {
        let mut recent = Recent::default();
        assert!(matches!(recent.since(0), Resume::Gone(None)));
        recent.restart(10);
        assert!(matches!(recent.since(9), Resume::Gone(None)));
        assert!(matches!(recent.since(11), Resume::Gone(None)));
        assert_eq!(kept(&recent, 10), Some(vec![]));
    }

    #[test]
    fn one_commit_larger_than_all_is_still_kept_until_the_next() {
        let mut recent = Recent::with_dots_max(5);
        recent.restart(0);
        recent.add(news(1, 1, 100));
        assert_eq!(kept(&recent, 0), Some(vec![1]));
        recent.add(news(2, 2, 100));
        assert_eq!(kept(&recent, 0), None);
        assert_eq!(kept(&recent, 1), Some(vec![2]));
    }
}
