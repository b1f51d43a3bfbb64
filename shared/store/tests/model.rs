//! Random work on a store beside a plain `BTreeMap`: commits through the log and past it, seals, compactions,
//! restarts and crashes, with readers that follow all of it.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dotter_dot::{Incarnation, Reason, SeriesName, TimeRange, Timestamp};
use dotter_store::{Dots, LaneRecords, Lost, Reader, RingPart, Snapshot, Transaction, Writer};
use support::{Random, copy, incarnation};

/// Small enough that a run crosses many files.
const WAL_FILE_BYTES: u64 = 16 << 10;

#[derive(Clone, Default)]
struct Model {
    explicit: BTreeMap<String, BTreeMap<u64, u64>>,
    clock: BTreeMap<String, Vec<(u64, u64)>>,
    /// Next record and stored and lost records, by ring.
    rings: BTreeMap<Incarnation, (u64, u64, u64)>,
    stored_other: u64,
    committed: u64,
}

#[derive(Clone)]
struct Commit {
    dots: Vec<(String, bool, u64, u64)>,
    ring: Option<(Incarnation, u64, u64)>,
}

impl Model {
    fn commit(&mut self, commit: &Commit) {
        for (series, clock, time, bits) in &commit.dots {
            if *clock {
                self.clock.entry(series.clone()).or_default().push((*time, *bits));
            } else {
                self.explicit.entry(series.clone()).or_default().insert(*time, *bits);
            }
        }
        match commit.ring {
            Some((incarnation, stored, lost)) => {
                let ring = self.rings.entry(incarnation).or_default();
                *ring = (ring.0 + stored + lost, ring.1 + stored, ring.2 + lost);
            }
            None => self.stored_other += commit.dots.len() as u64,
        }
        self.committed += commit.dots.len() as u64;
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.explicit.keys().chain(self.clock.keys()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    fn read(&self, name: &str, range: TimeRange) -> Vec<(u64, u64)> {
        let within = |time: u64| range.contains(Timestamp::from_nanos(time));
        let mut clock: Vec<_> = self.clock.get(name).into_iter().flatten().copied().collect();
        clock.retain(|dot| within(dot.0));
        clock.sort_by_key(|dot| dot.0);
        for index in 1..clock.len() {
            clock[index].0 = clock[index].0.max(clock[index - 1].0 + 1);
        }
        let explicit = self.explicit.get(name).into_iter().flatten().map(|(time, bits)| (*time, *bits));
        let mut dots: Vec<_> = explicit.filter(|dot| within(dot.0)).chain(clock).collect();
        dots.sort_by_key(|dot| dot.0);
        dots
    }

    fn check(&self, snapshot: &Snapshot, random: &mut Random) {
        let names: Vec<String> = snapshot.series().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, self.names());
        for name in &names {
            let bits = |dots: Vec<dotter_store::Dot>| -> Vec<(u64, u64)> {
                dots.iter().map(|dot| (dot.time.nanos(), dot.value.to_bits())).collect()
            };
            let all = bits(snapshot.read(name, TimeRange::ALL).unwrap());
            assert_eq!(all, self.read(name, TimeRange::ALL), "{name}");
            let (a, b) = (random.below(700), random.below(700));
            let range = TimeRange::new(Timestamp::from_nanos(a.min(b)), Timestamp::from_nanos(a.max(b)));
            assert_eq!(bits(snapshot.read(name, range).unwrap()), self.read(name, range), "{name} {range:?}");
            let count = random.below(40) as usize;
            let last = bits(snapshot.last(name, count).unwrap());
            assert_eq!(last, all[all.len().saturating_sub(count)..], "{name} last {count}");
        }
        for (incarnation, (next, stored, lost)) in &self.rings {
            let account = snapshot.ledger().account(*incarnation).expect("an account of each ring");
            assert!(account.is_balanced());
            assert_eq!((account.published(), account.stored(), account.lost()), (*next, *stored, *lost));
        }
        assert_eq!(snapshot.ledger().totals.stored_other, self.stored_other);
        let stat = snapshot.stat();
        assert_eq!(
            stat.dots + snapshot.ledger().totals.replaced,
            self.committed,
            "dots are there or replaced"
        );
        assert_eq!((stat.damaged_segments, stat.damaged_chunks), (0, 0));
    }
}

struct Run {
    random: Random,
    roots: tempfile::TempDir,
    dir: PathBuf,
    crashes: u32,
    writer: Option<Writer>,
    reader: Reader,
    model: Model,
    pending: Vec<Commit>,
    /// Dots that came as news, and that were committed through the log, since the reader was opened.
    news: u64,
    logged: u64,
    highest_level: u32,
}

impl Run {
    fn new(random: Random) -> Run {
        let roots = tempfile::tempdir().unwrap();
        let dir = roots.path().join("0");
        let writer = Writer::open_with(&dir, WAL_FILE_BYTES).unwrap();
        let reader = Reader::open(&dir).unwrap();
        Run {
            random,
            roots,
            dir,
            crashes: 0,
            writer: Some(writer),
            reader,
            model: Model::default(),
            pending: Vec::new(),
            news: 0,
            logged: 0,
            highest_level: 0,
        }
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("there is a writer between steps")
    }

    fn dots(&mut self, clock_allowed: bool) -> Vec<(String, bool, u64, u64)> {
        let count = self.random.below(120);
        (0..count)
            .map(|_| {
                let series = format!("series.{}", self.random.below(7));
                let clock = clock_allowed && self.random.below(2) == 0;
                (series, clock, self.random.below(600), self.random.word())
            })
            .collect()
    }

    fn append(&mut self) {
        let dots = self.dots(true);
        let ring = (self.random.below(2) == 0).then(|| incarnation(self.random.below(3) as u8));
        let lost = if ring.is_some() { self.random.below(5) } else { 0 };
        let writer = self.writer.as_mut().unwrap();
        let mut columns = Dots::default();
        for (series, clock, time, bits) in &dots {
            let key = writer.series(&SeriesName::new(series).unwrap());
            columns.push(key, *clock, Timestamp::from_nanos(*time), f64::from_bits(*bits));
        }
        let mut lanes = Vec::new();
        if let Some(incarnation) = ring {
            let first = writer.ledger().next(incarnation, 0);
            let next = first + dots.len() as u64 + lost;
            let gone = Lost { first: next - lost, next, reason: Reason::LAPPED, times: None };
            let losses = if lost > 0 { vec![gone] } else { vec![] };
            lanes.push(LaneRecords { lane: 0, first, next, losses, refused: vec![] });
        }
        let part = ring.map(|incarnation| RingPart {
            incarnation,
            application: "model",
            refusals: &[],
            now: Timestamp::from_nanos(77),
        });
        writer.append(&Transaction { ring: part, lanes: &lanes, dots: &columns }).unwrap();
        let ring = ring.map(|incarnation| (incarnation, dots.len() as u64, lost));
        self.pending.push(Commit { dots, ring });
    }

    fn sync(&mut self) {
        self.writer().sync().unwrap();
        for commit in std::mem::take(&mut self.pending) {
            self.logged += commit.dots.len() as u64;
            self.model.commit(&commit);
        }
    }

    fn add(&mut self) {
        let dots = self.dots(false);
        let row = |dot: &(String, bool, u64, u64)| {
            (SeriesName::new(&dot.0).unwrap(), Timestamp::from_nanos(dot.2), f64::from_bits(dot.3))
        };
        dotter_store::add(&self.dir, dots.iter().map(row).collect()).unwrap();
        self.model.commit(&Commit { dots, ring: None });
    }

    fn look(&mut self) {
        let mut news = Vec::new();
        self.reader.refresh(Some(&mut news)).unwrap();
        assert!(news.is_sorted_by_key(|news| news.sequence));
        self.news += news.iter().map(|news| news.dots.len() as u64).sum::<u64>();
        let snapshot = self.reader.snapshot();
        assert_eq!(snapshot.epoch(), 0);
        assert_eq!(self.news, self.logged, "every dot of the log is news once");
        self.model.check(&snapshot, &mut self.random);
        let top = snapshot.stat().levels.last().map_or(0, |level| level.level);
        self.highest_level = self.highest_level.max(top);
    }

    /// What a reader that knows nothing sees, and whether every checksum is right.
    fn look_afresh(&mut self) {
        let snapshot = Reader::open(&self.dir).unwrap().snapshot();
        self.model.check(&snapshot, &mut self.random);
        let verified = dotter_store::verify(&self.dir).unwrap();
        assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    }

    fn restart(&mut self) {
        // A writer that ends in peace writes what it was given.
        self.sync_pending_as_committed();
        self.writer = None;
        self.writer = Some(Writer::open_with(&self.dir, WAL_FILE_BYTES).unwrap());
        self.look();
    }

    fn sync_pending_as_committed(&mut self) {
        for commit in std::mem::take(&mut self.pending) {
            self.logged += commit.dots.len() as u64;
            self.model.commit(&commit);
        }
    }

    /// The process is gone with what it had not synced; another goes on with the files as they are.
    fn crash(&mut self) {
        self.look();
        self.crashes += 1;
        let next = self.roots.path().join(self.crashes.to_string());
        copy(&self.dir, &next);
        self.pending.clear();
        self.writer = None;
        std::fs::remove_dir_all(&self.dir).unwrap();
        self.dir = next;
        self.writer = Some(Writer::open_with(&self.dir, WAL_FILE_BYTES).unwrap());
        self.reader = Reader::open(&self.dir).unwrap();
        (self.news, self.logged) = (0, 0);
    }

    fn step(&mut self) {
        let never = || false;
        match self.random.below(100) {
            0..45 => self.append(),
            45..70 => self.sync(),
            70..78 => self.add(),
            78..88 => self.look(),
            88..92 => _ = dotter_store::seal_all(&self.dir, &never).unwrap(),
            92..95 => while dotter_store::compact(&self.dir, &never).unwrap() {},
            95..97 => self.look_afresh(),
            97..99 => self.restart(),
            _ => self.crash(),
        }
    }
}

#[test]
fn a_store_holds_what_a_map_holds() {
    let mut run = Run::new(Random::from_env());
    for _ in 0..1500 {
        run.step();
    }
    run.sync();
    run.look();
    run.look_afresh();
    assert!(run.highest_level >= 1, "the run was long enough for a compaction");
}

#[test]
fn a_second_writer_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::open(dir.path()).unwrap();
    let error = Writer::open(dir.path()).err().expect("two writers");
    assert!(matches!(error, dotter_store::Error::Locked(_)), "{error}");
    drop(writer);
    Writer::open(dir.path()).unwrap();
}

#[test]
fn a_directory_without_a_store_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let missing: &Path = &dir.path().join("none");
    let error = Reader::open(missing).err().expect("no store");
    assert_eq!(error.to_string(), format!("no store in {}: MANIFEST is missing", missing.display()));
}
