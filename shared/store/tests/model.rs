//! Random work on a store and on plain maps: commits through the log and foreign commits, seals, compactions,
//! restarts and crashes, with readers that follow all of it.

#[path = "model/map.rs"]
mod map;
mod support;

use std::path::PathBuf;
use std::time::Duration;

use dotter_dot::{Cell, Dots, Letter, NamedDots, Reason, SeriesName, TimeRange, Timestamp};
use dotter_store::{Deletion, LaneRecords, Lost, Pattern, Reader, RingPart, Transaction, Writer};
use map::{Commit, Counters, Model, Ring, Value, owner};
use support::{Random, SHAPES, copy, incarnation, machine, number, push, row, shape};

/// Small enough that a run crosses many files.
const WAL_FILE_BYTES: u64 = 16 << 10;

struct Run {
    random: Random,
    roots: tempfile::TempDir,
    dir: PathBuf,
    crashes: u32,
    writer: Option<Writer>,
    reader: Reader,
    model: Model,
    pending: Vec<Commit>,
    /// Numbers that came as news, and that were committed through the log, since the reader was opened.
    news: u64,
    logged: u64,
    /// How often the reader has lost the thread.
    epoch: u64,
    highest_level: u32,
    deletes: u32,
    /// Sealed since the reader looked: the file that it stands in is unlinked by the next commit.
    sealed: bool,
    now: Timestamp,
    /// Rings that publish.
    live: [u8; 3],
    rings: u8,
}

impl Run {
    fn new(random: Random) -> Run {
        let roots = tempfile::tempdir().unwrap();
        let dir = roots.path().join("0");
        let writer = Writer::open_with(&dir, WAL_FILE_BYTES).unwrap();
        let mut reader = Reader::open(&dir).unwrap();
        reader.tell_rows();
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
            epoch: 0,
            highest_level: 0,
            deletes: 0,
            sealed: false,
            now: Timestamp::from_secs(1_700_000_000).unwrap(),
            live: [0, 1, 2],
            rings: 3,
        }
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("there is a writer between steps")
    }

    /// Series 0 and 1 are plain numbers, 2 changes its shape now and then, the others at any dot.
    fn dots(&mut self, clock_allowed: bool) -> Vec<(String, bool, u64, Value)> {
        let count = self.random.below(120);
        let now = self.random.below(SHAPES);
        (0..count)
            .map(|_| {
                let series = self.random.below(7);
                let clock = clock_allowed && self.random.below(2) == 0;
                let of = match series {
                    0 | 1 => 0,
                    2 => now,
                    _ => self.random.below(SHAPES),
                };
                if shape(of).is_text() {
                    // Equal texts at equal times come often, within a transaction and from one to the next.
                    let (time, bits) = (self.random.below(12) * 500_000, self.random.below(3));
                    return (format!("series.{series}"), clock, time, (of, bits));
                }
                // Equal stamps come often, but spread by a nanosecond each they never reach the next.
                let time = self.random.below(600) * 10_000 + if clock { 0 } else { self.random.below(3) };
                (format!("series.{series}"), clock, time, (of, self.random.word()))
            })
            .collect()
    }

    fn append(&mut self) {
        let dots = self.dots(true);
        let live = self.live[self.random.below(3) as usize];
        let ring = (self.random.below(2) == 0).then(|| incarnation(live));
        let stored = dots.len() as u64;
        let (lost, elsewhere) = (self.random.below(5), self.random.below(2) * self.random.below(100));
        let writer = self.writer.as_mut().unwrap();
        let (mut columns, mut counters) = (Dots::default(), Vec::new());
        let mut totals = Counters::default();
        for (series, clock, time, (of, bits)) in &dots {
            let key = writer.series(&SeriesName::new(series).unwrap(), &shape(*of));
            push(&mut columns, key, *of, *clock, *time, *bits);
            if ring.is_some() && matches!(shape(*of).word(), Some(Letter::U64 | Letter::F64)) {
                counters.push((key, *bits));
                totals.insert((series.clone(), shape(*of)), *bits);
            }
        }
        let mut lanes = Vec::new();
        if let Some(incarnation) = ring {
            let first = writer.ledger().next(incarnation, 0);
            let next = first + stored + lost + elsewhere;
            let gone = Lost { first: next - lost, next, reason: Reason::LAPPED, times: None };
            let losses = if lost > 0 { vec![gone] } else { vec![] };
            lanes.push(LaneRecords { lane: 0, first, next, losses, refused: vec![], elsewhere });
        }
        let part = ring.map(|incarnation| RingPart {
            incarnation,
            application: "model",
            owner: owner(incarnation),
            refusals: &[],
            counters: &counters,
            now: Timestamp::from_nanos(77),
        });
        writer.append(&Transaction { ring: part, lanes: &lanes, dots: &columns }).unwrap();
        let gains = Ring { next: stored + lost + elsewhere, stored, lost, elsewhere, ..Ring::default() };
        let ring = ring.map(|incarnation| (incarnation, gains));
        self.pending.push(Commit { dots, ring, counters: totals });
    }

    fn sync(&mut self) {
        self.writer().sync().unwrap();
        for commit in std::mem::take(&mut self.pending) {
            self.logged += numbers_of(&commit);
            self.model.commit(&commit);
        }
    }

    /// A ring ends, and another takes its place; or one that has ended is told of again, and nothing comes of it.
    fn finish(&mut self) {
        self.sync();
        // It looks how far the seal is, and takes over which rings are in files.
        self.writer().unsealed();
        let place = self.random.below(3) as usize;
        let ended = self.random.below(self.rings as u64) as u8;
        let is_again = self.random.below(2) == 0 && !self.live.contains(&ended);
        let number = if is_again { ended } else { self.live[place] };
        let ring = self.model.rings.get(&incarnation(number)).copied().unwrap_or_default();
        if is_again && !self.writer().ledger().is_finished(incarnation(number)) {
            assert!(ring.finished.is_none_or(|time| time < self.model.known_from));
            return;
        }
        let refused = ring.refused + self.random.below(3);
        let (incarnation, now) = (incarnation(number), self.now);
        let refusals = [(Reason::SIGNAL_HANDLER, refused)];
        let owner = owner(incarnation);
        let part =
            RingPart { incarnation, application: "model", owner, refusals: &refusals, counters: &[], now };
        let lanes = if ring.next > 0 { vec![(0, ring.next)] } else { vec![] };
        let outcome = self.writer().finish(&part, &lanes, now);
        if is_again {
            assert!(matches!(outcome, Err(dotter_store::Error::Finished { .. })));
            return;
        }
        outcome.unwrap();
        self.sync();
        self.model.counters.remove(&incarnation);
        self.model.rings.insert(incarnation, Ring { refused, finished: Some(now), ..ring });
        self.live[place] = self.rings;
        self.rings += 1;
    }

    fn tidy(&mut self) {
        self.now = self.now.saturating_add(Duration::from_secs(3600 * self.random.below(24 * 12)));
        dotter_store::tidy(&self.dir, &machine(self.now)).unwrap();
        let month = Duration::from_secs(30 * 24 * 3600);
        self.model.known_from = self.now.saturating_sub(month).saturating_add(Duration::from_nanos(1));
    }

    fn add(&mut self) {
        let dots = self.dots(false);
        let mut bulk = NamedDots::default();
        for (series, _, time, (of, bits)) in &dots {
            let (name, time) = (SeriesName::new(series).unwrap(), Timestamp::from_nanos(*time));
            let (shape, row) = (shape(*of), row(*of, *bits));
            bulk.push(&name, &shape, time, Cell::from_row(shape.format(), &row).unwrap());
        }
        dotter_store::add(&self.dir, bulk).unwrap();
        self.model.commit(&Commit { dots, ring: None, counters: Counters::default() });
    }

    fn delete(&mut self) {
        // What is not synced yet is committed later than the delete.
        let pattern =
            ["%", "series.%", "series.3", "%.5", "series.%1", "other%"][self.random.below(6) as usize];
        let mut key =
            |bound| (self.random.below(3) == 0).then(|| format!("series.{}", self.random.below(bound)));
        let (first_key, last_key) = (key(4), key(7));
        let (a, b) = (self.random.below(700), self.random.below(700));
        let range = match self.random.below(4) {
            0 => TimeRange::ALL,
            _ => TimeRange::new(Timestamp::from_nanos(a.min(b)), Timestamp::from_nanos(a.max(b))),
        };
        let deletion = Deletion { pattern: Pattern::new(pattern), first_key, last_key, range };
        dotter_store::delete(&self.dir, &deletion).unwrap();
        self.model.delete(&deletion);
        self.deletes += 1;
    }

    fn look(&mut self) {
        let mut news = Vec::new();
        self.reader.refresh(Some(&mut news)).unwrap();
        self.sealed = false;
        assert!(news.is_sorted_by_key(|news| news.sequence));
        self.news += news.iter().map(|news| news.dots.len() as u64).sum::<u64>();
        for news in &news {
            let numbers =
                news.rows().filter_map(|(name, row)| Some((name, row.time(), row.number()?.to_bits())));
            let dots = news.dots.iter().map(|(name, time, number)| (name, *time, number.to_bits()));
            assert!(numbers.eq(dots));
        }
        let snapshot = self.reader.snapshot();
        if snapshot.epoch() > self.epoch {
            // A delete changes the list twice, so the file that a reader stands in may be unlinked.
            assert!(self.deletes > 0);
            (self.epoch, self.news) = (snapshot.epoch(), self.logged);
        }
        assert_eq!(self.news, self.logged, "every number of the log is news once");
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
            self.logged += numbers_of(&commit);
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
        self.reader.tell_rows();
        (self.news, self.logged, self.epoch) = (0, 0, 0);
    }

    fn compact_major(&mut self) {
        // Now and then it is given up somewhere in the middle.
        let left = std::cell::Cell::new(self.random.below(400));
        let cancel = || {
            left.set(left.get().saturating_sub(1));
            left.get() == 0
        };
        match dotter_store::compact_major(&self.dir, &cancel, &|done, total| assert!(done <= total)) {
            Ok(_) | Err(dotter_store::Error::GivenUp) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(support::unlisted(&self.dir).is_empty(), "nothing half done is left");
    }

    fn step(&mut self) {
        let never = || false;
        let step = self.random.below(100);
        if self.sealed && (70..95).contains(&step) {
            self.look();
        }
        match step {
            0..43 => self.append(),
            43..66 => self.sync(),
            66..70 => self.finish(),
            70..78 => self.add(),
            78..84 => self.look(),
            84..86 => self.tidy(),
            86..88 => self.delete(),
            88..92 => self.sealed |= dotter_store::seal_all(&self.dir, &never).unwrap() > 0,
            92..94 => while dotter_store::compact(&self.dir, &never).unwrap() {},
            94 => self.compact_major(),
            95..97 => self.look_afresh(),
            97..99 => self.restart(),
            _ => self.crash(),
        }
    }
}

fn numbers_of(commit: &Commit) -> u64 {
    commit.dots.iter().filter(|(_, _, _, (of, bits))| number(*of, *bits).is_some()).count() as u64
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
    assert!(run.deletes > 0);
    assert!(run.reader.snapshot().ledger().applications().count() > 0, "rings finished long ago");
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
    let root = tempfile::tempdir().unwrap();
    let (missing, empty) = (root.path().join("none"), root.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let all = Deletion { pattern: Pattern::new("%"), first_key: None, last_key: None, range: TimeRange::ALL };
    for dir in [missing, empty] {
        let expected = format!("no store in {}: neither MANIFEST nor MANIFEST.2 is there", dir.display());
        let outcomes = [
            Reader::open(&dir).map(drop),
            dotter_store::delete(&dir, &all),
            dotter_store::seal(&dir, &|| false).map(drop),
            dotter_store::seal_all(&dir, &|| false).map(drop),
            dotter_store::verify(&dir).map(drop),
            dotter_store::backup(&dir, &root.path().join("backup"), &|| false).map(drop),
        ];
        for outcome in outcomes {
            assert_eq!(outcome.expect_err("no store").to_string(), expected);
        }
        assert!(std::fs::read_dir(&dir).map_or(0, |entries| entries.count()) == 0, "nothing was made");
    }
}
