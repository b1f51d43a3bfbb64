//! What is known of dots without reading them, and reading only the others.

use std::ops::ControlFlow;
use std::time::Duration;

use dotter_dot::{TimeRange, Timestamp};

use crate::{Budget, Dot, Error, Source};

/// Dots of one series that lie together, with none of the others between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Holds all of them and no other dot of the series.
    pub range: TimeRange,
    /// How many have to be looked at to read them; those that were replaced or deleted count too.
    pub dots: u64,
    /// What their numbers come to; `None` where only reading them tells.
    pub numbers: Option<Numbers>,
}

/// What numbers come to, all of them finite; those of nothing are [`Numbers::NONE`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// How many.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All of them added up.
    pub sum: f64,
}

impl Numbers {
    /// Of a stretch that holds no number at all, such as one of texts.
    pub const NONE: Numbers = Numbers { count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0 };
}

/// What is left of dots that have expired: what those of one step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollup {
    /// Where the step begins.
    pub time: Timestamp,
    /// What they came to.
    pub numbers: Numbers,
    /// The latest of them.
    pub last: f64,
    /// Of how many steps, as they are kept, this one is put together; at least one.
    pub steps: u64,
    /// How one number is made of it; `None` where too little of it is known for one.
    pub method: Option<Method>,
}

/// How many numbers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Their mean.
    Average,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// All added up.
    Sum,
    /// The latest.
    Last,
    /// How many.
    Count,
}

impl Rollup {
    /// Its one number; `None` where it has none.
    pub(crate) fn one(&self) -> Option<f64> {
        let Numbers { count, min, max, sum } = self.numbers;
        let one = match self.method.filter(|_| count > 0)? {
            Method::Average => sum / count as f64,
            Method::Min => min,
            Method::Max => max,
            Method::Sum => sum,
            Method::Last => self.last,
            Method::Count => count as f64,
        };
        Some(one)
    }

    /// What it adds to the average of a point: a sum, and of how many. As Graphite has it the numbers of steps are
    /// averaged, but for the dots of averages, which count as often as they are.
    pub(crate) fn share(&self) -> Option<(f64, u64)> {
        let one = self.one()?;
        Some(match self.method? {
            Method::Average => (self.numbers.sum, self.numbers.count),
            Method::Sum | Method::Count => (one, self.steps.max(1)),
            Method::Min | Method::Max | Method::Last => (one, 1),
        })
    }
}

/// A part of a series.
pub(crate) enum Part<'a> {
    /// Dots, oldest first.
    Dots(&'a [Dot]),
    /// A stretch that was not read.
    Known(TimeRange, Numbers),
}

/// Shows the parts of a series inside `range`, oldest first. Every dot looked at counts in the budget, and every
/// stretch that is not read counts as one; the clock is looked at between parts.
///
/// - `stretches`: those of the source, with `numbers` of all that must be read taken out; `None` where it knows none
pub(crate) fn fetch_parts(
    source: &dyn Source,
    name: &str,
    range: TimeRange,
    stretches: Option<&[Stretch]>,
    budget: &mut Budget,
    mut visit: impl FnMut(Part<'_>),
) -> Result<(), Error> {
    let fetch = |range: TimeRange, budget: &mut Budget, visit: &mut dyn FnMut(Part<'_>)| {
        let mut over = Ok(());
        source.fetch(name, range, &mut |dots, looked_at| {
            over = budget.add_dots(looked_at).and_then(|()| budget.time());
            if over.is_err() {
                return ControlFlow::Break(());
            }
            visit(Part::Dots(dots));
            ControlFlow::Continue(())
        })?;
        over
    };
    let Some(stretches) = stretches else { return fetch(range, budget, &mut visit) };
    let mut unread: Option<TimeRange> = None;
    for stretch in stretches {
        let Some(numbers) = stretch.numbers else {
            let from = unread.map_or(stretch.range.from, |unread| unread.from);
            unread = Some(TimeRange::new(from, stretch.range.until));
            continue;
        };
        if let Some(unread) = unread.take() {
            fetch(unread, budget, &mut visit)?;
        }
        budget.add_dots(1)?;
        visit(Part::Known(stretch.range, numbers));
    }
    match unread {
        Some(unread) => fetch(unread, budget, &mut visit),
        None => budget.time(),
    }
}

/// Steps asked of archives: most steps that people give an archive divide one of these.
const STEPS_SECS: [u64; 9] = [1, 10, 60, 300, 600, 1_800, 3_600, 21_600, 86_400];

/// What archives have of a series inside `range` where its dots have expired, oldest first, and from when on the
/// dots themselves are to be read.
///
/// - `width`: of a column or a point; the coarsest step within it that archives can give is taken, else the finest
///   beyond it
/// - `exactly`: whether steps of that very width are wanted first
pub(crate) fn fetch_expired(
    source: &dyn Source,
    name: &str,
    range: TimeRange,
    width: Duration,
    exactly: bool,
    budget: &mut Budget,
) -> Result<(Vec<Rollup>, Timestamp), Error> {
    let live = source.span(name).map_or(Timestamp::MAX, |(first, _)| first);
    if range.from >= live {
        return Ok((Vec::new(), range.from));
    }
    let fitting = STEPS_SECS.partition_point(|secs| *secs <= width.as_secs()).saturating_sub(1);
    let own = Some(width.as_secs()).filter(|secs| exactly && width == Duration::from_secs(*secs));
    for secs in own.into_iter().chain(STEPS_SECS[fitting..].iter().copied()) {
        budget.time()?;
        let (step, nanos) = (Duration::from_secs(secs), secs * 1_000_000_000);
        let begun = Timestamp::from_nanos(live.nanos() / nanos * nanos);
        let expired = TimeRange::new(range.from, range.until.min(begun));
        if expired.is_empty() {
            break;
        }
        let mut rollups = source.rollups(name, expired, step)?;
        if rollups.is_empty() {
            continue;
        }
        let mut until = expired.until;
        if begun < live && live < range.until {
            // The step in which the dots begin is whole in the archive alone. Within a column it takes their place;
            // a wider one would hide too many of them and stands beside them.
            let end = begun.saturating_add(step);
            rollups.extend(source.rollups(name, TimeRange::new(begun, end), step)?);
            until = if step <= width { end } else { live };
        }
        budget.add_dots(rollups.len() as u64)?;
        return Ok((rollups, until));
    }
    Ok((Vec::new(), range.from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_number_as_its_method_says() {
        let numbers = Numbers { count: 6, min: -1.0, max: 9.0, sum: 30.0 };
        let step = |method| Rollup { time: Timestamp::MIN, numbers, last: 2.0, steps: 3, method };
        for (method, one, share) in [
            (Method::Average, 5.0, (30.0, 6)),
            (Method::Min, -1.0, (-1.0, 1)),
            (Method::Max, 9.0, (9.0, 1)),
            (Method::Sum, 30.0, (30.0, 3)),
            (Method::Last, 2.0, (2.0, 1)),
            (Method::Count, 6.0, (6.0, 3)),
        ] {
            let step = step(Some(method));
            assert_eq!((step.one(), step.share()), (Some(one), Some(share)), "{method:?}");
        }
        assert_eq!((step(None).one(), step(None).share()), (None, None));
        let empty = Rollup { numbers: Numbers::NONE, ..step(Some(Method::Sum)) };
        assert_eq!((empty.one(), empty.share()), (None, None));
    }
}
