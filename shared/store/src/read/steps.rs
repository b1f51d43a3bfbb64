//! Reading steps: those that segments have, put together with those of the dots that are still there.
//!
//! Always true: every dot is in one tier, as a dot or in one step. So what a series came to in a step is what its dots
//! and the steps of all tiers say together.

use std::ops::ControlFlow;
use std::time::Duration;

use dotter_dot::{TimeRange, Timestamp};

use crate::error::Error;
use crate::format::place::nanos;
use crate::format::rules::Rules;
use crate::format::step::{Chain, DotIn, Level, Rollup, Step, StepFold, levels};
use crate::read::scan::Scan;
use crate::read::segment::Segment;
use crate::read::snapshot::Snapshot;
use crate::read::step_walk::StepWalk;

/// Puts later steps together with earlier ones; both are in the order of time.
fn combined(earlier: Vec<Step>, later: Vec<Step>) -> (Vec<Step>, u64) {
    if earlier.last().is_none_or(|last| later.first().is_none_or(|first| last.time < first.time)) {
        return (earlier.into_iter().chain(later).collect(), 0);
    }
    let (mut both, mut replaced) = (Vec::with_capacity(earlier.len() + later.len()), 0_u64);
    let (mut earlier, mut later) = (earlier.into_iter().peekable(), later.into_iter().peekable());
    while let Some(first) = earlier.peek() {
        match later.peek() {
            Some(second) if second.time < first.time => both.extend(later.next()),
            Some(second) if second.time == first.time => {
                let (step, gone) = first.combine(*second);
                both.push(step);
                replaced = replaced.saturating_add(gone);
                earlier.next();
                later.next();
            }
            _ => both.extend(earlier.next()),
        }
    }
    both.extend(later);
    (both, replaced)
}

/// Hands the dots of a series on to `chain`, those that have a number.
pub(crate) fn feed(scan: &mut Scan, name: &str, range: TimeRange, chain: &mut Chain) -> Result<(), Error> {
    // Equal stamps are spread, and the last of them may get a time behind the range that the stamps are in.
    let last = range.until.nanos().saturating_sub(1);
    scan.rows(name, range, |row| {
        if let Some(number) = row.number() {
            let (time, is_clock) = (row.time().nanos().min(last), row.is_clock());
            chain.dot(DotIn { time, number, is_clock, weight: row.weight() });
        }
        ControlFlow::Continue(())
    })
}

/// How the dots of a series become steps of these widths, finest first.
pub(crate) fn chain(rules: &Rules, name: &str, steps: &[u64], stored: Vec<Vec<Step>>) -> Chain {
    let rule = rules.of(name);
    let interval = rule.and_then(|rule| rule.interval).map(nanos);
    let slot = rule.map_or_else(Default::default, |rule| rule.slot);
    Chain::new(&chain_levels(rules, name, steps), interval, slot, stored)
}

fn chain_levels(rules: &Rules, name: &str, steps: &[u64]) -> Vec<Level> {
    let (aggregation, factor) = rules.aggregation(name);
    let interval = rules.of(name).and_then(|rule| rule.interval);
    levels(interval, steps.iter().copied().map(Duration::from_nanos), aggregation, factor)
}

/// Steps of one width that a series has instead of dots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// Their width.
    pub step: Duration,
    /// From where the first of them begins to where the last of them ends.
    pub range: TimeRange,
}

impl Snapshot {
    /// The steps that segments have of a series: each width once, finest first. From the index alone, so steps that a
    /// delete hides may count where they stand between others.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::read`].
    pub fn stepped(&self, name: &str) -> Result<Vec<Stepped>, Error> {
        let mut stepped: Vec<Stepped> = Vec::new();
        for segment in self.inner.steps.iter() {
            let step = Duration::from_nanos(tier_step(segment));
            let hidden = segment.hidden(&self.inner.manifest.tombstones, name);
            let listed = segment.chunks(name, None, |chunk| {
                if hidden.covers(chunk.first.nanos(), chunk.last.nanos()) {
                    return;
                }
                let range = TimeRange::new(chunk.first, chunk.last.saturating_add(step));
                match stepped.iter_mut().find(|other| other.step == step) {
                    Some(Stepped { range: known, .. }) => {
                        *known = TimeRange::new(known.from.min(range.from), known.until.max(range.until));
                    }
                    None => stepped.push(Stepped { step, range }),
                }
            });
            self.inner.or_left_out(listed)?;
        }
        stepped.sort_unstable_by_key(|stepped| stepped.step);
        Ok(stepped)
    }

    /// What the numbers of a series came to in each step of `range` that has a finite number, oldest first.
    ///
    /// - `range`: rounded outwards to whole steps
    /// - `step`: at least a nanosecond; steps begin at its multiples since 1970
    ///
    /// A step is put together from the dots that are still there and from the steps of every tier of which `step` is a
    /// whole multiple. Its one number is made as the rule of the series says, tier by tier.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::read`].
    pub fn rollups(&self, name: &str, range: TimeRange, step: Duration) -> Result<Vec<Rollup>, Error> {
        let step = nanos(step).max(1);
        if range.is_empty() || !self.contains(name) {
            return Ok(Vec::new());
        }
        let from = range.from.nanos() / step * step;
        let until = range.until.nanos().checked_next_multiple_of(step).unwrap_or(u64::MAX);
        let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
        let rules = self.rules();
        let (steps, apart) = self.steps_in(name, step)?;
        let mut stored = Vec::with_capacity(steps.len());
        for step in &steps {
            stored.push(self.stored_steps(name, range, *step)?);
        }
        let levels = chain_levels(rules, name, &steps);
        for finer in apart {
            let Some(at) = steps.iter().position(|step| step.is_multiple_of(finer)) else { continue };
            let mut fold = StepFold::new(steps[at], levels[at].counting);
            let finer = self.stored_steps(name, range, finer)?;
            let mut coarse: Vec<Step> = finer.iter().filter_map(|finer| fold.step(finer)).collect();
            coarse.extend(fold.end());
            stored[at] = combined(std::mem::take(&mut stored[at]), coarse).0;
        }
        let mut chain = chain(rules, name, &steps, stored);
        feed(&mut self.scan(), name, range, &mut chain)?;
        let (folded, _) = chain.end();
        Ok(folded.iter().map(|folded| Rollup::of(folded, step)).collect())
    }

    /// The widths of steps that lead to `step`, each made from the one before; and those that segments have of the series
    /// of which `step` is a whole multiple too, but which are not in that row, since a rule was changed.
    fn steps_in(&self, name: &str, step: u64) -> Result<(Vec<u64>, Vec<u64>), Error> {
        let rule = self.rules().of(name);
        let archives = rule.into_iter().flat_map(|rule| &rule.archives).map(|archive| nanos(archive.step));
        let mut steps: Vec<u64> =
            archives.filter(|finer| *finer > 0 && step.is_multiple_of(*finer)).collect();
        if steps.last() != Some(&step) {
            steps.push(step);
        }
        // Steps that only other series have make no row of this one.
        let mut others: Vec<u64> = Vec::new();
        for segment in self.inner.steps.iter() {
            let width = tier_step(segment);
            let is_new =
                !steps.contains(&width) && !others.contains(&width) && step.is_multiple_of(width.max(1));
            if is_new && self.inner.or_left_out(segment.has(name))?.unwrap_or(false) {
                others.push(width);
            }
        }
        others.sort_unstable();
        let mut apart = Vec::new();
        for other in others {
            let at = steps.partition_point(|step| *step < other);
            let Some(next) = steps.get(at).filter(|next| **next != other) else { continue };
            let follows = at.checked_sub(1).is_none_or(|before| other.is_multiple_of(steps[before]));
            if follows && next.is_multiple_of(other) {
                steps.insert(at, other);
            } else {
                apart.push(other);
            }
        }
        Ok((steps, apart))
    }

    /// The steps of one width that segments have of a series. What is damaged is left out and counted.
    fn stored_steps(&self, name: &str, range: TimeRange, step: u64) -> Result<Vec<Step>, Error> {
        let mut walk = StepWalk::default();
        for segment in self.inner.steps.iter().filter(|segment| tier_step(segment) == step) {
            self.inner.or_left_out(walk.add(segment, &self.inner.manifest.tombstones, name, range))?;
        }
        walk.rest(&mut |_, error| self.inner.or_left_out(Err(error)).map(|_: Option<()>| ()))
            .map(|(steps, _)| steps)
    }
}

/// The width of the steps of a segment, in nanoseconds.
fn tier_step(segment: &Segment) -> u64 {
    segment.entry().place.map_or(0, |place| nanos(place.tier.step))
}
