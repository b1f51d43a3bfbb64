//! Reading from a source within a budget: steps, and only those dots that must be read.

use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange};

use crate::{
    Budget, Dot, Error, Known, Node, Numbers, Pattern, Piece, Rollup, Sink, Source, Stretch, Want, What,
};

/// Asks for `wants` and counts in the budget what was looked at.
fn fetch(
    source: &dyn Source,
    wants: &[Want<'_>],
    budget: &mut Budget,
    mut take: impl FnMut(usize, Piece<'_>),
) -> Result<(), Error> {
    let report = source.fetch(wants, Sink::new(budget, &mut take))?;
    budget.settle(report)
}

/// The newest dots of each series, oldest first, at most `count` of each. They do not count in the budget.
///
/// # Errors
///
/// Past the deadline, or where the source fails.
pub fn newest(
    source: &dyn Source,
    names: &[&str],
    count: usize,
    budget: &mut Budget,
) -> Result<Vec<Vec<Dot>>, Error> {
    let wants: Vec<Want<'_>> = names.iter().map(|name| Want { name, what: What::Newest(count) }).collect();
    let mut found = vec![Vec::new(); names.len()];
    fetch(source, &wants, budget, |want, piece| {
        if let Piece::Dots(dots) = piece {
            found[want].extend_from_slice(dots);
        }
    })?;
    Ok(found)
}

/// The series that `pattern` means, sorted.
///
/// # Errors
///
/// Where there are more than the budget allows, past the deadline, or where the source fails.
pub fn series(source: &dyn Source, pattern: &Pattern, budget: &Budget) -> Result<Vec<SeriesName>, Error> {
    let mut found = Vec::new();
    source.find(pattern, None, budget, &mut |node| {
        if let Node::Series(name) = node {
            found.push(name);
        }
        budget.series(found.len())
    })?;
    found.sort_unstable();
    Ok(found)
}

/// The stretches of a series inside `range`.
pub(crate) fn fetch_stretches(
    source: &dyn Source,
    name: &str,
    range: TimeRange,
    budget: &mut Budget,
) -> Result<Vec<Stretch>, Error> {
    let mut found = Vec::new();
    fetch(source, &[Want { name, what: What::Stretches(range) }], budget, |_, piece| {
        if let Piece::Stretches(stretches) = piece {
            found.extend_from_slice(stretches);
        }
    })?;
    Ok(found)
}

/// A part of a series.
pub(crate) enum Part<'a> {
    /// Dots, oldest first.
    Dots(&'a [Dot]),
    /// Observations, oldest first: dots, and how many each stands for.
    Observations(&'a [Dot], &'a [u64]),
    /// A stretch that was not read.
    Known(TimeRange, Numbers),
}

/// Shows the parts of a series, oldest first. Every dot looked at counts in the budget, and every stretch that is not
/// read counts as one.
///
/// - `stretches`: those of the source, with `numbers` of all that must be read taken out
pub(crate) fn fetch_parts(
    source: &dyn Source,
    name: &str,
    stretches: &[Stretch],
    budget: &mut Budget,
    mut visit: impl FnMut(Part<'_>),
) -> Result<(), Error> {
    // Neighbours that must be read are one want.
    let mut unread: Vec<TimeRange> = Vec::new();
    // Those that need not be, each with how many wants stand before it.
    let mut known: Vec<(usize, TimeRange, Numbers)> = Vec::new();
    let mut joins = false;
    for stretch in stretches {
        match (stretch.numbers, unread.last_mut()) {
            (Some(numbers), _) => known.push((unread.len(), stretch.range, numbers)),
            (None, Some(before)) if joins => before.until = stretch.range.until,
            (None, _) => unread.push(stretch.range),
        }
        joins = stretch.numbers.is_none();
    }
    budget.add_dots(known.len() as u64)?;
    let mut known = known.into_iter().peekable();
    if !unread.is_empty() {
        let wants: Vec<Want<'_>> =
            unread.into_iter().map(|range| Want { name, what: What::Dots(range) }).collect();
        fetch(source, &wants, budget, |want, piece| {
            while let Some((_, range, numbers)) = known.next_if(|(before, ..)| *before <= want) {
                visit(Part::Known(range, numbers));
            }
            match piece {
                Piece::Dots(dots) => visit(Part::Dots(dots)),
                Piece::Observations(dots, weights) => visit(Part::Observations(dots, weights)),
                Piece::Stretches(_) | Piece::Steps(_) => {}
            }
        })?;
    }
    known.for_each(|(_, range, numbers)| visit(Part::Known(range, numbers)));
    budget.time()
}

/// Shows the steps of some parts of a series, oldest first. Every step counts in the budget, and every dot that one is
/// made of.
///
/// - `stages`: as [`crate::archive::stages`] makes them
pub(crate) fn fetch_steps(
    source: &dyn Source,
    name: &str,
    stages: &[(TimeRange, Duration)],
    budget: &mut Budget,
    mut visit: impl FnMut(&Rollup),
) -> Result<(), Error> {
    if stages.is_empty() {
        return Ok(());
    }
    let wants: Vec<Want<'_>> =
        stages.iter().map(|(range, step)| Want { name, what: What::Steps(*range, *step) }).collect();
    fetch(source, &wants, budget, |_, piece| {
        if let Piece::Steps(steps) = piece {
            steps.iter().for_each(&mut visit);
        }
    })
}

/// What is known of one series.
pub(crate) fn known(source: &dyn Source, name: &str) -> Result<Known, Error> {
    Ok(source.known(&[name])?.pop().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use dotter_dot::Timestamp;

    use super::*;
    use crate::fixture::Memory;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds).unwrap()
    }

    fn source() -> Memory {
        let dots: Vec<(f64, f64)> = (0..10).map(|n| (f64::from(n), f64::from(n))).collect();
        Memory::default().with("a.a", &dots).with("a.b", &dots[5..]).with("a.c", &[])
    }

    #[test]
    fn too_many_series_name_the_budget() {
        let pattern = Pattern::new("a.*").unwrap();
        let budget = Budget { series_max: 2, ..Budget::start() };
        let error = series(&source(), &pattern, &budget).unwrap_err();
        assert!(matches!(error, Error::OverBudget { what: "series", found: 3, limit: 2 }), "{error}");
        assert_eq!(series(&source(), &pattern, &Budget::start()).unwrap().len(), 3);
    }

    #[test]
    fn the_newest_dots_of_several_series_are_had_at_once() {
        let mut budget = Budget { dots_max: 0, ..Budget::start() };
        let found = newest(&source(), &["a.b", "nosuch", "a.a"], 2, &mut budget).unwrap();
        let values: Vec<Vec<f64>> =
            found.iter().map(|dots| dots.iter().map(|dot| dot.value).collect()).collect();
        assert_eq!(values, [vec![8.0, 9.0], vec![], vec![8.0, 9.0]]);
        assert_eq!(budget.dots, 0);
    }

    /// Shows P19.
    #[test]
    fn a_fetch_over_budget_ends_and_reports_what_is_missing() {
        let budget = Budget { dots_max: 13, ..Budget::start() };
        let wants = ["a.a", "a.b", "a.c"].map(|name| Want { name, what: What::Dots(TimeRange::ALL) });
        let mut given = [0; 3];
        let mut take = |want: usize, piece: Piece<'_>| {
            let Piece::Dots(dots) = piece else { panic!("{piece:?}") };
            given[want] += dots.len();
        };
        let report = source().fetch(&wants, Sink::new(&budget, &mut take)).unwrap();
        assert_eq!((report.looked_at, given), (15, [10, 3, 0]));
        let missing = report.missing.expect("two dots of the second");
        assert_eq!(missing.want, 1);
        assert!(matches!(missing.why, Error::OverBudget { found: 15, limit: 13, .. }), "{}", missing.why);
    }

    #[test]
    fn stretches_that_need_not_be_read_stand_between_the_dots() {
        let numbers = Numbers { count: 1, min: 0.0, max: 0.0, sum: 0.0 };
        let stretch = |from, until, known: bool| Stretch {
            range: TimeRange::new(at(from), at(until)),
            dots: 1,
            numbers: known.then_some(numbers),
        };
        let stretches = [
            stretch(0, 1, true),
            stretch(1, 2, false),
            stretch(3, 4, false),
            stretch(4, 5, true),
            stretch(20, 30, false),
            stretch(30, 31, true),
        ];
        let mut parts = Vec::new();
        let mut budget = Budget::start();
        fetch_parts(&source(), "a.a", &stretches, &mut budget, |part| match part {
            Part::Dots(dots) | Part::Observations(dots, _) => parts.extend(dots.iter().map(|dot| dot.time)),
            Part::Known(range, _) => parts.push(range.until),
        })
        .unwrap();
        assert_eq!(parts, [1, 1, 2, 3, 5, 31].map(at));
        assert_eq!(budget.dots, 6);
    }
}
