//! Random work on a store beside a plain `BTreeMap`: commits through the log and past it, seals, compactions,
//! restarts and crashes, with readers that follow all of it.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dotter_dot::{
    Cell, Dots, Incarnation, Letter, NamedDots, Reason, SeriesName, Shape, TimeRange, Timestamp,
};
use dotter_store::{Deletion, LaneRecords, Lost, Pattern, Reader, RingPart, Snapshot, Transaction, Writer};
use support::{Random, SHAPES, copy, incarnation, machine, number, push, row, rows, shape};

/// Small enough that a run crosses many files.
const WAL_FILE_BYTES: u64 = 16 << 10;

/// A shape by its number, and what the value was made from.
type Value = (u64, u64);

#[derive(Clone, Default)]
struct Model {
    explicit: BTreeMap<String, BTreeMap<u64, Value>>,
    clock: BTreeMap<String, Vec<(u64, Value)>>,
    /// The shape committed last.
    latest: BTreeMap<String, u64>,
    rings: BTreeMap<Incarnation, Ring>,
    counters: BTreeMap<Incarnation, Counters>,
    /// Rings finished before it may have been added to their application.
    told_apart_from: Timestamp,
    stored_other: u64,
    committed: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Ring {
    next: u64,
    stored: u64,
    lost: u64,
    elsewhere: u64,
    refused: u64,
    finished: Option<Timestamp>,
}

/// By name and shape the last total.
type Counters = BTreeMap<(String, Shape), u64>;

/// Of every second ring it is known.
fn owner(Incarnation(bytes): Incarnation) -> Option<u32> {
    let number = u32::from(bytes[0]);
    (number % 2 == 0).then_some(number * 500)
}

#[derive(Clone)]
struct Commit {
    dots: Vec<(String, bool, u64, Value)>,
    /// The ring it came from, and what that ring's account gains.
    ring: Option<(Incarnation, Ring)>,
    counters: Counters,
}

impl Model {
    fn commit(&mut self, commit: &Commit) {
        for (series, clock, time, value) in &commit.dots {
            if *clock {
                self.clock.entry(series.clone()).or_default().push((*time, *value));
            } else {
                self.explicit.entry(series.clone()).or_default().insert(*time, *value);
            }
            self.latest.insert(series.clone(), value.0);
        }
        match commit.ring {
            Some((incarnation, gains)) => {
                let ring = self.rings.entry(incarnation).or_default();
                ring.next += gains.next;
                ring.stored += gains.stored;
                ring.lost += gains.lost;
                ring.elsewhere += gains.elsewhere;
                self.counters.entry(incarnation).or_default().extend(commit.counters.clone());
            }
            None => self.stored_other += commit.dots.len() as u64,
        }
        self.committed += commit.dots.len() as u64;
    }

    fn delete(&mut self, deletion: &Deletion) {
        let names = |name: &str| {
            deletion.pattern.matches(name)
                && deletion.first_key.as_ref().is_none_or(|first| first.as_str() <= name)
                && deletion.last_key.as_ref().is_none_or(|last| name <= last.as_str())
        };
        let kept = |time: u64| !deletion.range.contains(Timestamp::from_nanos(time));
        for (_, dots) in self.explicit.iter_mut().filter(|(name, _)| names(name)) {
            dots.retain(|time, _| kept(*time));
        }
        for (_, dots) in self.clock.iter_mut().filter(|(name, _)| names(name)) {
            dots.retain(|dot| kept(dot.0));
        }
        self.explicit.retain(|_, dots| !dots.is_empty());
        self.clock.retain(|_, dots| !dots.is_empty());
        self.latest.retain(|name, _| !names(name));
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.explicit.keys().chain(self.clock.keys()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    fn read(&self, name: &str, range: TimeRange) -> Vec<(u64, bool, Value)> {
        let within = |time: u64| range.contains(Timestamp::from_nanos(time));
        let mut clock: Vec<_> = self.clock.get(name).into_iter().flatten().copied().collect();
        clock.retain(|dot| within(dot.0));
        clock.sort_by_key(|dot| dot.0);
        for index in 1..clock.len() {
            clock[index].0 = clock[index].0.max(clock[index - 1].0 + 1);
        }
        let explicit = self.explicit.get(name).into_iter().flatten();
        let explicit = explicit.map(|(time, value)| (*time, false, *value)).filter(|dot| within(dot.0));
        let clock = clock.into_iter().map(|(time, value)| (time, true, value));
        let mut dots: Vec<_> = explicit.chain(clock).collect();
        dots.sort_by_key(|dot| dot.0);
        dots
    }

    /// Time and bits of the numbers.
    fn numbers(&self, name: &str, range: TimeRange) -> Vec<(u64, u64)> {
        let dots = self.read(name, range).into_iter();
        dots.filter_map(|(time, _, (shape, bits))| Some((time, number(shape, bits)?))).collect()
    }

    fn rows(&self, name: &str, range: TimeRange) -> Vec<(u64, bool, dotter_dot::Shape, Vec<u8>)> {
        let dots = self.read(name, range).into_iter();
        dots.map(|(time, clock, (of, bits))| (time, clock, shape(of), row(of, bits))).collect()
    }

    /// Where all dots have numbers: a replaced one that had none counts all the same until a compaction finds it.
    fn check_span(&self, snapshot: &Snapshot, name: &str) {
        let explicit = self.explicit.get(name).into_iter().flatten().map(|(time, value)| (*time, *value));
        let clock = self.clock.get(name).into_iter().flatten().copied();
        let mut times = Vec::new();
        for (time, (shape, bits)) in explicit.chain(clock) {
            if number(shape, bits).is_none() {
                return;
            }
            times.push(time);
        }
        let (first, last) = snapshot.span(name).expect("it has dots");
        let (expected_first, expected_last) = (times.iter().min(), times.iter().max());
        assert_eq!((Some(&first.nanos()), Some(&last.nanos())), (expected_first, expected_last), "{name}");
    }

    fn check(&self, snapshot: &Snapshot, random: &mut Random) {
        let names: Vec<String> = snapshot.series().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, self.names());
        let mut scan = snapshot.scan();
        for name in &names {
            let bits = |dots: Vec<dotter_store::Dot>| -> Vec<(u64, u64)> {
                dots.iter().map(|dot| (dot.time.nanos(), dot.value.to_bits())).collect()
            };
            let all = bits(snapshot.read(name, TimeRange::ALL).unwrap());
            assert_eq!(all, self.numbers(name, TimeRange::ALL), "{name}");
            assert!(rows(&mut scan, name, TimeRange::ALL) == self.rows(name, TimeRange::ALL), "{name}");
            // Where dots were deleted, the shape may be that of one of them.
            if let Some(latest) = self.latest.get(name) {
                assert_eq!(snapshot.shape(name).unwrap(), Some(shape(*latest)), "{name}");
            }
            let (a, b) = (random.below(700) * 9_999, random.below(700) * 9_999);
            let range = TimeRange::new(Timestamp::from_nanos(a.min(b)), Timestamp::from_nanos(a.max(b)));
            assert_eq!(
                bits(snapshot.read(name, range).unwrap()),
                self.numbers(name, range),
                "{name} {range:?}"
            );
            assert!(rows(&mut scan, name, range) == self.rows(name, range), "{name} {range:?}");
            self.check_chunks(snapshot, name, range);
            let count = random.below(40) as usize;
            let last = bits(snapshot.last(name, count).unwrap());
            assert_eq!(last, all[all.len().saturating_sub(count)..], "{name} last {count}");
            self.check_span(snapshot, name);
        }
        self.check_rings(snapshot);
        assert_eq!(snapshot.ledger().totals.stored_other, self.stored_other);
        let stat = snapshot.stat();
        let totals = snapshot.ledger().totals;
        assert_eq!(
            stat.dots + totals.replaced + totals.deleted,
            self.committed,
            "dots are there, replaced or deleted: {totals:?}"
        );
        if stat.segments == 0 && stat.wal_dots == 0 {
            assert!(names.is_empty());
        }
        assert_eq!((stat.damaged_segments, stat.damaged_chunks), (0, 0));
    }
}

impl Model {
    /// Every ring has its account, or has finished long ago and is in the sum of its application, once.
    fn check_rings(&self, snapshot: &Snapshot) {
        let ledger = snapshot.ledger();
        let (mut rings, mut sums) = (0, Ring::default());
        for (incarnation, ring) in &self.rings {
            let Some(account) = ledger.account(*incarnation) else {
                assert!(
                    ring.finished.is_some_and(|time| time < self.told_apart_from),
                    "{ring:?} has no account"
                );
                rings += 1;
                sums.stored += ring.stored;
                sums.lost += ring.lost;
                sums.elsewhere += ring.elsewhere;
                sums.refused += ring.refused;
                continue;
            };
            assert!(account.is_balanced());
            assert_eq!(account.owner, owner(*incarnation));
            let found =
                account.counters.iter().map(|(name, of, total)| ((name.to_string(), of.clone()), total));
            let nothing = Counters::default();
            assert!(found.eq(self.counters.get(incarnation).unwrap_or(&nothing).clone()), "{incarnation}");
            let found = (account.stored(), account.lost(), account.refused(), account.finished);
            assert_eq!(found, (ring.stored, ring.lost, ring.refused, ring.finished));
            assert_eq!(
                (account.published(), account.elsewhere()),
                (ring.next + ring.refused, ring.elsewhere)
            );
        }
        assert_eq!(ledger.iter().count() + rings as usize, self.rings.len());
        match ledger.applications().next() {
            Some((name, of)) => {
                assert_eq!((name, of.rings, of.stored), ("model", rings, sums.stored));
                assert_eq!(
                    (of.lost(), of.refused(), of.elsewhere),
                    (sums.lost, sums.refused, sums.elsewhere)
                );
            }
            None => assert_eq!(rings, 0),
        }
    }

    /// What chunks say of themselves: those that are alone hold the very dots that are read.
    fn check_chunks(&self, snapshot: &Snapshot, name: &str, range: TimeRange) {
        let chunks = snapshot.chunks(name, range).unwrap();
        assert!(chunks.is_sorted_by_key(|chunk| chunk.first));
        assert!(chunks.iter().all(|chunk| range.meets(chunk.first, chunk.last)));
        for chunk in chunks.iter().filter(|chunk| chunk.is_alone && !chunk.is_clock) {
            let (first, last) = (chunk.first, chunk.last);
            let within = TimeRange::new(first, Timestamp::from_nanos(last.nanos() + 1));
            let dots = self.read(name, within);
            let explicit: Vec<_> = dots.iter().filter(|(_, clock, _)| !clock).collect();
            assert_eq!(explicit.len() as u64, chunk.dots);
            assert!(explicit.iter().all(|(_, _, (of, _))| shape(*of) == chunk.shape));
            assert_eq!((explicit[0].0, explicit.last().unwrap().0), (first.nanos(), last.nanos()));
        }
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

    /// A ring ends, and another takes its place; or one that has ended says once more what it refused.
    fn finish(&mut self) {
        self.sync();
        // It looks how far the seal is, and takes over what has become of the accounts.
        self.writer().unsealed();
        let place = self.random.below(3) as usize;
        let ended = self.random.below(self.rings as u64) as u8;
        let is_again = self.random.below(2) == 0 && !self.live.contains(&ended);
        let number = if is_again { ended } else { self.live[place] };
        let known = self.model.rings.get(&incarnation(number)).copied();
        if is_again && self.writer().ledger().account(incarnation(number)).is_none() {
            assert!(known.is_none_or(|ring| ring.finished.is_some()));
            return;
        }
        let ring = known.unwrap_or_default();
        let refused = ring.refused + self.random.below(3);
        let (incarnation, now) = (incarnation(number), self.now);
        let refusals = [(Reason::SIGNAL_HANDLER, refused)];
        let owner = owner(incarnation);
        let part =
            RingPart { incarnation, application: "model", owner, refusals: &refusals, counters: &[], now };
        let lanes = if ring.next > 0 { vec![(0, ring.next)] } else { vec![] };
        self.writer().finish(&part, &lanes, now).unwrap();
        self.sync();
        let finished = ring.finished.or(Some(now));
        self.model.counters.remove(&incarnation);
        self.model.rings.insert(incarnation, Ring { refused, finished, ..ring });
        if !is_again {
            self.live[place] = self.rings;
            self.rings += 1;
        }
    }

    fn tidy(&mut self) {
        self.now = self.now.saturating_add(Duration::from_secs(3600 * self.random.below(24 * 12)));
        dotter_store::tidy(&self.dir, &machine(self.now)).unwrap();
        let month = Duration::from_secs(30 * 24 * 3600);
        self.model.told_apart_from = self.now.saturating_sub(month).saturating_add(Duration::from_nanos(1));
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
        let expected = format!("no store in {}: MANIFEST is missing", dir.display());
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
