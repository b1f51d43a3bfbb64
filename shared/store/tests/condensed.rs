//! Histograms that a rule condenses: what was observed is there as often as it was, in few rows, however often it is
//! sealed and merged, and the ledger accounts for every dot.

mod support;

use std::cell::Cell as Counter;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use dotter_dot::{
    Cell, Dots, Format, Incarnation, Kind, SeriesName, Shape, TimeRange, Timestamp, Value, put_row,
};
use dotter_store::{
    Deletion, LaneRecords, Pattern, Reader, RingPart, Snapshot, Transaction, Writer, add, compact,
    compact_major, seal_all, take_rules, verify,
};
use support::{Random, copy};

const STEP: u64 = 10_000_000_000;
const BEGIN: u64 = 1_710_504_000 * 1_000_000_000;
const RING: Incarnation = Incarnation([7; 16]);

fn never() -> bool {
    false
}

fn name(text: &str) -> SeriesName {
    SeriesName::new(text).unwrap()
}

fn histogram(letters: &str) -> Shape {
    let shape = Shape::new::<&str>(Format::new(letters).unwrap(), "s", &[]).unwrap();
    shape.with_kind(Kind::Histogram)
}

fn condense_all(dir: &Path) {
    let rule = "[[rule]]\npattern = \"%\"\nkeep = \"raw:400y\"\ncondense = \"10s\"\n";
    fs::write(dir.join("retention.toml"), rule).unwrap();
    take_rules(dir).unwrap();
}

/// Time, value, how often.
type Observed = (u64, f64, u64);

/// Commits observations of a ring, in a lane of it.
///
/// - `clock`: whether the clock stamped them
fn publish(writer: &mut Writer, series: &str, shape: &Shape, clock: bool, observed: &[Observed]) {
    let key = writer.series(&name(series), shape);
    let (mut dots, mut row) = (Dots::default(), Vec::new());
    for (time, value, weight) in observed {
        let time = Timestamp::from_nanos(*time);
        if shape.format().is_number() {
            dots.push_number(key, clock, time, *value);
        } else {
            row.clear();
            put_row([Value::F64(*value), Value::U64(*weight)], &mut row);
            dots.push(key, clock, time, Cell::Row(&row));
        }
    }
    let first = writer.ledger().next(RING, 0);
    let lanes = [LaneRecords { first, next: first + dots.len() as u64, ..LaneRecords::default() }];
    let now = Timestamp::from_nanos(BEGIN);
    let ring = RingPart { incarnation: RING, application: "app", now, ..RingPart::default() };
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
    writer.sync().unwrap();
}

/// Closes the log's last file.
fn close(dir: &Path, writer: &mut Option<Writer>) {
    *writer = None;
    *writer = Some(Writer::open(dir).unwrap());
}

fn seal(dir: &Path, writer: &mut Option<Writer>) {
    close(dir, writer);
    seal_all(dir, &never).unwrap();
    writer.as_mut().unwrap().unsealed();
}

fn open(dir: &Path) -> Snapshot {
    Reader::open(dir).unwrap().snapshot()
}

/// Every row of a series: time as it is read, value, weight, whether it is a weighted one.
fn rows(snapshot: &Snapshot, series: &str) -> Vec<(u64, f64, u64, bool)> {
    let mut rows = Vec::new();
    let mut take = |row: dotter_store::Row<'_>| {
        let value = row.number().unwrap();
        rows.push((row.time().nanos(), value, row.weight(), row.shape().is_weighted()));
        ControlFlow::Continue(())
    };
    snapshot.scan().rows(series, TimeRange::ALL, &mut take).unwrap();
    rows
}

/// The middle of the 64th of a power of two that a number lies in, found by arithmetic; of finite numbers that are not
/// very small.
fn middle(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return number;
    }
    let width = 2_f64.powi(number.abs().log2().floor() as i32) / 64.0;
    ((number.abs() / width).floor() + 0.5) * width * number.signum()
}

/// By step and bits of the value's middle, how often it was observed.
fn sums(observed: impl IntoIterator<Item = Observed>) -> BTreeMap<(u64, u64), u64> {
    let mut sums = BTreeMap::new();
    for (time, value, weight) in observed {
        *sums.entry((time / STEP, middle(value).to_bits())).or_default() += weight;
    }
    sums
}

/// Every dot that was stored is there, or counted with its reason.
fn assert_accounted(snapshot: &Snapshot) {
    let (stat, totals) = (snapshot.stat(), snapshot.ledger().totals);
    let stored: u64 = snapshot.ledger().iter().map(|(_, account)| account.stored()).sum();
    assert_eq!(
        stat.dots + totals.replaced + totals.deleted + totals.expired + totals.damaged + totals.condensed,
        stored + totals.stored_other,
        "{stat:?} {totals:?}"
    );
}

fn delete(dir: &Path, series: &str, from: u64, until: u64) {
    let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
    let deletion = Deletion { pattern: Pattern::new(series), first_key: None, last_key: None, range };
    dotter_store::delete(dir, &deletion).unwrap();
}

/// A value that comes again, and now and then any other.
fn value(random: &mut Random) -> f64 {
    match random.below(20) {
        0 => 0.0,
        1 => -(random.below(1000) as f64),
        2 => f64::INFINITY,
        3 => random.below(1 << 40) as f64 / 1024.0,
        _ => (1 + random.below(50)) as f64 / 8.0,
    }
}

#[test]
fn ten_thousand_observations_of_a_step_are_as_many_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Some(Writer::open(dir.path()).unwrap());
    condense_all(dir.path());
    let mut random = Random::new(1);
    let observed: Vec<Observed> =
        (0..10_000).map(|n| (BEGIN + n * 1_000_000, value(&mut random), 1)).collect();
    publish(writer.as_mut().unwrap(), "took", &histogram("F"), true, &observed);
    assert_accounted(&open(dir.path()));
    seal(dir.path(), &mut writer);
    let snapshot = open(dir.path());
    let found = rows(&snapshot, "took");
    assert_eq!(found.iter().map(|row| row.2).sum::<u64>(), 10_000);
    let expected = sums(observed.iter().copied());
    assert_eq!(sums(found.iter().map(|row| (row.0, row.1, row.2))), expected);
    // A row for each value, in the order of their values, at the beginning of the step, a nanosecond apart.
    assert_eq!(found.len(), expected.len());
    assert!(found.is_sorted_by(|a, b| a.1 < b.1) && found.iter().all(|row| row.3));
    assert!(found.iter().zip(0..).all(|(row, n)| row.0 == BEGIN + n));
    assert_eq!(snapshot.ledger().totals.condensed, 10_000 - found.len() as u64);
    assert_accounted(&snapshot);
    // The shape of the series stays that of the dot that was committed last.
    assert_eq!(snapshot.shape("took").unwrap(), Some(histogram("F")));
    assert_eq!(snapshot.shapes("took", TimeRange::ALL).unwrap(), [histogram("FU")]);
    let (mut dots, mut weights) = (Vec::new(), Vec::new());
    snapshot.scan().read_weighted("took", TimeRange::ALL, &mut dots, &mut weights).unwrap();
    assert_eq!(dots, snapshot.read("took", TimeRange::ALL).unwrap());
    assert_eq!(weights, found.iter().map(|row| row.2).collect::<Vec<_>>());
}

#[test]
fn nothing_is_condensed_but_stamped_observations_that_a_rule_means() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Some(Writer::open(dir.path()).unwrap());
    let rules = "[[rule]]\npattern = \"kept\"\nkeep = \"raw:400y\"\n[[rule]]\npattern = \"skipped\"\n\
                 keep = \"raw:400y\"\ncondense = \"2h\"\n";
    condense_all(dir.path());
    let all = fs::read_to_string(dir.path().join("retention.toml")).unwrap();
    fs::write(dir.path().join("retention.toml"), format!("{rules}{all}")).unwrap();
    take_rules(dir.path()).unwrap();
    let observed: Vec<Observed> = (0..100).map(|n| (BEGIN + n, 1.0 + n as f64 / 1e6, 1)).collect();
    let gauge = Shape::number().with_kind(Kind::Gauge);
    let of = writer.as_mut().unwrap();
    for (series, shape, clock) in [
        ("kept", &histogram("F"), true),
        ("skipped", &histogram("F"), true),
        ("given", &histogram("F"), false),
        ("gauge", &gauge, true),
        ("unsaid", &Shape::from(Format::new("FU").unwrap()), true),
        ("took", &histogram("F"), true),
    ] {
        publish(of, series, shape, clock, &observed);
    }
    seal(dir.path(), &mut writer);
    for series in ["kept", "skipped", "given", "gauge", "unsaid"] {
        let found: Vec<Observed> =
            rows(&open(dir.path()), series).iter().map(|row| (row.0, row.1, row.2)).collect();
        assert_eq!(found, observed, "{series}");
    }
    assert_eq!(rows(&open(dir.path()), "took"), [(BEGIN, middle(1.0), 100, true)]);
    // What has a time that was given is replaced by a later commit of that time.
    add(dir.path(), vec![(name("given"), Timestamp::from_nanos(BEGIN + 5), 7.0)]).unwrap();
    compact_major(dir.path(), &never, &|_, _| ()).unwrap();
    let found = rows(&open(dir.path()), "given");
    assert_eq!((found.len(), found[5].1), (100, 7.0));
    assert_accounted(&open(dir.path()));
}

#[test]
fn what_two_seals_have_of_one_step_is_added_up_by_whoever_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Some(Writer::open(dir.path()).unwrap());
    condense_all(dir.path());
    for _ in 0..2 {
        let observed: Vec<Observed> = (0..50).map(|n| (BEGIN + n, 3.0, 1)).collect();
        publish(writer.as_mut().unwrap(), "took", &histogram("F"), true, &observed);
        publish(writer.as_mut().unwrap(), "took", &histogram("FU"), true, &[(BEGIN + 9, 3.0, u64::MAX / 4)]);
        seal(dir.path(), &mut writer);
    }
    // Behind them what no seal has seen.
    publish(writer.as_mut().unwrap(), "took", &histogram("F"), true, &[(BEGIN + STEP / 2, 3.0, 1)]);
    let row = |n: u64| (BEGIN + n, middle(3.0), 50 + u64::MAX / 4, true);
    for _ in 0..2 {
        assert_eq!(rows(&open(dir.path()), "took"), [row(0), row(1), (BEGIN + STEP / 2, 3.0, 1, false)]);
        assert_accounted(&open(dir.path()));
        compact_major(dir.path(), &never, &|_, _| ()).unwrap();
    }
}

#[test]
fn a_seal_that_ends_before_its_edit_and_is_done_again_gives_the_same() {
    let root = tempfile::tempdir().unwrap();
    let (once, again) = (root.path().join("once"), root.path().join("again"));
    let mut writer = Some(Writer::open(&once).unwrap());
    condense_all(&once);
    let mut random = Random::new(2);
    for series in ["a", "b", "c"] {
        let observed: Vec<Observed> =
            (0..3000).map(|n| (BEGIN + n * 100_000_000, value(&mut random), 1)).collect();
        publish(writer.as_mut().unwrap(), series, &histogram("F"), true, &observed);
    }
    close(&once, &mut writer);
    drop(writer);
    copy(&once, &again);
    seal_all(&once, &never).unwrap();
    let mut given_up = 0;
    for asked_max in 0..20 {
        let asked = Counter::new(0);
        let cancel = || {
            asked.set(asked.get() + 1);
            asked.get() > asked_max
        };
        // As a process that is killed leaves it: files that no list names, and the log as it was.
        given_up += seal_all(&again, &cancel).is_err() as u32;
    }
    assert!(given_up > 1, "{given_up}");
    seal_all(&again, &never).unwrap();
    let (one, other) = (open(&once), open(&again));
    for series in ["a", "b", "c"] {
        assert_eq!(rows(&one, series), rows(&other, series));
    }
    assert_eq!(one.ledger(), other.ledger());
    assert!(one.ledger().totals.condensed > 3000);
    assert_accounted(&other);
}

/// A delete of the middle of a step, again and again: rows at the beginning of the step must not bring it back.
#[test]
fn a_delete_that_comes_while_it_is_sealed_deletes_what_was_observed_until_then() {
    for deletes_max in [1, u32::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Some(Writer::open(dir.path()).unwrap());
        condense_all(dir.path());
        let observed: Vec<Observed> = (0..1000).map(|n| (BEGIN + n * STEP / 1000, 3.0, 1)).collect();
        for series in ["a", "b"] {
            publish(writer.as_mut().unwrap(), series, &histogram("F"), true, &observed);
        }
        close(dir.path(), &mut writer);
        let deletes = Counter::new(0);
        let cancel = || {
            if deletes.get() < deletes_max {
                deletes.set(deletes.get() + 1);
                delete(dir.path(), "b", BEGIN + STEP / 2, BEGIN + STEP);
            }
            false
        };
        seal_all(dir.path(), &cancel).unwrap();
        let snapshot = open(dir.path());
        assert_eq!(snapshot.stat().wal_dots, 0, "it is sealed, however many deletes came");
        let weights = |series| rows(&snapshot, series).iter().map(|row| row.2).sum::<u64>();
        assert_eq!((weights("a"), weights("b")), (1000, 500));
        // Where they come without end, what is sealed is not condensed.
        let expected = if deletes_max == 1 { 1 } else { 500 };
        assert_eq!(rows(&snapshot, "b").len(), expected);
        assert_accounted(&snapshot);
    }
}

#[test]
fn a_rebuilt_list_knows_how_much_was_condensed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let mut writer = Some(Writer::open(&dir).unwrap());
    condense_all(&dir);
    for round in 0..3_u64 {
        let observed: Vec<Observed> = (0..100).map(|n| (BEGIN + round * STEP + n, 3.0, 1)).collect();
        publish(writer.as_mut().unwrap(), "took", &histogram("F"), true, &observed);
        // A commit of another process in the middle of the log: two segments.
        add(&dir, vec![(name("other"), Timestamp::from_nanos(round), 1.0)]).unwrap();
        publish(writer.as_mut().unwrap(), "took", &histogram("F"), true, &observed);
        seal(&dir, &mut writer);
        let expected = open(&dir);
        assert_eq!(expected.ledger().totals.condensed, (round + 1) * 198);
        let lost = root.path().join(round.to_string());
        copy(&dir, &lost);
        for list in ["MANIFEST", "MANIFEST.2"] {
            fs::write(lost.join(list), b"rubbish").unwrap();
        }
        let rebuilt = open(&lost);
        assert_eq!(rows(&rebuilt, "took"), rows(&expected, "took"));
        assert_eq!(rebuilt.ledger().totals, expected.ledger().totals);
        assert_accounted(&rebuilt);
    }
}

#[test]
fn chunks_of_weighted_rows_say_what_all_observations_come_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Some(Writer::open(dir.path()).unwrap());
    condense_all(dir.path());
    let mut random = Random::new(3);
    let observed: Vec<Observed> =
        (0..50_000).map(|n| (BEGIN + n * STEP / 5_000, 1.0 + random.below(1 << 20) as f64, 1)).collect();
    publish(writer.as_mut().unwrap(), "took", &histogram("F"), true, &observed);
    seal(dir.path(), &mut writer);
    let chunks = open(dir.path()).chunks("took", TimeRange::ALL).unwrap();
    let dots: u64 = chunks.iter().map(|chunk| chunk.dots).sum();
    assert_eq!(chunks.len(), 2);
    let (mut values, mut weights) = (Vec::new(), Vec::new());
    open(dir.path()).scan().read_weighted("took", TimeRange::ALL, &mut values, &mut weights).unwrap();
    let summary = chunks[0].summary.expect("it is long enough");
    assert!(dots > 3000 && dots < 20_000, "{dots}");
    let first = chunks[0].dots as usize;
    assert_eq!(summary.count, weights[..first].iter().sum::<u64>());
    let sum = |count: usize| -> f64 {
        values[..count].iter().zip(&weights).map(|(dot, weight)| dot.value * *weight as f64).sum()
    };
    assert!((summary.sum / sum(first) - 1.0).abs() < 1e-9, "{summary:?}");
    // Of all of them the sum is right to 1/128, and by far where values lie anyhow within their 64ths.
    let exact: f64 = observed.iter().map(|(_, value, _)| value).sum();
    assert!((sum(values.len()) / exact - 1.0).abs() < 0.001, "{exact}");
}

/// Prints what a rule saves.
#[test]
fn a_hundred_thousand_observations_of_a_step_become_some_five_hundred_rows() {
    let root = tempfile::tempdir().unwrap();
    let mut random = Random::new(4);
    let mut uniform = || (random.below(1 << 53) + 1) as f64 / (1_u64 << 53) as f64;
    // Source: Box and Muller, 1958: the logarithms are distributed as normal, with a deviation of 0.75.
    let mut value =
        || ((-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos() * 0.75).exp();
    let observed: Vec<Observed> = (0..100_000).map(|n| (BEGIN + n * 99_991, value(), 1)).collect();
    let [(rows_before, bytes_before), (rows_after, bytes_after)] = [false, true].map(|condenses| {
        let dir = root.path().join(condenses.to_string());
        let mut writer = Some(Writer::open(&dir).unwrap());
        if condenses {
            condense_all(&dir);
        }
        publish(writer.as_mut().unwrap(), "took", &histogram("F"), true, &observed);
        seal(&dir, &mut writer);
        let stat = open(&dir).stat();
        (stat.segment_dots, stat.segment_bytes)
    });
    println!("{rows_before} rows, {bytes_before} bytes; condensed {rows_after} rows, {bytes_after} bytes");
    assert_eq!(rows_before, 100_000);
    assert!((450..600).contains(&rows_after) && bytes_after * 100 < bytes_before);
}

/// One observation as it is known to be kept.
#[derive(Clone, Copy)]
struct Kept {
    observed: Observed,
    is_sealed: bool,
}

/// Random observations in rings, deletes, seals and merges, beside a list.
struct Run {
    random: Random,
    dir: tempfile::TempDir,
    writer: Option<Writer>,
    /// By series; each is observed in its own way.
    kept: Vec<(&'static str, Vec<Kept>)>,
    now: u64,
    hidden: u64,
}

impl Run {
    fn publish(&mut self) {
        let of = self.random.below(3) as usize;
        let shapes: &[&str] = [&["F"][..], &["FU"], &["F", "FU"]][of];
        let shape = histogram(shapes[self.random.below(shapes.len() as u64) as usize]);
        let mut observed = Vec::new();
        for _ in 0..=self.random.below(200) {
            self.now += self.random.below(STEP / 20);
            let time = self.now - self.random.below(2) * self.random.below(STEP);
            let weight = if shape.is_weighted() { self.random.below(5) } else { 1 };
            observed.push((time, value(&mut self.random), weight));
        }
        let (series, kept) = &mut self.kept[of];
        publish(self.writer.as_mut().unwrap(), series, &shape, true, &observed);
        kept.extend(observed.into_iter().map(|observed| Kept { observed, is_sealed: false }));
    }

    fn delete(&mut self) {
        let (series, kept) = &mut self.kept[self.random.below(3) as usize];
        let from = self.now - self.random.below(20 * STEP).min(self.now - BEGIN);
        let until = from + self.random.below(2 * STEP);
        delete(self.dir.path(), series, from, until);
        let before = kept.len();
        kept.retain(|kept| !(from..until).contains(&kept.observed.0));
        self.hidden += (before - kept.len()) as u64;
    }

    fn seal(&mut self) {
        seal(self.dir.path(), &mut self.writer);
        for kept in self.kept.iter_mut().flat_map(|(_, kept)| kept) {
            // From now on a delete hides the whole step where it hides its beginning.
            let (time, value, _) = &mut kept.observed;
            (*time, *value) = (*time / STEP * STEP, middle(*value));
            kept.is_sealed = true;
        }
    }

    fn check(&self) {
        let snapshot = open(self.dir.path());
        for (series, kept) in &self.kept {
            let found = rows(&snapshot, series);
            let sum = sums(found.iter().map(|row| (row.0, row.1, row.2)));
            assert_eq!(sum, sums(kept.iter().map(|kept| kept.observed)), "{series}");
            let unsealed = kept.iter().filter(|kept| !kept.is_sealed).count();
            assert!(found.len() <= kept.len());
            // What is not sealed is there to the bit.
            let raw = |(_, value, _): Observed| found.iter().any(|row| row.1.to_bits() == value.to_bits());
            assert!(kept.iter().filter(|kept| !kept.is_sealed).all(|kept| raw(kept.observed)));
            let plain = found.iter().filter(|row| !row.3).count();
            assert!(plain <= unsealed, "{series}: what is sealed is condensed");
            let (mut dots, mut weights) = (Vec::new(), Vec::new());
            snapshot.scan().read_weighted(series, TimeRange::ALL, &mut dots, &mut weights).unwrap();
            assert_eq!(dots, snapshot.read(series, TimeRange::ALL).unwrap());
            assert_eq!(weights, found.iter().map(|row| row.2).collect::<Vec<_>>());
        }
        assert_accounted(&snapshot);
    }
}

#[test]
fn through_seals_merges_and_deletes_everything_is_there_as_often_as_it_was_observed() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Some(Writer::open_with(dir.path(), 8 << 10).unwrap());
    condense_all(dir.path());
    let kept = ["a", "b", "c"].map(|series| (series, Vec::new())).into();
    let random = Random::from_env();
    let mut run = Run { random, dir, writer, kept, now: BEGIN, hidden: 0 };
    for _ in 0..400 {
        match run.random.below(20) {
            0..10 => run.publish(),
            10..12 => run.delete(),
            12..15 => run.seal(),
            15..17 => _ = compact(run.dir.path(), &never).unwrap(),
            17 => _ = compact_major(run.dir.path(), &never, &|_, _| ()).unwrap(),
            _ => run.check(),
        }
    }
    run.seal();
    run.check();
    let totals = open(run.dir.path()).ledger().totals;
    assert!(run.hidden > 0 && totals.deleted > 0 && totals.condensed > 1000, "{totals:?}");
    assert!(verify(run.dir.path()).unwrap().damage.is_empty());
}
