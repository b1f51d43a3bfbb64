//! The archives of a rule in a row: dots at one end, the steps of the coarsest archive at the other.

use std::iter::Peekable;
use std::time::Duration;
use std::vec::IntoIter;

use crate::format::rules::{Aggregation, Slot};
use crate::format::step::{Counting, DotFold, DotIn, Step, StepFold};

/// One archive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level {
    /// Width of a step, in nanoseconds.
    pub(crate) step: u64,
    /// How values of the finer tier become that of a step.
    pub(crate) counting: Counting,
}

/// The archives of a rule, finest first.
///
/// - `interval`: width of a slot of the dots, where the rule says one
/// - `steps`: widths of the steps, finest first
pub(crate) fn levels(
    interval: Option<Duration>,
    steps: impl IntoIterator<Item = Duration>,
    aggregation: Aggregation,
    factor: f64,
) -> Vec<Level> {
    let nanos = |length: Duration| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    let mut finer = interval.map(nanos);
    let level = |step: Duration| {
        let step = nanos(step);
        let possible = match finer.replace(step) {
            None | Some(0) => 0,
            Some(finer) => (step / finer).max(1),
        };
        Level { step, counting: Counting::new(aggregation, factor, possible) }
    };
    steps.into_iter().map(level).collect()
}

/// Makes the steps of the coarsest level of dots and of the steps that are stored in any level. In memory are the
/// stored steps and those that are done, no dots.
///
/// Stored steps are from before: where the dots or finer steps make a step that is stored too, [`Step::combine`] has
/// the stored one first.
pub(crate) struct Chain {
    dots: DotFold,
    levels: Vec<Link>,
    done: Vec<Step>,
    replaced: u64,
}

struct Link {
    stored: Peekable<IntoIter<Step>>,
    /// Makes the next level's steps of this one's; none in the last.
    next: Option<StepFold>,
}

impl Chain {
    /// - `levels`: finest first; without any nothing is made
    /// - `interval`, `slot`: of the dots, as for [`DotFold::new`]
    /// - `stored`: of each level its steps, in the order of time, each time once; what is missing is empty
    pub(crate) fn new(levels: &[Level], interval: Option<u64>, slot: Slot, stored: Vec<Vec<Step>>) -> Chain {
        let first = levels.first().copied().unwrap_or(Level { step: 1, counting: Counting::default() });
        let mut stored = stored.into_iter();
        let link = |index: usize| Link {
            stored: stored.next().unwrap_or_default().into_iter().peekable(),
            next: levels.get(index + 1).map(|level| StepFold::new(level.step, level.counting)),
        };
        Chain {
            dots: DotFold::new(first.step, interval, slot, first.counting),
            levels: (0..levels.len()).map(link).collect(),
            done: Vec::new(),
            replaced: 0,
        }
    }

    /// Adds a dot; dots come in the order of time, as for [`DotFold::dot`].
    pub(crate) fn dot(&mut self, dot: DotIn) {
        if let Some(step) = self.dots.dot(dot) {
            self.folded(0, step);
        }
    }

    /// Adds a step of the first level that no dot adds to; such steps come in the order of time, each time once.
    pub(crate) fn finest(&mut self, step: Step) {
        self.folded(0, step);
    }

    /// Steps of the last level that are done, in the order of time; each is given once.
    #[cfg(test)]
    pub(crate) fn take_done(&mut self) -> impl Iterator<Item = Step> {
        self.done.drain(..)
    }

    /// The remaining steps of the last level, in the order of time, and how many dots were replaced since the
    /// beginning.
    pub(crate) fn end(mut self) -> (Vec<Step>, u64) {
        if let Some(step) = self.dots.end() {
            self.folded(0, step);
        }
        for level in 0..self.levels.len() {
            while let Some(step) = self.levels[level].stored.next() {
                self.pass(level, step);
            }
            if let Some(step) = self.levels[level].next.as_mut().and_then(StepFold::end) {
                self.folded(level + 1, step);
            }
        }
        (self.done, self.replaced)
    }

    /// A step of a level that dots or finer steps have made.
    fn folded(&mut self, level: usize, mut step: Step) {
        while let Some(stored) = self.stored_if(level, |time| time < step.time) {
            self.pass(level, stored);
        }
        if let Some(stored) = self.stored_if(level, |time| time == step.time) {
            let (both, replaced) = stored.combine(step);
            self.replaced = self.replaced.saturating_add(replaced);
            step = both;
        }
        self.pass(level, step);
    }

    /// The next stored step of a level, if its time is wanted.
    fn stored_if(&mut self, level: usize, is_wanted: impl Fn(u64) -> bool) -> Option<Step> {
        self.levels.get_mut(level)?.stored.next_if(|stored| is_wanted(stored.time))
    }

    /// A step of a level that is complete.
    fn pass(&mut self, level: usize, step: Step) {
        let Some(link) = self.levels.get_mut(level) else { return };
        match &mut link.next {
            None => self.done.push(step),
            Some(next) => {
                if let Some(coarse) = next.step(&step) {
                    self.folded(level + 1, coarse);
                }
            }
        }
    }
}
