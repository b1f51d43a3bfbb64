//! Random commits, late ones among them, deletes, merges, retention passes and changes of rules, beside a plain map: of
//! each series and time the later commit wins at every read, whatever window or tier it was merged in, and nothing goes
//! that its rule keeps.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Deletion, Pattern, Place, Reader, Retention};
use support::{Random, machine};

const HOUR: u64 = 3_600_000_000_000;
const SERIES: u64 = 6;
/// How long a series may be kept, in hours; zero for ever.
const KEEPS: [u64; 4] = [2, 48, 24 * 30, 0];

type Cell = (u64, u64);

struct Run {
    random: Random,
    dir: tempfile::TempDir,
    retention: Retention,
    now: u64,
    /// By series, an index in [`KEEPS`].
    rules: Vec<usize>,
    /// By series and time, the value committed last.
    cells: BTreeMap<Cell, u64>,
    /// Cells that were older than they are kept at a time when something may have been removed.
    may_be_gone: BTreeSet<Cell>,
    committed: u64,
    places: BTreeSet<Place>,
    gone: u64,
}

fn name(series: u64) -> SeriesName {
    SeriesName::new(&format!("s.{series}")).unwrap()
}

impl Run {
    fn new(random: Random) -> Run {
        let run = Run {
            random,
            dir: tempfile::tempdir().unwrap(),
            retention: Retention::default(),
            now: 20_000 * 24 * HOUR,
            rules: (0..SERIES as usize).map(|series| series % KEEPS.len()).collect(),
            cells: BTreeMap::new(),
            may_be_gone: BTreeSet::new(),
            committed: 0,
            places: BTreeSet::new(),
            gone: 0,
        };
        run.write_rules();
        run
    }

    fn write_rules(&self) {
        let rule = |(series, keep): (usize, &usize)| match KEEPS[*keep] {
            0 => String::new(),
            hours => format!("[[rule]]\npattern = \"s.{series}\"\nkeep = \"raw:{hours}h\"\n"),
        };
        let text: String = self.rules.iter().enumerate().map(rule).collect();
        std::fs::write(self.dir.path().join("retention.toml"), text).unwrap();
    }

    fn add(&mut self) {
        let mut dots = BTreeMap::new();
        for _ in 0..=self.random.below(12) {
            let back = match self.random.below(10) {
                0..7 => self.random.below(4),
                7 => self.random.below(40),
                8 => self.random.below(2_000),
                // Wild stamps, of long ago and of the future.
                _ => [self.now / HOUR, 0_u64.wrapping_sub(self.random.below(60))]
                    [self.random.below(2) as usize],
            };
            // Few times, so that many commits meet in one.
            let time = (self.now / HOUR).wrapping_sub(back) * HOUR + self.random.below(3) * (HOUR / 3);
            dots.insert((self.random.below(SERIES), time), self.random.below(1 << 40));
        }
        self.committed += dots.len() as u64;
        let rows = dots
            .iter()
            .map(|((series, time), value)| (name(*series), Timestamp::from_nanos(*time), *value as f64));
        dotter_store::add(self.dir.path(), rows.collect::<Vec<_>>()).unwrap();
        dots.keys().for_each(|cell| _ = self.may_be_gone.remove(cell));
        self.cells.extend(dots);
    }

    fn delete(&mut self) {
        let (series, from) = (self.random.below(SERIES), self.now - self.random.below(60) * HOUR);
        let until = from + self.random.below(10) * HOUR;
        let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
        let pattern = Pattern::new(name(series).as_str());
        let deletion = Deletion { pattern, first_key: None, last_key: None, range };
        dotter_store::delete(self.dir.path(), &deletion).unwrap();
        self.cells.retain(|(of, time), _| *of != series || !(from..until).contains(time));
    }

    /// Notes what may go from now on.
    fn grow_old(&mut self) {
        for (series, time) in self.cells.keys() {
            let keep = KEEPS[self.rules[*series as usize]] * HOUR;
            if keep > 0 && time.saturating_add(keep) < self.now {
                self.may_be_gone.insert((*series, *time));
            }
        }
    }

    fn check(&mut self) {
        let snapshot = Reader::open(self.dir.path()).unwrap().snapshot();
        let mut found = BTreeMap::new();
        for series in 0..SERIES {
            for dot in snapshot.read(name(series).as_str(), TimeRange::ALL).unwrap() {
                found.insert((series, dot.time.nanos()), dot.value as u64);
            }
        }
        for (cell, value) in &found {
            assert_eq!(self.cells.get(cell), Some(value), "{cell:?}: another commit was the last");
        }
        for cell in self.cells.keys().filter(|cell| !found.contains_key(cell)) {
            assert!(self.may_be_gone.contains(cell), "{cell:?} is gone, kept as {:?}", self.rules);
        }
        self.gone += (self.cells.len() - found.len()) as u64;
        // What is gone does not come back.
        self.cells = found;
        let (stat, totals) = (snapshot.stat(), snapshot.ledger().totals);
        assert_eq!(
            stat.dots + totals.replaced + totals.deleted + totals.expired,
            self.committed,
            "{totals:?}"
        );
        self.places.extend(stat.places.iter().map(|placed| placed.place));
        let verified = dotter_store::verify(self.dir.path()).unwrap();
        assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    }

    fn step(&mut self) {
        self.now += self.random.below(2 * HOUR);
        let never = || false;
        match self.random.below(100) {
            0..70 => self.add(),
            70..74 => self.delete(),
            74..86 => {
                self.grow_old();
                while self.retention.compact(self.dir.path(), &never).unwrap() {}
            }
            86..88 => {
                self.grow_old();
                let progress = |done, total| assert!(done <= total);
                self.retention.compact_major(self.dir.path(), &never, &progress).unwrap();
            }
            88..97 => {
                self.grow_old();
                let machine = machine(Timestamp::from_nanos(self.now));
                self.retention.pass(self.dir.path(), &machine, &never).unwrap();
            }
            _ => {
                let series = self.random.below(SERIES) as usize;
                self.rules[series] = self.random.below(KEEPS.len() as u64) as usize;
                self.write_rules();
            }
        }
        if self.random.below(6) == 0 {
            self.check();
        }
    }
}

#[test]
fn the_later_commit_of_a_time_wins_through_windows_tiers_expiry_and_new_rules() {
    let mut run = Run::new(Random::from_env());
    // The first commit makes the store.
    run.add();
    for _ in 0..500 {
        run.step();
    }
    run.check();
    assert!(run.gone > 0, "something grew old");
    assert!(run.places.iter().any(|place| place.is_late), "late dots had a window of their own");
    let tiers: BTreeSet<Duration> = run.places.iter().map(|place| place.tier.keep).collect();
    assert_eq!(tiers.len(), KEEPS.len(), "every tier had segments");
}
