//! Random work on a store, beside readers that follow it: each sees at any time what a newcomer sees.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use dotter_dot::{Dots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{Deletion, Limits, Pattern, Reader, Snapshot, Transaction, Writer};
use proptest::prelude::*;
use support::{machine, rows};

/// A file of the log is closed behind so many bytes.
const WAL_FILE_BYTES: u64 = 16 << 10;
/// Where time begins, in seconds.
const START: u64 = 1_700_006_400;
const HOUR: u64 = 3_600;

#[derive(Clone, Debug)]
enum Step {
    /// Dots through the log: of which series, and how many.
    Log(u8, u16),
    /// A transaction of another process.
    Add(u8, u16),
    /// The log is closed and sealed.
    Seal,
    Compact,
    Major,
    /// So many hours go by, then a retention pass.
    Retain(u16),
    /// A pattern, and which hours.
    Delete(u8, u8),
    /// Rules that keep dots so many days.
    Rules(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_u8, 1..400_u16).prop_map(|(series, count)| Step::Log(series, count)),
        4 => (0..6_u8, 1..50_u16).prop_map(|(series, count)| Step::Add(series, count)),
        2 => Just(Step::Seal),
        1 => Just(Step::Compact),
        1 => Just(Step::Major),
        2 => (0..40_u16).prop_map(Step::Retain),
        1 => (0..8_u8, any::<u8>()).prop_map(|(pattern, hours)| Step::Delete(pattern, hours)),
        1 => (0..3_u8).prop_map(Step::Rules),
    ]
}

struct Run {
    dir: tempfile::TempDir,
    writer: Option<Writer>,
    /// Seconds since the start.
    now: u64,
    count: u64,
}

fn name(series: u8) -> SeriesName {
    SeriesName::new(["a", "a.b", "a.c", "b", "b.long", "c"][series as usize % 6]).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds).unwrap()
}

impl Run {
    fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Times of some dots up to now, a minute apart.
    fn times(&mut self, count: u16) -> Vec<Timestamp> {
        let last = self.now;
        (0..count as u64).rev().filter_map(|back| last.checked_sub(back * 60)).map(at).collect()
    }

    fn value(&mut self) -> f64 {
        self.count += 1;
        self.count as f64
    }

    fn take(&mut self, step: &Step) {
        self.now += 60;
        match step {
            Step::Log(series, count) => {
                let times = self.times(*count);
                let values: Vec<f64> = times.iter().map(|_| self.value()).collect();
                let writer = self.writer.as_mut().expect("there is a writer between steps");
                let key = writer.series(&name(*series), &Shape::number());
                let mut dots = Dots::default();
                for (time, value) in times.iter().zip(values) {
                    dots.push_number(key, series % 2 == 0, *time, value);
                }
                writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
                writer.sync().unwrap();
            }
            Step::Add(series, count) => {
                let times = self.times(*count);
                let row = |time| (name(*series), time, self.value());
                let rows: Vec<_> = times.into_iter().map(row).collect();
                dotter_store::add(self.dir(), rows).unwrap();
            }
            Step::Seal => {
                self.writer = None;
                self.writer = Some(Writer::open_with(self.dir(), WAL_FILE_BYTES).unwrap());
                dotter_store::seal_all(self.dir(), &|| false).unwrap();
            }
            Step::Compact => drop(dotter_store::compact(self.dir(), &|| false).unwrap()),
            Step::Major => {
                dotter_store::compact_major(self.dir(), &|| false, &|_, _| ()).unwrap();
            }
            Step::Retain(hours) => {
                self.now += *hours as u64 * HOUR;
                let limits = Limits::default();
                dotter_store::retain(self.dir(), &machine(at(self.now)), &limits, &|| false).unwrap();
            }
            Step::Delete(pattern, hours) => {
                let pattern =
                    Pattern::new(["a", "a%", "b", "c", "%", "none", "a.%", "%long"][*pattern as usize]);
                let range = match hours % 4 {
                    0 => TimeRange::ALL,
                    part => {
                        TimeRange::new(at(self.now / 4 * (part as u64 - 1)), at(self.now / 4 * part as u64))
                    }
                };
                let deletion = Deletion { pattern, first_key: None, last_key: None, range };
                dotter_store::delete(self.dir(), &deletion).unwrap();
            }
            Step::Rules(number) => {
                let keep = ["raw:6h,1m:2d,1h:30d", "raw:1d", "1m:6h,10m:10d"][*number as usize];
                let text = format!("[[rule]]\npattern = \"a%\"\nkeep = \"{keep}\"\n");
                fs::write(self.dir().join("retention.toml"), text).unwrap();
                dotter_store::take_rules(self.dir()).unwrap();
            }
        }
    }
}

/// Whether two snapshots are of the same store at the same time.
fn check(found: &Snapshot, expected: &Snapshot) {
    let names: Vec<SeriesName> = expected.series().collect();
    assert!(found.series().eq(names.iter().cloned()), "series");
    assert_eq!(found.stat(), expected.stat());
    assert_eq!(found.ledger().totals, expected.ledger().totals);
    for name in names.iter().map(|name| name.as_str()).chain(["none"]) {
        let of = |snapshot: &Snapshot| rows(&mut snapshot.scan(), name, TimeRange::ALL);
        assert_eq!(of(found), of(expected), "{name}");
        assert_eq!(found.contains(name), expected.contains(name), "{name}");
        assert_eq!(found.last(name, 3).unwrap(), expected.last(name, 3).unwrap(), "{name}");
        let steps = |snapshot: &Snapshot| {
            snapshot
                .rollups(name, TimeRange::ALL, Duration::from_secs(HOUR))
                .map_err(|error| error.to_string())
        };
        assert_eq!(steps(found), steps(expected), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whoever_follows_a_store_sees_what_a_newcomer_sees(
        steps in prop::collection::vec((step(), 0..4_u8), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let writer = Some(Writer::open_with(dir.path(), WAL_FILE_BYTES).unwrap());
        let mut run = Run { dir, writer, now: 20 * HOUR, count: 0 };
        let open = || Reader::open(run.dir.path()).unwrap();
        // One looks after each step, and knows all series from the first look on. One looks now and then. One never asks
        // for series.
        let (mut each, mut rare, mut silent) = (open(), open(), open());
        assert_eq!(each.snapshot().series().len(), 0);
        let mut held = Vec::new();
        for (step, looks) in &steps {
            run.take(step);
            let newcomer = Reader::open(run.dir()).unwrap().snapshot();
            each.refresh(None).unwrap();
            check(&each.snapshot(), &newcomer);
            silent.refresh(None).unwrap();
            prop_assert_eq!(silent.snapshot().generation(), newcomer.generation());
            if *looks == 0 {
                rare.refresh(None).unwrap();
                check(&rare.snapshot(), &newcomer);
                // A snapshot stays what it was, whatever its reader sees later.
                held.push((rare.snapshot(), rare.snapshot().stat()));
            }
        }
        check(&silent.snapshot(), &Reader::open(run.dir()).unwrap().snapshot());
        for (snapshot, stat) in held {
            prop_assert_eq!(snapshot.stat(), stat);
        }
    }
}
