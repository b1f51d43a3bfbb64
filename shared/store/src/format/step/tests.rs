//! Steps beside a plain map of dots.

use std::collections::BTreeMap;

use dotter_dot::{Cell, Format, Kind};
use proptest::prelude::*;

use super::counting::METHODS;
use super::*;
use crate::format::rules::{Aggregation, Slot};

fn methods() -> impl Strategy<Value = Aggregation> {
    prop::sample::select(METHODS.map(|(method, _)| method).to_vec())
}

fn explicit(time: u64, number: f64) -> DotIn {
    DotIn { time, number, is_clock: false, weight: 1 }
}

fn fold(dots: &[DotIn], step: u64, interval: Option<u64>, slot: Slot, counting: Counting) -> Vec<Step> {
    let mut fold = DotFold::new(step, interval, slot, counting);
    let mut steps: Vec<Step> = dots.iter().filter_map(|dot| fold.dot(*dot)).collect();
    steps.extend(fold.end());
    steps
}

/// Dots through levels of which none has stored steps.
fn chained(dots: &[DotIn], levels: &[Level], interval: Option<u64>) -> Vec<Step> {
    let mut chain = Chain::new(levels, interval, Slot::Last, Vec::new());
    dots.iter().for_each(|dot| chain.dot(*dot));
    let (steps, replaced) = chain.end();
    assert_eq!(replaced, 0);
    steps
}

#[test]
fn ten_second_dots_in_a_minute_have_the_value_that_their_rule_says() {
    let dots: Vec<DotIn> = (0..6).map(|slot| explicit(slot * 10, slot as f64)).collect();
    let check = |aggregation, value: f64| {
        let levels = [Level { step: 60, counting: Counting::new(aggregation, 0.5, 6) }];
        let [step] = chained(&dots, &levels, Some(10))[..] else { panic!("one minute") };
        assert_eq!(step.value(), Some(value), "{aggregation:?}");
        let row = step.row();
        assert_eq!((row.min, row.max, row.sum, row.count, row.last), (0.0, 5.0, 15.0, 6, 5.0));
        assert_eq!((row.last_at, row.known), (50, 6));
    };
    check(Aggregation::Average, 2.5);
    check(Aggregation::Min, 0.0);
    check(Aggregation::Max, 5.0);
    check(Aggregation::Sum, 15.0);
    check(Aggregation::Last, 5.0);
    check(Aggregation::Count, 6.0);
    check(Aggregation::AverageZero, 2.5);
    check(Aggregation::AbsMax, 5.0);
    check(Aggregation::AbsMin, 0.0);
}

#[test]
fn a_step_of_which_too_little_is_known_has_no_value() {
    let check = |slots: u64, factor: f64, possible: u64, known: bool| {
        let dots: Vec<DotIn> = (0..slots).map(|slot| explicit(slot * 10, 1.0)).collect();
        let steps = fold(&dots, 60, Some(10), Slot::Last, Counting::new(Aggregation::Sum, factor, possible));
        assert_eq!(steps[0].value(), known.then_some(slots as f64), "{slots} {factor} {possible}");
    };
    check(3, 0.5, 6, true);
    check(2, 0.5, 6, false);
    check(1, 0.0, 6, true);
    check(5, 1.0, 6, false);
    check(6, 1.0, 6, true);
    check(1, 1.0, 0, true);
    let empty = Counting::new(Aggregation::Sum, 0.0, 6).value(Values::default());
    assert_eq!(empty, None, "no value is known");
}

#[test]
fn the_newest_dot_of_a_slot_is_its_value_or_their_mean() {
    let dots = [explicit(0, 1.0), explicit(9, 3.0), explicit(9, 8.0), explicit(10, 2.0)];
    let check = |slot, sum: f64| {
        let steps = fold(&dots, 60, Some(10), slot, Counting::new(Aggregation::Sum, 0.0, 6));
        assert_eq!((steps[0].value(), steps[0].row().known, steps[0].row().count), (Some(sum), 2, 4));
    };
    check(Slot::Last, 10.0);
    check(Slot::Average, 6.0);
}

#[test]
fn numbers_that_are_not_finite_are_left_out_and_weights_count() {
    let counting = Counting::new(Aggregation::Average, 0.5, 0);
    let heavy = DotIn { weight: 3, ..explicit(2, 4.0) };
    let nothing = DotIn { weight: 0, ..explicit(3, 9.0) };
    let dots = [explicit(0, f64::NAN), explicit(1, 8.0), heavy, nothing, explicit(4, f64::INFINITY)];
    let row = fold(&dots, 10, None, Slot::Last, counting)[0].explicit.unwrap();
    let expected = StepRow {
        time: 0,
        min: 4.0,
        max: 8.0,
        sum: 20.0,
        count: 4,
        last: 4.0,
        last_at: 2,
        first_at: 1,
        acc: 20.0,
        known: 4,
    };
    assert_eq!((row, row.value(&counting)), (expected, Some(5.0)));
    let count = Counting::new(Aggregation::Count, 0.5, 0);
    assert_eq!(fold(&dots, 10, None, Slot::Last, count)[0].value(), Some(4.0));
    assert_eq!(fold(&[explicit(1, f64::NAN)], 10, None, Slot::Last, counting), []);
}

#[test]
fn values_of_both_kinds_of_dots_stand_in_the_clock_row() {
    let counting = Counting::new(Aggregation::Sum, 1.0, 3);
    let clock = |time, number| DotIn { is_clock: true, ..explicit(time, number) };
    let dots = [explicit(0, 1.0), clock(10, 2.0), explicit(20, 4.0), clock(25, 8.0)];
    let step = fold(&dots, 30, Some(10), Slot::Last, counting)[0];
    let (clock, explicit) = (step.clock.unwrap(), step.explicit.unwrap());
    assert_eq!((clock.count, clock.sum, clock.acc, clock.known), (2, 10.0, 11.0, 3));
    assert_eq!((explicit.count, explicit.sum, explicit.acc, explicit.known), (2, 5.0, 0.0, 0));
    assert_eq!((step.value(), step.row().count, step.row().last), (Some(11.0), 4, 8.0));
}

#[test]
fn late_explicit_dots_replace_or_are_added() {
    let counting = Counting::new(Aggregation::Sum, 0.5, 6);
    let one = |dots: &[DotIn]| fold(dots, 60, Some(10), Slot::Last, counting)[0];
    let all: Vec<DotIn> = (0..6).map(|slot| explicit(slot * 10, 2.0)).collect();
    let check = |earlier: &[DotIn], later: &[DotIn], count: u64, value: Option<f64>, gone: u64| {
        let (step, replaced) = one(earlier).combine(one(later));
        let row = step.explicit.unwrap();
        assert_eq!((row.count, step.value(), replaced), (count, value, gone), "{earlier:?} {later:?}");
    };
    // The same once more, a part of it once more, the whole after a part.
    check(&all, &all, 6, Some(12.0), 6);
    check(&all, &all[..2], 6, Some(12.0), 2);
    check(&all[..4], &all, 6, Some(12.0), 4);
    // The missing slot.
    check(&all[..5], &all[5..], 6, Some(12.0), 0);
    check(&all[1..], &all[..1], 6, Some(12.0), 0);
    // Single dots of two times are two dots, in either order; the last dot once more is none.
    check(&all[..1], &all[1..2], 2, None, 0);
    check(&all[1..2], &all[..1], 2, None, 0);
    check(&all[..3], &all[2..3], 3, Some(6.0), 1);
    // A new value for the only dot.
    check(&all[..1], &[explicit(0, 7.0)], 1, None, 1);
}

#[test]
fn a_late_dot_of_a_full_step_counts_as_a_part_of_the_mean() {
    let counting = Counting::new(Aggregation::Sum, 0.5, 2);
    let clock = |time, number| DotIn { is_clock: true, ..explicit(time, number) };
    let one = |dots: &[DotIn]| fold(dots, 20, Some(10), Slot::Last, counting)[0];
    let (step, replaced) = one(&[clock(0, 1.0), clock(10, 2.0)]).combine(one(&[clock(11, 6.0)]));
    assert_eq!((replaced, step.row().count, step.row().known), (0, 3, 3));
    assert_eq!(step.value(), Some(6.0), "three values of two: twice their mean");
    let rollup = Rollup::of(&step, 20);
    assert_eq!((rollup.acc, rollup.known, rollup.possible, rollup.value), (6.0, 2, 2, Some(6.0)));
    assert_eq!((rollup.count, rollup.sum, rollup.last, rollup.last_at.nanos()), (3, 9.0, 6.0, 11));
    assert_eq!((rollup.width, rollup.time.nanos()), (Duration::from_nanos(20), 0));
}

#[test]
fn after_a_change_of_the_rule_the_fuller_part_keeps_its_way() {
    let with = |dots: &[DotIn], counting| fold(dots, 60, Some(10), Slot::Last, counting)[0];
    let all: Vec<DotIn> = (0..5).map(|slot| explicit(slot * 10, 2.0)).collect();
    let (average, max) =
        (Counting::new(Aggregation::Average, 0.5, 6), Counting::new(Aggregation::Max, 0.2, 3));
    let (step, replaced) = with(&all, average).combine(with(&[explicit(55, 9.0)], max));
    assert_eq!((step.counting, step.value(), step.row().count, replaced), (average, Some(2.0), 6, 0));
    let (step, replaced) = with(&all[..1], average).combine(with(&all, max));
    assert_eq!((step.counting, step.value(), step.row().count, replaced), (max, Some(2.0), 5, 1));
}

#[test]
fn a_row_whose_counting_cannot_be_read_has_no_value_and_keeps_its_dots() {
    let counting = Counting::new(Aggregation::Sum, 0.5, 6);
    let row = fold(&[explicit(0, 1.0), explicit(10, 5.0)], 60, Some(10), Slot::Last, counting)[0].row();
    let columns =
        |acc: &'static str| ["min", "max", "sum", "count", "last", "last_at", "first_at", acc, "known"];
    let shape =
        |letters: &str, columns: &[&str]| Shape::new(Format::new(letters).unwrap(), "", columns).unwrap();
    let mut column = Column::default();
    row.put(&shape("FFFUFUUFU", &columns("who knows")), &mut column);
    row.put(&counting.shape("s", Kind::Gauge), &mut column);
    // Rows of others are no steps.
    row.put(&shape("FFFUFUUFU", &[]), &mut column);
    row.put(&shape("FFFUFUUFF", &columns("sum 0.5")), &mut column);
    column.push(&Shape::number(), Timestamp::MIN, Cell::number(1.0));
    let taken: Vec<_> = (0..column.len()).map(|index| StepRow::take(&column, index)).collect();
    let lost = StepRow { acc: 0.0, known: 0, ..row };
    assert_eq!(taken, [Some((lost, Counting::default())), Some((row, counting)), None, None, None]);
    assert_eq!(lost.value(&Counting::default()), None);
    assert!(StepRow::rows(&column).eq(taken.into_iter().flatten()));
    // With a row that can be read the step has that row's value.
    let (steps, replaced) = Step::gather(&column, &Column::default());
    assert_eq!((steps.len(), steps[0].row().count, steps[0].value(), replaced), (1, 4, None, 0));
    assert_eq!((steps[0].counting, steps[0].values().known), (counting, 2));
}

#[test]
fn a_unit_and_a_kind_stay_with_the_steps() {
    let shape = Counting::new(Aggregation::Max, 0.25, 10).shape("bytes", Kind::Counter);
    assert_eq!((shape.format().as_str(), shape.unit(), shape.kind()), ("FFFUFUUFU", "bytes", Kind::Counter));
    assert_eq!(&*shape.columns()[7], "max 0.25 of 10");
}

#[test]
fn levels_of_a_rule_know_how_many_finer_values_they_have() {
    let seconds = Duration::from_secs;
    let possible = |interval: Option<u64>| -> Vec<u64> {
        let steps = [60, 600, 3600].map(seconds);
        let levels = levels(interval.map(seconds), steps, Aggregation::Max, 0.5);
        assert_eq!(levels[1].step, 600_000_000_000);
        levels.iter().map(|level| level.counting.possible()).collect()
    };
    assert_eq!(possible(Some(10)), [6, 10, 6]);
    assert_eq!(possible(None), [0, 10, 6]);
    let mut none = Chain::new(&[], None, Slot::Last, Vec::new());
    none.dot(explicit(1, 1.0));
    assert_eq!(none.end(), (Vec::new(), 0));
}

/// Whisper's value of a step, from the definition: the newest dot of each slot, then level by level.
///
/// - `steps`: widths of the levels, finest first; the first is that of slots
fn whisper(
    dots: &BTreeMap<u64, f64>,
    steps: &[u64],
    aggregation: Aggregation,
    factor: f64,
) -> BTreeMap<u64, f64> {
    let slot = |time: &u64| time / steps[0] * steps[0];
    let mut values: BTreeMap<u64, f64> = dots.iter().map(|(time, number)| (slot(time), *number)).collect();
    for (level, pair) in steps.windows(2).enumerate() {
        let mut groups: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (time, value) in &values {
            groups.entry(time / pair[1] * pair[1]).or_default().push(*value);
        }
        groups.retain(|_, known| known.len() as f64 / (pair[1] / pair[0]) as f64 >= factor);
        let value = |known: &Vec<f64>| match aggregation {
            Aggregation::Average => known.iter().sum::<f64>() / known.len() as f64,
            Aggregation::Sum => known.iter().sum(),
            Aggregation::Min => known.iter().copied().fold(f64::INFINITY, f64::min),
            Aggregation::Max => known.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Aggregation::Last => known[known.len() - 1],
            Aggregation::AverageZero => known.iter().sum::<f64>() / (pair[1] / pair[0]) as f64,
            Aggregation::AbsMax => *known.iter().rev().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap(),
            Aggregation::AbsMin => *known.iter().min_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap(),
            // Not Whisper's: how many slots.
            Aggregation::Count if level == 0 => known.len() as f64,
            Aggregation::Count => known.iter().sum(),
        };
        values = groups.iter().map(|(time, known)| (*time, value(known))).collect();
    }
    values
}

fn dots() -> impl Strategy<Value = BTreeMap<u64, (f64, bool)>> {
    let dot = (0_u64..2400, (-50_i32..50).prop_map(f64::from), any::<bool>());
    prop::collection::vec(dot, 0..400)
        .prop_map(|dots| dots.into_iter().map(|(time, number, clock)| (time, (number, clock))).collect())
}

fn counting() -> impl Strategy<Value = Counting> {
    let possible = prop_oneof![Just(0_u64), 1..100_u64, any::<u64>()];
    let factor = prop_oneof![Just(0.5), 0.0..=1.0_f64, any::<f64>()];
    (methods(), factor, possible)
        .prop_map(|(aggregation, factor, possible)| Counting::new(aggregation, factor, possible))
}

fn any_row() -> impl Strategy<Value = StepRow> {
    let float = any::<f64>;
    let count = any::<u64>;
    let at = (float(), count(), count());
    (count(), float(), float(), float(), count(), at, float(), count()).prop_map(
        |(time, min, max, sum, count, (last, last_at, first_at), acc, known)| StepRow {
            time,
            min,
            max,
            sum,
            count,
            last,
            last_at,
            first_at,
            acc,
            known,
        },
    )
}

fn steps_of(dots: &[(f64, u64)], counting: Counting) -> Vec<Step> {
    let mut all: Vec<DotIn> =
        dots.iter().map(|(number, time)| DotIn { is_clock: true, ..explicit(*time, *number) }).collect();
    all.sort_by_key(|dot| dot.time);
    fold(&all, 60, Some(10), Slot::Last, counting)
}

proptest! {
    #[test]
    fn steps_of_any_level_are_those_of_the_dots(
        dots in dots(),
        aggregation in methods(),
        factor in prop::sample::select(&[0.0, 0.2, 0.5, 1.0]),
        depth in 1..=3_usize,
    ) {
        let widths = [10, 60, 300, 600];
        let seconds = widths.map(Duration::from_nanos);
        let levels = levels(Some(seconds[0]), seconds[1..=depth].iter().copied(), aggregation, factor);
        let input: Vec<DotIn> = dots
            .iter()
            .map(|(time, (number, is_clock))| DotIn { is_clock: *is_clock, ..explicit(*time, *number) })
            .collect();
        let steps = chained(&input, &levels, Some(10));
        let step = widths[depth];
        let plain: BTreeMap<u64, f64> = dots.iter().map(|(time, (number, _))| (*time, *number)).collect();
        let values = whisper(&plain, &widths[..=depth], aggregation, factor);
        let mut expected: BTreeMap<u64, Vec<DotIn>> = BTreeMap::new();
        for dot in &input {
            expected.entry(dot.time / step * step).or_default().push(*dot);
        }
        prop_assert_eq!(steps.iter().map(|step| step.time).collect::<Vec<_>>(), expected.keys().copied().collect::<Vec<_>>());
        for done in &steps {
            let all = &expected[&done.time];
            match (done.value(), values.get(&done.time)) {
                (Some(value), Some(expected)) => prop_assert!((value - expected).abs() < 1e-9),
                (value, expected) => prop_assert_eq!(value, expected.copied()),
            }
            for (row, is_clock) in [(done.clock, true), (done.explicit, false)] {
                let of: Vec<&DotIn> = all.iter().filter(|dot| dot.is_clock == is_clock).collect();
                prop_assert_eq!(row.map_or(0, |row| row.count), of.len() as u64);
                let Some(row) = row else { continue };
                let numbers = || of.iter().map(|dot| dot.number);
                prop_assert_eq!(row.sum, numbers().sum::<f64>());
                prop_assert_eq!(row.min, numbers().fold(f64::INFINITY, f64::min));
                prop_assert_eq!(row.max, numbers().fold(f64::NEG_INFINITY, f64::max));
                let last = of[of.len() - 1];
                prop_assert_eq!((row.last, row.last_at, row.time), (last.number, last.time, done.time));
            }
        }
    }

    #[test]
    fn clock_rows_are_added_in_any_grouping(
        parts in prop::collection::vec(prop::collection::vec(((-50_i32..50).prop_map(f64::from), 0_u64..60), 1..8), 3),
        aggregation in methods(),
    ) {
        let counting = Counting::new(aggregation, 0.5, 6);
        let [a, b, c] = [0, 1, 2].map(|part| steps_of(&parts[part], counting)[0]);
        let left = a.combine(b).0.combine(c);
        let right = a.combine(b.combine(c).0);
        prop_assert_eq!(left, right);
        let all: Vec<&(f64, u64)> = parts.iter().flatten().collect();
        let row = left.0.row();
        prop_assert_eq!(row.count, all.len() as u64);
        prop_assert_eq!(row.sum, all.iter().map(|(number, _)| number).sum::<f64>());
    }

    #[test]
    fn dots_in_two_edits_are_those_in_one(
        dots in dots(),
        edit in prop::collection::vec(any::<bool>(), 400),
    ) {
        let counting = Counting::new(Aggregation::Sum, 0.5, 0);
        let mut parts = [Vec::new(), Vec::new()];
        for ((time, (number, _)), first) in dots.iter().zip(&edit) {
            parts[usize::from(*first)].push(DotIn { is_clock: true, ..explicit(*time, *number) });
        }
        let mut all = parts.concat();
        all.sort_by_key(|dot| dot.time);
        let [first, second] = parts;
        let stored = vec![fold(&first, 60, None, Slot::Last, counting)];
        let mut chain = Chain::new(&[Level { step: 60, counting }], None, Slot::Last, stored);
        let mut steps = Vec::new();
        for dot in second {
            chain.dot(dot);
            steps.extend(chain.take_done());
        }
        let (rest, replaced) = chain.end();
        steps.extend(rest);
        prop_assert_eq!((steps, replaced), (fold(&all, 60, None, Slot::Last, counting), 0));
    }

    #[test]
    fn the_same_import_once_more_changes_nothing(
        dots in dots(),
        aggregation in methods(),
        depth in 1..=3_usize,
        of_ring in any::<bool>(),
    ) {
        let seconds = [10, 60, 300, 600].map(Duration::from_nanos);
        let levels = levels(Some(seconds[0]), seconds[1..=depth].iter().copied(), aggregation, 0.5);
        let input: Vec<DotIn> = dots
            .iter()
            .map(|(time, (number, clock))| DotIn { is_clock: *clock && of_ring, ..explicit(*time, *number) })
            .collect();
        let first = chained(&input, &levels, Some(10));
        let again: Vec<DotIn> = input.into_iter().filter(|dot| !dot.is_clock).collect();
        let mut stored = vec![Vec::new(); depth];
        stored[depth - 1] = first.clone();
        let mut chain = Chain::new(&levels, Some(10), Slot::Last, stored);
        again.iter().for_each(|dot| chain.dot(*dot));
        prop_assert_eq!(chain.end(), (first, again.len() as u64));
    }

    #[test]
    fn a_row_comes_back_from_its_column(row in any_row(), counting in counting()) {
        let mut column = Column::default();
        row.put(&counting.shape("ms", Kind::Gauge), &mut column);
        let (taken, way) = StepRow::take(&column, 0).unwrap();
        prop_assert_eq!(way, counting);
        prop_assert!(taken.has_dots_of(&row));
        prop_assert_eq!((taken.acc.to_bits(), taken.known, taken.time), (row.acc.to_bits(), row.known, row.time));
    }

    #[test]
    fn steps_come_back_from_their_columns(
        dots in dots(),
        aggregation in methods(),
        cut in 0_usize..400,
    ) {
        let counting = Counting::new(aggregation, 0.5, 6);
        let input: Vec<DotIn> = dots
            .iter()
            .map(|(time, (number, is_clock))| DotIn { is_clock: *is_clock, ..explicit(*time, *number) })
            .collect();
        let steps = fold(&input, 60, Some(10), Slot::Last, counting);
        let (mut clock, mut explicit) = (Column::default(), Column::default());
        let shape = counting.shape("", Kind::Unsaid);
        for step in &steps {
            step.put(&shape, &mut clock, &mut explicit);
        }
        prop_assert_eq!(Step::gather(&clock, &explicit), (steps.clone(), 0));
        // The explicit rows of an edit once more.
        let repeated = explicit.clone();
        let again = cut.min(repeated.len())..repeated.len();
        let dots: u64 = StepRow::rows(&repeated).skip(again.start).map(|(row, _)| row.count).sum();
        explicit.extend(&repeated, again);
        explicit.sort();
        prop_assert_eq!(Step::gather(&clock, &explicit), (steps, dots));
    }

    #[test]
    fn rows_of_any_bits_are_put_together_and_have_a_value_or_none(
        rows in prop::collection::vec((any_row(), counting(), any::<bool>()), 1..6),
    ) {
        let steps = rows.into_iter().map(|(row, way, clock)| Step::of_row(StepRow { time: 7, ..row }, way, clock));
        let step = steps.reduce(|earlier, later| earlier.combine(later).0).unwrap();
        prop_assert!(step.value().is_none_or(f64::is_finite));
        let mut fold = StepFold::new(u64::MAX, Counting::default());
        prop_assert_eq!(fold.step(&step), None);
        prop_assert_eq!(fold.end().map(|coarse| coarse.row().count), Some(step.row().count));
    }
}
