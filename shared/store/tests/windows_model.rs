//! Random commits, late ones among them, deletes, merges, retention passes and changes of rules, beside a plain map: of
//! each series and time the later commit wins at every read, whatever window or tier it was merged in, and nothing goes
//! that its rule keeps.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Place, compact, compact_major};
use support::Random;
use support::made::{Made, rule};

const HOUR: u64 = 3_600_000_000_000;
const SERIES: u64 = 6;
/// How long a series may be kept, in hours; zero for ever.
const KEEPS: [u64; 4] = [2, 48, 24 * 30, 0];

type Cell = (u64, u64);

struct Run {
    random: Random,
    made: Made,
    /// Which series a rule is for, every one where it is `None`, and an index in [`KEEPS`]; the first that fits counts.
    rules: Vec<(Option<u64>, usize)>,
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
            made: Made::new(""),
            rules: (0..SERIES).map(|series| (Some(series), series as usize % KEEPS.len())).collect(),
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
        let text = |(series, keep): &(Option<u64>, usize)| {
            let pattern = series.map_or("s.%".to_owned(), |series| format!("s.{series}"));
            // For ever is what nobody lives to see.
            let hours = if KEEPS[*keep] == 0 { 24 * 365 * 200 } else { KEEPS[*keep] };
            rule(&pattern, &format!("raw:{hours}h"))
        };
        self.made.rules(&self.rules.iter().map(text).collect::<String>());
    }

    fn now(&self) -> u64 {
        self.made.wall * 1_000_000_000
    }

    /// How long a series is kept, in nanoseconds; zero for ever.
    fn keep(&self, series: u64) -> u64 {
        let rule = self.rules.iter().find(|(of, _)| of.is_none_or(|of| of == series));
        rule.map_or(0, |(_, keep)| KEEPS[*keep] * HOUR)
    }

    /// A rule comes, goes or moves: so some series have another one that nobody has written anew.
    fn change_rules(&mut self) {
        let at = self.random.below(self.rules.len() as u64 + 1) as usize;
        let series = Some(self.random.below(SERIES)).filter(|_| self.random.below(3) > 0);
        let new = (series, self.random.below(KEEPS.len() as u64) as usize);
        if at < self.rules.len() && self.random.below(2) == 0 {
            self.rules.remove(at);
        } else {
            self.rules.insert(at, new);
            self.rules.truncate(8);
        }
        self.write_rules();
    }

    fn add(&mut self) {
        let mut dots = BTreeMap::new();
        for _ in 0..=self.random.below(12) {
            let back = match self.random.below(10) {
                0..7 => self.random.below(4),
                7 => self.random.below(40),
                8 => self.random.below(2_000),
                // Wild stamps, of long ago and of the future.
                _ => [self.now() / HOUR, 0_u64.wrapping_sub(self.random.below(60))]
                    [self.random.below(2) as usize],
            };
            // Few times, so that many commits meet in one.
            let time = (self.now() / HOUR).wrapping_sub(back) * HOUR + self.random.below(3) * (HOUR / 3);
            dots.insert((self.random.below(SERIES), time), self.random.below(1 << 40));
        }
        self.committed += dots.len() as u64;
        let rows = dots
            .iter()
            .map(|((series, time), value)| (name(*series), Timestamp::from_nanos(*time), *value as f64));
        dotter_store::add(self.made.dir(), rows.collect::<Vec<_>>()).unwrap();
        dots.keys().for_each(|cell| _ = self.may_be_gone.remove(cell));
        self.cells.extend(dots);
    }

    fn delete(&mut self) {
        let (series, from) = (self.random.below(SERIES), self.now() - self.random.below(60) * HOUR);
        let until = from + self.random.below(10) * HOUR;
        let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
        self.made.delete(name(series).as_str(), range);
        self.cells.retain(|(of, time), _| *of != series || !(from..until).contains(time));
    }

    /// Notes what may go from now on.
    fn grow_old(&mut self) {
        for (series, time) in self.cells.keys().copied() {
            let keep = self.keep(series);
            if keep > 0 && time.saturating_add(keep) < self.now() {
                self.may_be_gone.insert((series, time));
            }
        }
    }

    fn check(&mut self) {
        let snapshot = self.made.snapshot();
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
        self.made.check();
    }

    fn step(&mut self) {
        self.made.run(self.random.below(2 * 3600));
        let never = || false;
        match self.random.below(100) {
            0..60 => self.add(),
            60..64 => self.delete(),
            64..78 => {
                self.grow_old();
                if self.random.below(2) == 0 {
                    self.made.grow_old();
                }
                while compact(self.made.dir(), &never).unwrap() {}
            }
            78..80 => {
                self.grow_old();
                let progress = |done, total| assert!(done <= total);
                compact_major(self.made.dir(), &never, &progress).unwrap();
            }
            80..97 => {
                self.grow_old();
                self.made.retain();
            }
            _ => self.change_rules(),
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
    for _ in 0..250 {
        run.step();
    }
    // Chance may leave out what this is about; then there are more steps, and more rules.
    let has_all = |run: &Run| {
        let tiers: BTreeSet<Duration> = run.places.iter().map(|place| place.tier.keep).collect();
        run.gone > 0 && run.places.iter().any(|place| place.is_late) && tiers.len() >= KEEPS.len()
    };
    for _ in 0..1000 {
        if has_all(&run) {
            break;
        }
        run.change_rules();
        run.step();
    }
    run.check();
    assert!(run.gone > 0, "something grew old");
    assert!(run.places.iter().any(|place| place.is_late), "late dots had a window of their own");
    let tiers: BTreeSet<Duration> = run.places.iter().map(|place| place.tier.keep).collect();
    assert!(tiers.len() >= KEEPS.len(), "every tier had segments: {tiers:?}");
}
