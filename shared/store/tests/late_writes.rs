//! What a cache is told: whenever the past of a series gives another answer, its number or the epoch has changed; and
//! neither does while dots come in the order of their times.

mod support;

use std::collections::HashMap;
use std::fs;

use dotter_dot::{Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{
    Deletion, Error, Limits, Pattern, Reader, Snapshot, Transaction, Writer, add, backup, compact,
    compact_major, delete, retain, seal_all, take_rules,
};
use proptest::prelude::*;
use support::{copy, flip, machine, published};

const SERIES: [&str; 3] = ["a", "b", "c"];
const WAL_FILE_BYTES: u64 = 8 << 10;
const DAY: u64 = 86_400;

fn never() -> bool {
    false
}

/// What `work` gives once no other has the lock that it takes: a filter command of another test is for an instant, between
/// fork and exec, a copy of this process with all its locks.
fn once_free<T>(mut work: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match work() {
            Err(Error::Locked(_)) => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(seconds).unwrap()
}

/// Something that is done to a store.
#[derive(Clone, Debug)]
enum Step {
    /// A dot of a series through the log: so many seconds ahead of the newest, or behind it.
    Log {
        of: usize,
        seconds: i64,
        is_clock: bool,
    },
    /// Some dots of a series past the log, the same way.
    Add {
        of: usize,
        seconds: i64,
        count: u64,
    },
    Delete {
        of: usize,
        days: u64,
    },
    Seal,
    /// The writer ends, and another one begins.
    Restart,
    Compact,
    CompactAll,
    /// All rows pass through a command that changes some values.
    Filter,
    /// The rules change.
    Rules {
        days: u64,
    },
    /// A retention pass, so many days later.
    Retain {
        days: u64,
    },
    /// The list is damaged in both of its files.
    SpoilList,
    /// The store is replaced by a copy of it that lacks what came since.
    Restore,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let seconds = || prop_oneof![5 => 1..4000_i64, 2 => -200_000..1_i64];
    prop_oneof![
        8 => (0..3_usize, seconds(), any::<bool>()).prop_map(|(of, seconds, is_clock)| Step::Log { of, seconds, is_clock }),
        6 => (0..3_usize, seconds(), 1..20_u64).prop_map(|(of, seconds, count)| Step::Add { of, seconds, count }),
        2 => (0..3_usize, 0..2_u64).prop_map(|(of, days)| Step::Delete { of, days }),
        3 => Just(Step::Seal),
        1 => Just(Step::Restart),
        3 => Just(Step::Compact),
        1 => Just(Step::CompactAll),
        1 => Just(Step::Filter),
        1 => (3..6_u64).prop_map(|days| Step::Rules { days }),
        1 => (0..4_u64).prop_map(|days| Step::Retain { days }),
        1 => Just(Step::SpoilList),
        1 => Just(Step::Restore),
        8 => Just(Step::Look),
    ]
}

/// A store, and the state of whoever works on it.
struct Work {
    root: tempfile::TempDir,
    writer: Option<Writer>,
    /// The time of the newest dot of each series, in seconds.
    newest: [u64; 3],
    days: u64,
    count: u64,
}

impl Work {
    fn new() -> Work {
        let root = tempfile::tempdir().unwrap();
        let writer = Writer::open_with(&root.path().join("store"), WAL_FILE_BYTES).unwrap();
        Work { root, writer: Some(writer), newest: [100 * DAY; 3], days: 100, count: 0 }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.root.path().join("store")
    }

    /// A time in seconds, and the newest one moves along.
    fn time(&mut self, of: usize, seconds: i64) -> u64 {
        let time = self.newest[of].saturating_add_signed(seconds);
        self.newest[of] = self.newest[of].max(time);
        time
    }

    fn log(&mut self, of: usize, time: u64, is_clock: bool) {
        self.count += 1;
        let writer = self.writer.as_mut().unwrap();
        let key = writer.series(&SeriesName::new(SERIES[of]).unwrap(), &Shape::number());
        let mut dots = Dots::default();
        dots.push_number(key, is_clock, at(time), self.count as f64);
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
    }

    fn add(&mut self, of: usize, time: u64, count: u64) {
        self.count += 1;
        let row = |n| (SeriesName::new(SERIES[of]).unwrap(), at(time + n), self.count as f64);
        add(&self.dir(), (0..count).map(row).collect::<NamedDots>()).unwrap();
        self.newest[of] = self.newest[of].max(time + count - 1);
    }

    fn filter(&self) {
        let write = |name: &str, row: &dotter_store::Row<'_>, out: &mut Vec<u8>| {
            let value = row.number().unwrap_or(0.0);
            out.extend_from_slice(format!("{name} {} {value}\n", row.time().nanos()).as_bytes());
        };
        let mut read = |line: &str| {
            let mut words = line.split(' ');
            let (name, time, value) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let value: f64 = value.parse().unwrap();
            Ok(dotter_store::FilteredRow {
                name: SeriesName::new(name).unwrap(),
                time: Timestamp::from_nanos(time.parse().unwrap()),
                shape: Shape::number(),
                bytes: (value + 0.5).to_bits().to_le_bytes().to_vec(),
            })
        };
        once_free(|| {
            dotter_store::compact_filtered(&self.dir(), "cat", &write, &mut read, &never, &|_, _| ())
        });
    }

    fn run(&mut self, step: &Step) {
        let dir = self.dir();
        match *step {
            Step::Log { of, seconds, is_clock } => {
                let time = self.time(of, seconds);
                self.log(of, time, is_clock);
            }
            Step::Add { of, seconds, count } => {
                let time = self.time(of, seconds);
                self.add(of, time, count);
            }
            Step::Delete { of, days } => {
                let pattern = Pattern::new(SERIES[of]);
                let from = self.newest[of].saturating_sub(days * DAY + 400);
                let range = TimeRange::new(at(from), at(from + 700));
                delete(&dir, &Deletion { pattern, first_key: None, last_key: None, range }).unwrap();
            }
            Step::Seal => _ = once_free(|| seal_all(&dir, &never)),
            Step::Restart => {
                self.writer = None;
                self.writer = Some(once_free(|| Writer::open_with(&dir, WAL_FILE_BYTES)));
            }
            Step::Compact => _ = once_free(|| compact(&dir, &never)),
            Step::CompactAll => _ = once_free(|| compact_major(&dir, &never, &|_, _| ())),
            Step::Filter => self.filter(),
            Step::Rules { days } => {
                let rule = format!("[[rule]]\npattern = \"%\"\nkeep = \"raw:{days}d\"\n");
                fs::write(dir.join("retention.toml"), rule).unwrap();
                take_rules(&dir).unwrap();
            }
            Step::Retain { days } => {
                self.days += days;
                let machine = machine(at(self.days * DAY));
                once_free(|| retain(&dir, &machine, &Limits::default(), &never));
            }
            Step::SpoilList => {
                let at = published(&dir) - 16;
                ["MANIFEST", "MANIFEST.2"].iter().for_each(|name| flip(&dir.join(name), at));
                // So that the next damage is one of its own.
                dotter_store::repair(&dir, false).unwrap();
            }
            Step::Restore => {
                self.writer = None;
                let (copied, aside) = (self.root.path().join("copied"), self.root.path().join("aside"));
                backup(&dir, &copied, &never).unwrap();
                // What comes between is taken back.
                self.add(0, 50 * DAY, 3);
                fs::rename(&dir, &aside).unwrap();
                fs::rename(&copied, &dir).unwrap();
                fs::remove_dir_all(&aside).unwrap();
                self.writer = Some(once_free(|| Writer::open_with(&dir, WAL_FILE_BYTES)));
            }
            Step::Look => {}
        }
    }
}

/// The time of the newest dot of a series, and all its dots.
type Seen = (u64, Vec<(u64, u64)>);

fn seen(snapshot: &Snapshot, name: &str) -> Option<Seen> {
    let dots = snapshot.read(name, TimeRange::ALL).unwrap();
    let dots: Vec<_> = dots.iter().map(|dot| (dot.time.nanos(), dot.value.to_bits())).collect();
    // The last of equal clock stamps have later times than their stamps.
    let chunks = snapshot.chunks(name, TimeRange::ALL).unwrap();
    let newest = chunks.iter().map(|chunk| chunk.last.nanos()).max()?;
    Some((newest, dots))
}

/// Answers as a cache keeps them: by series, epoch and number.
#[derive(Default)]
struct Cache(HashMap<(usize, u64, u64), Seen>);

impl Cache {
    /// Compares every answer that is kept under the numbers of today with what is read today.
    fn check(&mut self, snapshot: &Snapshot, is_latest: bool) {
        for (of, name) in SERIES.iter().enumerate() {
            let key = (of, snapshot.store_epoch(), snapshot.late_writes(name));
            let now = seen(snapshot, name);
            if let Some((newest, then)) = self.0.get(&key) {
                let newest = match &now {
                    // This snapshot is the earlier of the two.
                    Some((earlier, _)) if !is_latest => *earlier.min(newest),
                    None if !is_latest => continue,
                    _ => *newest,
                };
                let up_to = |dots: &[(u64, u64)]| -> Vec<_> {
                    dots.iter().copied().filter(|(time, _)| *time <= newest).collect()
                };
                let dots = now.as_ref().map_or(&[][..], |(_, dots)| dots);
                assert_eq!(up_to(dots), up_to(then), "{name} {key:?}");
            }
            if let Some(now) = now
                && (is_latest || !self.0.contains_key(&key))
            {
                self.0.insert(key, now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn whenever_the_past_is_another_a_number_has_changed(steps in prop::collection::vec(step(), 1..60)) {
        let mut work = Work::new();
        let mut reader = Reader::open(&work.dir()).unwrap();
        let mut cache = Cache::default();
        let mut snapshots = Vec::new();
        for step in &steps {
            work.run(step);
            if let Step::Look = step {
                reader.refresh(None).unwrap();
                cache.check(&reader.snapshot(), true);
                snapshots.push(reader.snapshot());
                // A snapshot of before says nothing of now.
                if let [.., before, _] = &snapshots[..] {
                    cache.check(before, false);
                    cache.check(&reader.snapshot(), true);
                }
            }
        }
    }

    #[test]
    fn no_number_changes_while_dots_come_in_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut work = Work::new();
        let mut reader = Reader::open(&work.dir()).unwrap();
        (0..3).for_each(|of| work.log(of, 99 * DAY, true));
        reader.refresh(None).unwrap();
        let numbers = |reader: &Reader| {
            let snapshot = reader.snapshot();
            (snapshot.store_epoch(), SERIES.map(|name| snapshot.late_writes(name)))
        };
        let before = numbers(&reader);
        for step in steps {
            let step = match step {
                Step::Log { of, seconds, is_clock } => Step::Log { of, seconds: seconds.abs() + 1, is_clock },
                Step::Add { of, seconds, count } => Step::Add { of, seconds: seconds.abs() + 1, count },
                // Of a merge that was itself merged before the reader looked, nobody can tell what was in it.
                Step::Seal | Step::Restart | Step::Compact => step,
                _ => Step::Look,
            };
            work.run(&step);
            reader.refresh(None).unwrap();
            prop_assert_eq!(numbers(&reader), before, "{:?}", step);
        }
    }
}

#[test]
fn a_number_is_changed_by_what_changes_the_past_of_its_series_and_not_of_others() {
    let mut work = Work::new();
    (0..3).for_each(|of| work.log(of, 99 * DAY, true));
    let mut reader = Reader::open(&work.dir()).unwrap();
    let mut numbers = |work: &Work| {
        reader.refresh(None).unwrap();
        assert!(work.dir().exists());
        let snapshot = reader.snapshot();
        SERIES.map(|name| snapshot.late_writes(name))
    };
    let mut before = numbers(&work);
    let mut changes = |work: &Work, expected: [bool; 3], what: &str| {
        let after = numbers(work);
        assert_eq!([0, 1, 2].map(|of| after[of] != before[of]), expected, "{what}");
        before = after;
    };
    work.log(0, 98 * DAY, false);
    changes(&work, [true, false, false], "a late dot");
    work.log(1, 99 * DAY, true);
    changes(&work, [false, true, false], "an equal stamp");
    work.add(2, 98 * DAY, 1);
    changes(&work, [false, false, true], "a late foreign one");
    work.add(2, 99 * DAY + 1, 9);
    changes(&work, [false; 3], "one in order");
    work.run(&Step::Delete { of: 1, days: 0 });
    changes(&work, [false, true, false], "a delete");
    work.log(1, 99 * DAY + 1, true);
    changes(&work, [false; 3], "what comes behind a delete");
    work.filter();
    changes(&work, [true; 3], "a filter command");
}

#[test]
fn a_snapshot_that_is_not_the_latest_gives_no_number_that_could_be_kept() {
    let mut work = Work::new();
    work.log(0, 99 * DAY, true);
    let mut reader = Reader::open(&work.dir()).unwrap();
    let before = reader.snapshot();
    work.log(0, 98 * DAY, true);
    reader.refresh(None).unwrap();
    // Not asked about before: its newest dot was never looked up.
    let numbers = [before.late_writes("a"), before.late_writes("a"), reader.snapshot().late_writes("a")];
    assert!(numbers[0] != numbers[1] && !numbers[..2].contains(&numbers[2]), "{numbers:?}");
    // Asked about: what was true of it then is still known.
    let now = reader.snapshot();
    work.log(1, 98 * DAY, true);
    reader.refresh(None).unwrap();
    assert_eq!(now.late_writes("a"), numbers[2]);
    work.log(0, 97 * DAY, true);
    reader.refresh(None).unwrap();
    assert_ne!(now.late_writes("a"), reader.snapshot().late_writes("a"));
}

#[test]
fn the_epoch_changes_with_the_rules_a_rebuilt_list_and_a_restored_store_and_no_two_readers_share_one() {
    let mut work = Work::new();
    work.log(0, 99 * DAY, true);
    work.add(1, 99 * DAY, 3);
    let mut reader = Reader::open(&work.dir()).unwrap();
    assert_ne!(Reader::open(&work.dir()).unwrap().snapshot().store_epoch(), reader.snapshot().store_epoch());
    let mut before = reader.snapshot().store_epoch();
    for (step, expected) in [
        (Step::Add { of: 1, seconds: -7, count: 1 }, false),
        (Step::Rules { days: 5 }, true),
        (Step::Seal, false),
        (Step::SpoilList, true),
        (Step::Restart, false),
        (Step::Restore, true),
    ] {
        work.run(&step);
        reader.refresh(None).unwrap();
        let after = reader.snapshot().store_epoch();
        assert_eq!(after != before, expected, "{step:?}");
        before = after;
    }
}

/// Another store in the place of this one, whose files may get the same inodes.
#[test]
fn a_copy_put_in_the_place_of_a_store_without_a_log_is_another_epoch() {
    let root = tempfile::tempdir().unwrap();
    let (dir, kept) = (root.path().join("store"), root.path().join("kept"));
    let row =
        |seconds| -> NamedDots { [(SeriesName::new("a").unwrap(), at(seconds), 1.0)].into_iter().collect() };
    add(&dir, row(5)).unwrap();
    copy(&dir, &kept);
    add(&dir, row(3)).unwrap();
    let mut reader = Reader::open(&dir).unwrap();
    let before = (reader.snapshot().store_epoch(), reader.snapshot().late_writes("a"));
    fs::remove_dir_all(&dir).unwrap();
    copy(&kept, &dir);
    [6, 7, 8].into_iter().for_each(|seconds| _ = add(&dir, row(seconds)).unwrap());
    reader.refresh(None).unwrap();
    assert_eq!(reader.snapshot().read("a", TimeRange::ALL).unwrap().len(), 4);
    assert_ne!((reader.snapshot().store_epoch(), reader.snapshot().late_writes("a")), before);
}
