//! From targets to points.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dotter_dot::{SeriesName, TimeRange, Timestamp};

use crate::archive::{Chosen, choose, stages};
use crate::consolidate::{Drawing, Merge, Points};
use crate::fetch::{Part, fetch_parts, fetch_steps, fetch_stretches, newest, series};
use crate::step::{SAMPLE_DOTS, UNKNOWN};
use crate::{Budget, Error, Precision, Slots, Source, Stepped, Steps, Target, Window};

/// Series of which it is asked at a time what is known, and whose samples are in memory.
const SAMPLES_AT_ONCE: usize = 64;

/// What `/render` was asked for.
#[derive(Clone, Debug)]
pub struct Render {
    /// What to draw, in this order.
    pub targets: Vec<Target>,
    /// Over which time.
    pub window: Window,
    /// When it is asked: how far the window reaches back from here decides which archive of its rule a series is read
    /// from.
    pub now: Timestamp,
    /// Merge slots until there are no more points a series than this.
    pub points_max: Option<u64>,
    /// Share of a merged point's slots that must hold a number.
    pub known_min: f64,
    /// How narrow slots may be.
    pub precision: Precision,
    /// Slots of this width instead of each series' own.
    pub step: Option<Duration>,
}

/// The series meant, target by target and sorted by name within one, each with its points.
///
/// - `steps`: what each series' step was before
///
/// # Errors
///
/// Past the budget, or where the source fails.
pub fn render(
    source: &dyn Source,
    request: &Render,
    steps: &Mutex<Steps>,
    budget: &mut Budget,
) -> Result<Vec<(SeriesName, Points)>, Error> {
    if request.window.is_ahead() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for target in &request.targets {
        names.extend(series(source, &target.pattern, budget)?);
        budget.series(names.len())?;
    }
    let planned = plan(source, names, request, steps, budget)?;
    let slots: Vec<Slots> = planned.iter().map(|planned| Slots::new(planned.window, planned.step)).collect();
    let Some(start) = slots.iter().map(|slots| slots.start).min() else { return Ok(Vec::new()) };
    let end = slots.iter().map(Slots::end).max().unwrap_or(start);
    let merges: Vec<Merge> =
        slots.iter().map(|slots| Merge::new(slots, (start, end), request.points_max)).collect();
    budget.points(merges.iter().fold(0, |sum: u64, merge| sum.saturating_add(merge.count)))?;
    let mut drawn = Vec::with_capacity(planned.len());
    for ((planned, slots), merge) in planned.into_iter().zip(slots).zip(merges) {
        let drawing = draw(source, &planned, Drawing::new(slots, merge, request.known_min), budget)?;
        drawn.push((planned.name, drawing.finish()));
    }
    Ok(drawn)
}

/// How a series is drawn.
struct Planned {
    name: SeriesName,
    /// Width of a slot.
    step: Duration,
    window: Window,
    /// Whether all of the window is read in steps, those of an archive.
    is_archive: bool,
    stepped: Vec<Stepped>,
}

/// Chooses for each series what it is read from, and how wide its slots are. Those of which all of the window is older
/// than what is kept are left out.
fn plan(
    source: &dyn Source,
    names: Vec<SeriesName>,
    request: &Render,
    steps: &Mutex<Steps>,
    budget: &mut Budget,
) -> Result<Vec<Planned>, Error> {
    let window = request.window;
    let mut planned = Vec::with_capacity(names.len());
    for names in names.chunks(SAMPLES_AT_ONCE) {
        budget.time()?;
        let texts: Vec<&str> = names.iter().map(SeriesName::as_str).collect();
        let known = source.known(&texts)?;
        // Those that have no step yet are as wide as their dots say.
        let (mut chosen, mut own) = (Vec::with_capacity(names.len()), Vec::new());
        for (name, known) in names.iter().zip(known) {
            let choice = match request.step {
                Some(_) => Chosen::Dots,
                None => choose(&known, window, request.now),
            };
            if request.step.is_none() && choice == Chosen::Dots {
                own.push(name.clone());
            }
            chosen.push((name, known.stepped, choice));
        }
        let mut own = own_steps(source, &own, request.precision, steps, budget)?.into_iter();
        for (name, stepped, choice) in chosen {
            let (step, window, is_archive) = match choice {
                Chosen::Nothing => continue,
                Chosen::Steps(step, window) => (Some(step), window, true),
                Chosen::Dots => (request.step.or_else(|| own.next()), window, false),
            };
            let step = step.unwrap_or(UNKNOWN);
            planned.push(Planned { name: name.clone(), step, window, is_archive, stepped });
        }
    }
    Ok(planned)
}

/// Fills in a series' points: from steps what is no longer there as dots, of the rest what must be read. From an archive
/// all of it is steps.
fn draw(
    source: &dyn Source,
    planned: &Planned,
    mut drawing: Drawing,
    budget: &mut Budget,
) -> Result<Drawing, Error> {
    let range = drawing.range();
    if range.is_empty() {
        return Ok(drawing);
    }
    let name = planned.name.as_str();
    let (stages, live) = stages(&planned.stepped, range, Some(drawing.step()), planned.is_archive);
    fetch_steps(source, name, &stages, budget, |step| drawing.add_step(step))?;
    let range = TimeRange::new(live, range.until);
    if range.is_empty() {
        return Ok(drawing);
    }
    let mut stretches = fetch_stretches(source, name, range, budget)?;
    drawing.choose(&mut stretches);
    fetch_parts(source, name, &stretches, budget, |part| match part {
        Part::Dots(dots) => drawing.add(dots),
        Part::Observations(dots, weights) => drawing.add_observations(dots, weights),
        Part::Known(range, numbers) => drawing.add_numbers(range.from, numbers),
    })?;
    Ok(drawing)
}

/// The step of each series: that which it was given just now, else as its newest dots tell.
fn own_steps(
    source: &dyn Source,
    names: &[SeriesName],
    precision: Precision,
    steps: &Mutex<Steps>,
    budget: &mut Budget,
) -> Result<Vec<Duration>, Error> {
    let now = Instant::now();
    // Not held while the source is read: other requests have steps to ask for too.
    let steps = || steps.lock().unwrap_or_else(PoisonError::into_inner);
    let mut widths = Vec::with_capacity(names.len());
    for names in names.chunks(SAMPLES_AT_ONCE) {
        budget.time()?;
        let fresh: Vec<Option<Duration>> = {
            let steps = steps();
            names.iter().map(|name| steps.fresh(name.as_str(), precision, now)).collect()
        };
        let unknown: Vec<&str> = names
            .iter()
            .zip(&fresh)
            .filter(|(_, step)| step.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        let samples = newest(source, &unknown, SAMPLE_DOTS, budget)?;
        let mut steps = steps();
        let mut settled =
            unknown.iter().zip(&samples).map(|(name, dots)| steps.settle(name, precision, dots, now));
        widths.extend(fresh.into_iter().filter_map(|step| step.or_else(|| settled.next())));
    }
    Ok(widths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Memory;
    use crate::{Archive, Method, Rule};

    fn source() -> Memory {
        let regular = |step: f64, count: usize| -> Vec<(f64, f64)> {
            (0..count).map(|n| (1000.0 + n as f64 * step, n as f64)).collect()
        };
        Memory::default()
            .with("a.slow", &regular(10.0, 100))
            .with("a.fast", &regular(0.1, 10_000))
            .with("b;host=x", &regular(10.0, 100))
    }

    fn ask(target: &str, from: u64, until: u64) -> Render {
        Render {
            targets: vec![Target::new(target).unwrap()],
            window: Window {
                from: Timestamp::from_secs(from).unwrap(),
                until: Timestamp::from_secs(until).unwrap(),
            },
            now: Timestamp::from_secs(until).unwrap(),
            points_max: None,
            known_min: 0.0,
            precision: Precision::Seconds,
            step: None,
        }
    }

    fn answer(request: &Render, budget: &mut Budget) -> Result<Vec<(SeriesName, Points)>, Error> {
        render(&source(), request, &Mutex::default(), budget)
    }

    #[test]
    fn each_series_has_its_own_step_and_the_window_is_open_at_its_start() {
        let series = answer(&ask("a.*", 1000, 1030), &mut Budget::start()).unwrap();
        let names: Vec<_> = series.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.fast", "a.slow"]);
        assert_eq!(series[0].1.step, Duration::from_secs(1));
        assert_eq!(series[0].1.values[..2], [19.0, 29.0]);
        assert_eq!(series[1].1.values, [1.0, 2.0, 3.0]);
        assert_eq!(series[1].1.start, Timestamp::from_secs(1010).unwrap());
    }

    #[test]
    fn a_series_without_dots_in_the_window_is_there_with_nulls_and_an_unknown_one_is_not() {
        let series = answer(&ask("a.slow", 100, 130), &mut Budget::start()).unwrap();
        assert_eq!(series.len(), 1);
        assert!(series[0].1.values.iter().all(|value| value.is_nan()));
        assert!(answer(&ask("nosuch", 100, 130), &mut Budget::start()).unwrap().is_empty());
        assert!(answer(&ask("a.slow", 1030, 1000), &mut Budget::start()).unwrap().is_empty());
    }

    #[test]
    fn a_window_that_reaches_further_back_than_dots_are_kept_is_answered_in_steps() {
        let archive =
            |step, keep| Archive { step: Duration::from_secs(step), keep: Duration::from_secs(keep) };
        let rule = Rule {
            interval: None,
            raw: Duration::from_secs(100),
            archives: vec![archive(20, 500), archive(60, 2_000)],
            method: Method::Average,
            x_files_factor: 0.0,
        };
        let source = source().ruled(rule);
        // Dots every ten seconds from 1,000 on, their values 0, 1, 2 and so on.
        let check = |from: u64, until: u64, now: u64, step: Option<u64>, expected: (u64, u64, &[f64])| {
            let step = step.map(Duration::from_secs);
            let request =
                Render { now: Timestamp::from_secs(now).unwrap(), step, ..ask("a.slow", from, until) };
            let mut found = render(&source, &request, &Mutex::default(), &mut Budget::start()).unwrap();
            let points = found.remove(0).1;
            let (start, step) = (points.start.nanos() / 1_000_000_000, points.step.as_secs());
            assert_eq!((start, step, &points.values[..]), expected, "({from}, {until}] at {now}");
        };
        check(1_100, 1_130, 1_200, None, (1_110, 10, &[11.0, 12.0, 13.0]));
        check(1_099, 1_160, 1_200, None, (1_100, 20, &[10.5, 12.5, 14.5, 16.5]));
        check(1_100, 1_200, 1_601, None, (1_140, 60, &[16.5, 20.0 + 2.5]));
        check(1_099, 1_130, 1_200, Some(10), (1_100, 10, &[10.0, 11.0, 12.0, 13.0]));
        // All is older than what is kept, but there from 1,000 on.
        check(0, 1_070, 9_000, None, (1_020, 60, &[4.5]));
        let gone = Render { now: Timestamp::from_secs(9_000).unwrap(), ..ask("a.slow", 0, 999) };
        assert!(render(&source, &gone, &Mutex::default(), &mut Budget::start()).unwrap().is_empty());
    }

    #[test]
    fn sub_second_slots_are_had_on_request() {
        let fine = Render { precision: Precision::Millis, ..ask("a.fast", 1000, 1001) };
        let series = answer(&fine, &mut Budget::start()).unwrap();
        assert_eq!(series[0].1.step, Duration::from_millis(100));
        assert_eq!(series[0].1.values.len(), 10);
    }

    /// Shows P19.
    #[test]
    fn budgets_stop_a_request_before_it_costs_too_much() {
        let check = |request: &Render, mut budget: Budget, expected: &str| {
            let error = answer(request, &mut budget).unwrap_err();
            assert_eq!((error.status(), error.to_string().contains(expected)), (413, true), "{error}");
        };
        let all = ask("a.*", 0, 2000);
        check(&all, Budget { series_max: 1, ..Budget::start() }, "2 series, at most 1");
        check(&all, Budget { points_max: 10, ..Budget::start() }, "points in the answer, at most 10");
        check(&all, Budget { dots_max: 50, ..Budget::start() }, "dots read, at most 50");
        check(&all, Budget { deadline: std::time::Instant::now(), ..Budget::start() }, "took too long");
        let centuries = Render { points_max: Some(100), ..ask("a.*", 0, 18_000_000_000) };
        assert_eq!(answer(&centuries, &mut Budget::start()).unwrap().len(), 2);
    }
}
