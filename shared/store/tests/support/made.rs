//! A made-up machine whose clocks run, and a store on it that grows old by them.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{
    Deletion, Limits, Machine, Pattern, Reader, Retained, Rollup, Snapshot, Taken, Writer, compact, retain,
    take_rules,
};

pub const MINUTE: u64 = 60;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;
/// A midnight; windows of every width up to four days begin there.
pub const START: u64 = 19_800 * DAY;

/// So many seconds after 1970.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(seconds).unwrap()
}

/// Half-open, in seconds since 1970.
pub fn range(from: u64, until: u64) -> TimeRange {
    TimeRange::new(at(from), at(until))
}

/// The text of a rule of `retention.toml`.
pub fn rule(pattern: &str, keep: &str) -> String {
    format!("[[rule]]\npattern = \"{pattern}\"\nkeep = \"{keep}\"\n")
}

/// A machine and a store on it. All times are seconds.
pub struct Made {
    dir: tempfile::TempDir,
    /// What the wall clock shows, since 1970.
    pub wall: u64,
    /// Of this boot.
    pub since_boot: u64,
    boot: u8,
}

impl Made {
    /// A new store with these rules, on a machine that was just switched on, at [`START`].
    pub fn new(rules: &str) -> Made {
        // In memory where there is such a place: there are thousands of syncs.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        // Its writer leaves a frame when it ends. As long as there is none, the rules change nothing.
        let writer = Writer::open(dir.path()).unwrap();
        let made = Made { dir, wall: START, since_boot: 0, boot: 1 };
        assert_eq!(made.rules(rules).skipped, []);
        drop(writer);
        made
    }

    /// Another machine just like it, with a copy of the store.
    pub fn twin(&self) -> Made {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        super::copy(self.dir(), dir.path());
        Made { dir, ..*self }
    }

    /// Another machine just like it, with the store that lies there.
    pub fn in_place(&self, dir: tempfile::TempDir) -> Made {
        Made { dir, ..*self }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn machine(&self) -> Machine {
        let since_boot = Duration::from_secs(self.since_boot);
        Machine { wall: at(self.wall), boot: [self.boot; 16], since_boot }
    }

    /// Both clocks run for so long.
    pub fn run(&mut self, seconds: u64) {
        self.wall += seconds;
        self.since_boot += seconds;
    }

    /// It is off for so long, and then booted.
    pub fn off(&mut self, seconds: u64) {
        self.wall += seconds;
        (self.since_boot, self.boot) = (0, self.boot.wrapping_add(1));
    }

    /// Runs for so long, with a pass of retention each half hour.
    pub fn live(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(HOUR / 2) {
            self.run(HOUR / 2);
            self.retain();
        }
    }

    /// Writes `retention.toml`, and the store takes it.
    pub fn rules(&self, text: &str) -> Taken {
        fs::write(self.dir().join("retention.toml"), text).unwrap();
        take_rules(self.dir()).unwrap()
    }

    pub fn retain(&self) -> Retained {
        retain(self.dir(), &self.machine(), &Limits::default(), &|| false).unwrap()
    }

    /// Everyday merges until there is none to do, as if every file had lain there for two hours.
    pub fn compact(&self) {
        self.grow_old();
        while compact(self.dir(), &|| false).unwrap() {}
    }

    /// Makes every segment two hours old, so that those of level 0 do not wait for others.
    pub fn grow_old(&self) {
        let then = SystemTime::now() - Duration::from_secs(2 * HOUR);
        for entry in fs::read_dir(self.dir().join("seg")).unwrap() {
            File::open(entry.unwrap().path()).unwrap().set_modified(then).unwrap();
        }
    }

    /// Commits dots with explicit times.
    pub fn add(&self, series: &str, dots: impl IntoIterator<Item = (u64, f64)>) {
        let name = SeriesName::new(series).unwrap();
        let dots: Vec<_> = dots.into_iter().map(|(time, value)| (name.clone(), at(time), value)).collect();
        dotter_store::add(self.dir(), dots).unwrap();
    }

    pub fn delete(&self, pattern: &str, range: TimeRange) {
        let deletion = Deletion { pattern: Pattern::new(pattern), first_key: None, last_key: None, range };
        dotter_store::delete(self.dir(), &deletion).unwrap();
    }

    pub fn snapshot(&self) -> Snapshot {
        Reader::open(self.dir()).unwrap().snapshot()
    }

    /// The times of the dots of a series that are left as they came.
    pub fn times(&self, series: &str) -> Vec<u64> {
        let dots = self.snapshot().read(series, TimeRange::ALL).unwrap();
        dots.iter().map(|dot| dot.time.nanos() / 1_000_000_000).collect()
    }

    pub fn steps(&self, series: &str, range: TimeRange, step: u64) -> Vec<Rollup> {
        let steps = self.snapshot().rollups(series, range, Duration::from_secs(step)).unwrap();
        assert!(steps.is_sorted_by(|a, b| a.time < b.time), "in order, each once");
        steps
    }

    /// How many dots the steps of a stretch say they are made of.
    pub fn counted(&self, series: &str, range: TimeRange, step: u64) -> u64 {
        self.steps(series, range, step).iter().map(|step| step.count).sum()
    }

    /// Holds the ledger against what is there, and looks for damage.
    #[track_caller]
    pub fn check(&self) {
        let snapshot = self.snapshot();
        let (stat, totals) = (snapshot.stat(), snapshot.ledger().totals);
        let open = snapshot.ledger().open_rings().map(|(_, account)| account.stored());
        let finished = snapshot.ledger().applications().map(|(_, sum)| sum.stored);
        let rings: u64 = open.chain(finished).sum();
        assert_eq!(
            stat.dots + totals.replaced + totals.deleted + totals.expired + totals.damaged,
            totals.stored_other + rings,
            "{totals:?}"
        );
        let verified = dotter_store::verify(self.dir()).unwrap();
        assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    }
}
