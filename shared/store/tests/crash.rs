//! The same work again and again, stopped at every step it takes on the disk in turn, until it runs through.
//!
//! After each stop the store is opened twice: as a killed process leaves it, and as a power cut might, where of all
//! that was not synced any part is gone. What was acknowledged is there, what was not is there whole or not at all.

mod support;
mod trial;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::{Cell, Dots, Incarnation, Reason, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{
    Addition, Deletion, Error, LaneRecords, Ledger, Pattern, Reader, RingPart, Snapshot, Transaction, Writer,
};
use support::{Random, copy, machine, unlisted};
use trial::{Fault, Trial};

const RING: Incarnation = Incarnation([5; 16]);

/// The ring of a round, which ends with it.
fn short(round: u64) -> Incarnation {
    Incarnation([round as u8 + 100; 16])
}

/// Small enough that the work crosses several files.
const WAL_FILE_BYTES: u64 = 8 << 10;
/// Dots of a commit at most; each has as many nanoseconds of the common series to itself.
const DOTS_MAX: u64 = 200;
const ROUNDS: u64 = 4;

/// How sure it is that something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Has {
    Not,
    Perhaps,
    Surely,
}

/// Dots under one name of their own, and once more in the series `all`.
#[derive(Clone, Debug)]
struct Commit {
    number: u64,
    dots: u64,
    in_ring: bool,
    happened: Has,
    deleted: Has,
}

impl Commit {
    fn name(&self) -> String {
        format!("own.{}", self.number)
    }

    fn times(&self) -> impl Iterator<Item = u64> + use<> {
        let from = self.number * DOTS_MAX;
        from..from + self.dots
    }

    fn range(&self) -> TimeRange {
        let from = self.number * DOTS_MAX;
        TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(from + DOTS_MAX))
    }
}

/// The work, and what it has been told.
struct Work<'a> {
    dir: &'a Path,
    writer: Option<Writer>,
    commits: Vec<Commit>,
    /// Of which each has ended its ring.
    rounds: u64,
}

impl Work<'_> {
    fn new(dir: &Path) -> Work<'_> {
        Work { dir, writer: None, commits: Vec::new(), rounds: 0 }
    }

    /// All of it, up to the first error.
    fn run(&mut self) -> Result<(), Error> {
        for round in 0..ROUNDS {
            for n in 0..3 {
                self.commit(20 + 50 * n, n != 1)?;
            }
            self.commit_two()?;
            self.add(100)?;
            self.seal()?;
            self.commit(30, true)?;
            self.delete(round * 6)?;
            self.finish(round)?;
            if round % 2 == 1 {
                self.close()?;
                self.seal()?;
                self.compact()?;
                self.tidy(round)?;
                self.rounds = round + 1;
            }
        }
        self.close()
    }

    fn writer(&mut self) -> Result<&mut Writer, Error> {
        if self.writer.is_none() {
            self.writer = Some(Writer::open_with(self.dir, WAL_FILE_BYTES)?);
        }
        Ok(self.writer.as_mut().expect("it was just opened"))
    }

    fn begin(&mut self, dots: u64, in_ring: bool) -> Commit {
        let number = self.commits.len() as u64;
        let commit = Commit { number, dots, in_ring, happened: Has::Perhaps, deleted: Has::Not };
        self.commits.push(commit.clone());
        commit
    }

    fn append(&mut self, commit: &Commit) -> Result<(), Error> {
        let writer = self.writer()?;
        let mut dots = Dots::default();
        for name in [commit.name(), "all".to_owned()] {
            let key = writer.series(&SeriesName::new(&name).unwrap(), &Shape::number());
            commit
                .times()
                .for_each(|time| dots.push_number(key, false, Timestamp::from_nanos(time), time as f64));
        }
        let first = writer.ledger().next(RING, 0);
        let next = first + dots.len() as u64;
        let lanes = [LaneRecords { lane: 0, first, next, ..LaneRecords::default() }];
        let now = Timestamp::from_nanos(1);
        let ring = RingPart { incarnation: RING, application: "crash", now, ..RingPart::default() };
        let transaction = match commit.in_ring {
            true => Transaction { ring: Some(ring), lanes: &lanes, dots: &dots },
            false => Transaction { ring: None, lanes: &[], dots: &dots },
        };
        writer.append(&transaction)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.writer()?.sync()?;
        let perhaps = self.commits.iter_mut().filter(|commit| commit.happened == Has::Perhaps);
        perhaps.for_each(|commit| commit.happened = Has::Surely);
        Ok(())
    }

    fn commit(&mut self, dots: u64, in_ring: bool) -> Result<(), Error> {
        let commit = self.begin(dots, in_ring);
        self.append(&commit)?;
        self.sync()
    }

    /// Two transactions that wait for one sync.
    fn commit_two(&mut self) -> Result<(), Error> {
        for in_ring in [true, false] {
            let commit = self.begin(40, in_ring);
            self.append(&commit)?;
        }
        self.sync()
    }

    fn add(&mut self, dots: u64) -> Result<(), Error> {
        let commit = self.begin(dots, false);
        self.add_again(&commit)?;
        self.commits[commit.number as usize].happened = Has::Surely;
        Ok(())
    }

    fn add_again(&self, commit: &Commit) -> Result<(), Error> {
        // So little memory that dots are put aside.
        let mut addition = Addition::with_memory(self.dir, 4 << 10);
        for name in [commit.name(), "all".to_owned()] {
            let name = SeriesName::new(&name).unwrap();
            for time in commit.times() {
                let value = Cell::number(time as f64);
                addition.push(&name, &Shape::number(), Timestamp::from_nanos(time), value)?;
            }
        }
        addition.commit().map(drop)
    }

    fn seal(&mut self) -> Result<(), Error> {
        dotter_store::seal_all(self.dir, &|| false).map(drop)
    }

    fn delete(&mut self, number: u64) -> Result<(), Error> {
        let commit = &mut self.commits[number as usize];
        commit.deleted = Has::Perhaps;
        let deletion = Deletion {
            pattern: Pattern::new(&commit.name()),
            first_key: None,
            last_key: None,
            range: TimeRange::ALL,
        };
        dotter_store::delete(self.dir, &deletion)?;
        self.commits[number as usize].deleted = Has::Surely;
        Ok(())
    }

    /// A ring begins and ends, with one dot of its own that it refused.
    fn finish(&mut self, round: u64) -> Result<(), Error> {
        let now = Timestamp::from_nanos(1);
        let refusals = [(Reason::SIGNAL_HANDLER, 1)];
        let ring = RingPart {
            incarnation: short(round),
            application: "short",
            refusals: &refusals,
            now,
            ..RingPart::default()
        };
        let writer = self.writer()?;
        // Of a try before it is not known whether it counts.
        if !writer.ledger().is_finished(short(round)) {
            writer.finish(&ring, &[(0, 0)], Timestamp::from_nanos(round + 1))?;
        }
        self.sync()
    }

    /// The month after the first rounds has gone by at the end of the last.
    fn tidy(&self, round: u64) -> Result<(), Error> {
        let days = if round < 2 { 1 } else { 32 };
        let now = Timestamp::from_nanos(0).saturating_add(Duration::from_secs(days * 24 * 3600));
        dotter_store::tidy(self.dir, &machine(now)).map(drop)
    }

    fn compact(&mut self) -> Result<(), Error> {
        dotter_store::compact_major(self.dir, &|| false, &|_, _| ()).map(drop)
    }

    /// Lets the writer go, in peace as far as the disk lets it.
    fn close(&mut self) -> Result<(), Error> {
        self.writer = None;
        Ok(())
    }
}

/// Whether a series holds the dots of a commit: all of them, or none.
#[track_caller]
fn holds(snapshot: &Snapshot, name: &str, commit: &Commit, what: &str) -> bool {
    let found = snapshot.read(name, commit.range()).unwrap();
    let times: Vec<u64> = found.iter().map(|dot| dot.time.nanos()).collect();
    assert!(found.iter().all(|dot| dot.value == dot.time.nanos() as f64), "{what}: {name} has another value");
    assert!(
        times.is_empty() || times.iter().copied().eq(commit.times()),
        "{what}: {name} has half of {commit:?}"
    );
    !times.is_empty()
}

/// Opens what a stop has left, on a disk that is well again, and holds it against what was told.
///
/// - `power`: it was the power that went
fn check(dir: &Path, commits: &[Commit], rounds: u64, power: bool, what: &str) {
    if power {
        // After it comes another boot, in which nobody believes what was published and never synced.
        disk::in_boot([7; 16], || check_here(dir, commits, rounds, what));
    } else {
        check_here(dir, commits, rounds, what);
    }
}

fn check_here(dir: &Path, commits: &[Commit], rounds: u64, what: &str) {
    // A reader before anybody has mended anything.
    if let Ok(reader) = Reader::open(dir) {
        check_commits(&reader.snapshot(), commits, what);
    }
    let writer = Writer::open_with(dir, WAL_FILE_BYTES).unwrap_or_else(|error| panic!("{what}: {error}"));
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let there = check_commits(&snapshot, commits, what);
    let in_ring = |commit: &&Commit| commit.in_ring && there[commit.number as usize];
    let records: u64 = commits.iter().filter(in_ring).map(|commit| 2 * commit.dots).sum();
    assert_eq!(writer.ledger().next(RING, 0), records, "{what}: the watermark is that of the dots");
    let account = snapshot.ledger().account(RING).cloned().unwrap_or_default();
    assert!(account.is_balanced() && account.lost() == 0, "{what}: {account:?}");
    assert_eq!(account.stored(), records, "{what}");
    check_rings(snapshot.ledger(), rounds, what);
    check_rings(writer.ledger(), rounds, what);

    // Life goes on, and what is there stays there, what is not does not come back.
    let mut commits = commits.to_vec();
    for (commit, there) in commits.iter_mut().zip(there) {
        commit.happened = if there { Has::Surely } else { Has::Not };
    }
    let mut work = Work { dir, writer: Some(writer), commits, rounds };
    work.commit(DOTS_MAX, true).unwrap();
    work.add(7).unwrap();
    work.close().unwrap();
    work.seal().unwrap();
    work.compact().unwrap();
    work.tidy(ROUNDS).unwrap();
    let verified = dotter_store::verify(dir).unwrap();
    assert!(verified.damage.is_empty(), "{what}: {:?}", verified.damage);
    // By a rebuilt list nothing is removed.
    if !dir.join("MANIFEST.damaged").exists() {
        assert!(unlisted(dir).is_empty(), "{what}: {:?}", unlisted(dir));
    }
    let snapshot = Reader::open(dir).unwrap().snapshot();
    check_commits(&snapshot, &work.commits, what);
    check_rings(snapshot.ledger(), rounds, what);
}

/// Each ring that ended before so many rounds were over is in the sum of its application once; none counts twice.
fn check_rings(ledger: &Ledger, rounds: u64, what: &str) {
    let finished: u64 = ledger.applications().map(|(_, sum)| sum.rings).sum();
    let open = ledger.open_rings().filter(|(incarnation, _)| *incarnation != RING).count() as u64;
    let refused: u64 = ledger.applications().map(|(_, sum)| sum.refused()).sum::<u64>()
        + ledger.open_rings().map(|(_, account)| account.refused()).sum::<u64>();
    assert_eq!(finished + open, refused, "{what}");
    assert!((rounds..=ROUNDS).contains(&refused), "{what}: {refused} rings after {rounds} rounds");
    // The month after the first two has gone by, perhaps.
    let is_known = |round| ledger.is_finished(short(round));
    assert!((2..rounds).all(is_known), "{what}: not known of one of {rounds} rounds");
    assert!(ledger.damage().is_empty(), "{what}: {:?}", ledger.damage());
}

/// Which commits are there; each that surely happened is.
fn check_commits(snapshot: &Snapshot, commits: &[Commit], what: &str) -> Vec<bool> {
    let check = |commit: &Commit| {
        let there = holds(snapshot, "all", commit, what);
        assert!(there || commit.happened != Has::Surely, "{what}: {commit:?} was acknowledged and is gone");
        assert!(!there || commit.happened != Has::Not, "{what}: {commit:?} came back");
        let own = holds(snapshot, &commit.name(), commit, what);
        match commit.deleted {
            Has::Not => assert_eq!(own, there, "{what}: half of {commit:?}"),
            Has::Perhaps => assert!(there || !own, "{what}: half of {commit:?}"),
            Has::Surely => assert!(!own, "{what}: {commit:?} was deleted and is there"),
        }
        there
    };
    commits.iter().map(check).collect()
}

/// In memory where there is such a place: thousands of syncs are done.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Shows P8 and P12.
#[test]
fn a_death_at_any_step_leaves_what_was_acknowledged_and_nothing_by_halves() {
    let mut random = Random::from_env();
    let mut step = 0;
    loop {
        let scratch = scratch();
        let (dir, killed, cut) =
            (scratch.path().join("0"), scratch.path().join("killed"), scratch.path().join("cut"));
        let disk = Arc::new(Trial::new(Fault::Dies(step)));
        let mut work = Work::new(&dir);
        let outcome = disk::on(disk.clone() as Arc<dyn Disk>, || {
            let outcome = work.run();
            work.writer = None;
            outcome
        });
        if dir.exists() {
            copy(&dir, &killed);
            check(&killed, &work.commits, work.rounds, false, &format!("killed at step {step}"));
            disk.cut(&dir, &cut, &mut |below| random.below(below));
            check(&cut, &work.commits, work.rounds, true, &format!("power cut at step {step}"));
        }
        if outcome.is_ok() {
            break;
        }
        step += 1;
    }
    println!("{step} steps");
    assert!(step > 200, "the work takes more steps than {step}");
}

/// Shows P13.
#[test]
fn a_sync_that_fails_is_no_ack_and_what_it_lost_is_written_again() {
    let mut random = Random::from_env();
    let mut failing = 0;
    loop {
        let scratch = scratch();
        let (dir, cut, early) =
            (scratch.path().join("0"), scratch.path().join("cut"), scratch.path().join("early"));
        let disk = Arc::new(Trial::new(Fault::SyncFails(failing)));
        let mut work = Work::new(&dir);
        // The power goes twice: right behind the first commit that is acknowledged after the failure, when the log
        // alone holds it, and at the end, when all of it has been sealed.
        let mut acknowledged = None;
        disk::on(disk.clone() as Arc<dyn Disk>, || {
            persist(&mut work, &mut |work| {
                if acknowledged.is_none() && disk.syncs() > failing {
                    disk.cut(&dir, &early, &mut |below| random.below(below));
                    acknowledged = Some((work.commits.clone(), work.rounds));
                }
            })
        });
        if let Some((commits, rounds)) = acknowledged {
            check(&early, &commits, rounds, true, &format!("sync {failing} failed, then one succeeded"));
        }
        disk.cut(&dir, &cut, &mut |below| random.below(below));
        check(&cut, &work.commits, work.rounds, true, &format!("sync {failing} failed"));
        if disk.syncs() <= failing {
            break;
        }
        failing += 1;
    }
    assert!(failing > 50, "the work syncs more often than {failing} times");
}

#[test]
fn a_full_disk_takes_nothing_and_once_there_is_room_all_goes_on() {
    let mut random = Random::from_env();
    for _ in 0..40 {
        let from = random.below(300);
        let until = from + random.below(60);
        let scratch = scratch();
        let (dir, cut) = (scratch.path().join("0"), scratch.path().join("cut"));
        let disk = Arc::new(Trial::new(Fault::Full(from, until)));
        let mut work = Work::new(&dir);
        disk::on(disk.clone() as Arc<dyn Disk>, || persist(&mut work, &mut |_| ()));
        disk.cut(&dir, &cut, &mut |below| random.below(below));
        check(&cut, &work.commits, work.rounds, true, &format!("full from step {from} to {until}"));
    }
}

#[test]
fn a_disk_that_never_has_room_again_still_shows_what_was_acknowledged() {
    let mut random = Random::from_env();
    for _ in 0..20 {
        let from = 40 + random.below(260);
        let scratch = scratch();
        let (dir, left) = (scratch.path().join("0"), scratch.path().join("left"));
        let disk = Arc::new(Trial::new(Fault::Full(from, u64::MAX)));
        let mut work = Work::new(&dir);
        let outcome = disk::on(disk as Arc<dyn Disk>, || {
            let outcome = work.run();
            work.writer = None;
            outcome
        });
        assert!(outcome.is_err_and(|error| error.is_disk_full()), "from step {from}");
        let what = format!("full from step {from}");
        check_commits(&Reader::open(&dir).unwrap().snapshot(), &work.commits, &what);
        copy(&dir, &left);
        check(&left, &work.commits, work.rounds, false, &what);
    }
}

/// The work by somebody who tries again after each error, as the collector does.
///
/// - `committed`: called whenever a commit has been acknowledged
fn persist(work: &mut Work<'_>, committed: &mut dyn FnMut(&Work<'_>)) {
    fn again<'a>(work: &mut Work<'a>, mut what: impl FnMut(&mut Work<'a>) -> Result<(), Error>) {
        for _ in 0..1000 {
            match what(work) {
                Ok(()) => return,
                Err(_) => work.writer = None,
            }
        }
        panic!("a thousand tries were not enough");
    }
    /// Commits what is not there yet: of a ring the ledger says so, other dots replace themselves.
    fn commit<'a>(work: &mut Work<'a>, dots: u64, in_ring: bool) {
        let records = |work: &Work<'a>| -> u64 {
            let before = |commit: &&Commit| commit.in_ring && commit.happened == Has::Surely;
            work.commits.iter().filter(before).map(|commit| 2 * commit.dots).sum()
        };
        let commit = work.begin(dots, in_ring);
        again(work, |work| {
            if !in_ring || work.writer()?.ledger().next(RING, 0) == records(work) {
                work.append(&commit)?;
            }
            work.sync()
        });
    }
    for round in 0..ROUNDS {
        for (dots, in_ring) in [(60, true), (10, false), (DOTS_MAX, true)] {
            commit(work, dots, in_ring);
            committed(work);
        }
        let added = work.begin(100, false);
        again(work, |work| work.add_again(&added));
        work.commits[added.number as usize].happened = Has::Surely;
        committed(work);
        again(work, Work::seal);
        again(work, |work| work.delete(round * 4));
        again(work, Work::close);
        again(work, Work::seal);
        again(work, Work::compact);
        again(work, |work| work.finish(round));
        again(work, |work| work.tidy(round));
        work.rounds = round + 1;
    }
}
