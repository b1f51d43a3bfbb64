//! Whoever follows a store is told of each commit once, and makes of them what readers see: live, after a while, with a hold
//! while everything is sealed and merged, and from a new process. What is not kept any more is said.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dotter_dot::{Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{
    Deletion, Error, Follow, Missed, Pattern, Position, Purge, Reader, Transaction, Writer, add, backup,
    compact, compact_filtered, compact_major, delete, rename, seal_all, tidy, verify,
};
use proptest::prelude::*;
use support::replica::{Replica, stored};

const SERIES: [&str; 4] = ["a", "b", "c.x", "c.y"];
const WAL_FILE_BYTES: u64 = 4 << 10;

fn never() -> bool {
    false
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn name(of: usize) -> SeriesName {
    SeriesName::new(SERIES[of]).unwrap()
}

/// Something that is done to a store.
#[derive(Clone, Debug)]
enum Step {
    Log {
        of: usize,
        time: u64,
        count: u64,
        is_clock: bool,
    },
    Add {
        of: usize,
        time: u64,
        count: u64,
    },
    Delete {
        pattern: &'static str,
        from: u64,
        length: u64,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Seal,
    /// The writer ends, and another one begins.
    Restart,
    Compact,
    CompactAll,
    /// A follower looks.
    Look {
        who: usize,
    },
    /// The process of a follower ends, and another one goes on with its hold.
    GoOn {
        who: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let series = || 0..SERIES.len();
    let pattern = prop_oneof![Just("a"), Just("c.%"), Just("%"), Just("c.y")];
    prop_oneof![
        12 => (series(), 1..900_u64, 1..40_u64, any::<bool>())
            .prop_map(|(of, time, count, is_clock)| Step::Log { of, time, count, is_clock }),
        6 => (series(), 1..900_u64, 1..20_u64).prop_map(|(of, time, count)| Step::Add { of, time, count }),
        3 => (pattern, 0..900_u64, 1..200_u64)
            .prop_map(|(pattern, from, length)| Step::Delete { pattern, from, length }),
        2 => (series(), series()).prop_map(|(from, to)| Step::Rename { from, to }),
        4 => Just(Step::Seal),
        2 => Just(Step::Restart),
        4 => Just(Step::Compact),
        2 => Just(Step::CompactAll),
        8 => (0..3_usize).prop_map(|who| Step::Look { who }),
        2 => (1..3_usize).prop_map(|who| Step::GoOn { who }),
    ]
}

/// A store, who works on it, and who follows it: the first without a hold, and looks each time.
struct Work {
    root: tempfile::TempDir,
    writer: Option<Writer>,
    count: u64,
    followers: Vec<(Option<Follow>, Replica)>,
}

impl Work {
    fn new() -> Work {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        let writer = Writer::open_with(&dir, WAL_FILE_BYTES).unwrap();
        let follow = |hold: Option<&str>| {
            let mut follow = hold.map_or_else(|| Follow::now(&dir), |hold| Follow::held(&dir, hold)).unwrap();
            follow.tell_rows();
            (Some(follow), Replica::default())
        };
        let followers = vec![follow(None), follow(Some("one")), follow(Some("two"))];
        Work { root, writer: Some(writer), count: 0, followers }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("store")
    }

    fn numbers(&mut self, count: u64) -> std::ops::Range<u64> {
        self.count += count;
        self.count - count..self.count
    }

    fn look(&mut self, who: usize) {
        let (follow, replica) = &mut self.followers[who];
        replica.follow(follow.as_mut().unwrap());
    }

    fn run(&mut self, step: &Step) {
        let dir = self.dir();
        match *step {
            Step::Log { of, time, count, is_clock } => {
                let numbers = self.numbers(count);
                let writer = self.writer.as_mut().unwrap();
                let key = writer.series(&name(of), &Shape::number());
                let mut dots = Dots::default();
                for number in numbers {
                    // No two stamps of the clock are equal.
                    let time = if is_clock { number << 20 } else { time + number % 7 };
                    dots.push_number(key, is_clock, at(time), number as f64);
                }
                writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
                writer.sync().unwrap();
            }
            Step::Add { of, time, count } => {
                let numbers = self.numbers(count);
                let row = |number: u64| (name(of), at(time + number % 11), number as f64);
                add(&dir, numbers.map(row).collect::<NamedDots>()).unwrap();
            }
            Step::Delete { pattern, from, length } => delete(&dir, &deletion(pattern, from, length)).unwrap(),
            Step::Rename { from, to } => match rename(&dir, &name(from), &name(to), &never, &|| ()) {
                Ok(_) | Err(Error::NoSeries(_) | Error::SameName(_)) => {}
                Err(error) => panic!("{error}"),
            },
            Step::Seal => _ = seal_all(&dir, &never).unwrap(),
            Step::Restart => {
                self.writer = None;
                self.writer = Some(Writer::open_with(&dir, WAL_FILE_BYTES).unwrap());
            }
            Step::Compact => _ = compact(&dir, &never).unwrap(),
            Step::CompactAll => _ = compact_major(&dir, &never, &|_, _| ()).unwrap(),
            Step::Look { who } => self.look(who),
            Step::GoOn { who } => {
                let hold = ["", "one", "two"][who];
                let (follow, replica) = &mut self.followers[who];
                let position = follow.as_ref().unwrap().position();
                *follow = None;
                let mut again = Follow::held(&dir, hold).unwrap();
                again.tell_rows();
                // The hold was moved at the last look but one: what came after that is told again.
                assert!(again.position() <= position);
                replica.go_back(again.position());
                *follow = Some(again);
            }
        }
        if !self.followers.is_empty() {
            self.look(0);
        }
    }
}

fn deletion(pattern: &str, from: u64, length: u64) -> Deletion {
    let range = TimeRange::new(at(from), at(from + length));
    Deletion { pattern: Pattern::new(pattern), first_key: None, last_key: None, range }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn followers_make_of_the_commits_what_readers_see(steps in prop::collection::vec(step(), 1..60)) {
        let mut work = Work::new();
        for step in &steps {
            work.run(step);
        }
        let expected = stored(&work.dir());
        for who in 0..3 {
            work.look(who);
            prop_assert_eq!(&work.followers[who].1.rows(), &expected, "follower {}", who);
        }
        let verified = verify(&work.dir()).unwrap();
        prop_assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    }
}

/// What a look says is missing.
#[track_caller]
fn missed(follow: &mut Follow) -> Missed {
    let mut commits = Vec::new();
    loop {
        match follow.look(&mut commits) {
            Err(Error::Missed(missed)) => return missed,
            Ok(true) => {}
            other => panic!("nothing is missing: {:?}", other.map(|_| commits.len())),
        }
    }
}

/// Does something on a thread whose store is as the machine was `running` after its start.
#[derive(Debug, Default)]
struct Running(AtomicU64);

impl Disk for Running {
    fn since_boot(&self) -> std::io::Result<Duration> {
        Ok(Duration::from_secs(self.0.load(SeqCst)))
    }
}

const LOG: Step = Step::Log { of: 0, time: 100, count: 3, is_clock: false };
const ADD: Step = Step::Add { of: 1, time: 500, count: 2 };

#[test]
fn what_is_not_kept_any_more_is_said_once_with_its_times_and_what_comes_behind_it_follows() {
    let mut work = Work::new();
    let mut follow = Follow::at(&work.dir(), Position::default()).unwrap();
    [LOG, ADD, LOG].iter().for_each(|step| work.run(step));
    // The two who have holds have seen it all.
    work.followers.clear();
    work.followers.push((Some(Follow::now(&work.dir()).unwrap()), Replica::default()));
    holds_end(&work.dir());
    [Step::Seal, Step::Restart, Step::Seal].iter().for_each(|step| work.run(step));
    let found = missed(&mut follow);
    assert_eq!((found.from, found.until.edit), (Position::default(), 0));
    assert!(found.until.sequence > 0);
    let times = found.times.expect("the segments say it");
    assert!(times.contains(at(100)) && times.contains(at(500)) && !times.contains(at(600)), "{times:?}");
    // It is said until whoever is told goes on.
    assert_eq!(missed(&mut follow), found);
    follow.skip(&found);
    let mut replica = Replica::default();
    follow.tell_rows();
    replica.follow(&mut follow);
    // What others have committed is still in the list.
    assert_eq!(replica.rows().keys().map(String::as_str).collect::<Vec<_>>(), ["b"]);
    work.run(&LOG);
    replica.follow(&mut follow);
    assert_eq!(replica.rows()["a"].len(), 3);
}

/// All holds are given up.
fn holds_end(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("hold")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[test]
fn a_merge_of_what_others_committed_and_a_spent_delete_are_missed_by_who_has_no_hold() {
    for (steps, name) in [
        (&[ADD, Step::CompactAll][..], "a segment"),
        (&[LOG, Step::Delete { pattern: "a", from: 0, length: 900 }, Step::Restart, Step::Seal], "a delete"),
    ] {
        let mut work = Work::new();
        let (held, replica) = work.followers.remove(1);
        let position = work.followers[0].0.as_ref().unwrap().position();
        work.followers.truncate(1);
        let mut without = Follow::at(&work.dir(), position).unwrap();
        // Who has a hold is told all of it.
        steps.iter().for_each(|step| work.run(step));
        let (mut held, mut replica) = (held.unwrap(), replica);
        replica.follow(&mut held);
        assert_eq!(replica.rows(), stored(&work.dir()), "{name}");
        held.end().unwrap();
        holds_end(&work.dir());
        // The next commit lets go of it.
        [ADD, LOG, Step::Restart, Step::Seal, Step::CompactAll].iter().for_each(|step| work.run(step));
        let found = missed(&mut without);
        assert_eq!(found.from, position, "{name}");
        assert!(found.until > position, "{name}");
    }
}

#[test]
fn a_filter_command_a_restored_copy_and_a_rebuilt_list_are_said_to_who_follows() {
    let mut work = Work::new();
    [LOG, ADD, Step::Seal].iter().for_each(|step| work.run(step));
    work.followers.clear();
    let dir = work.dir();
    let mut follow = Follow::now(&dir).unwrap();
    let write = |name: &str, row: &dotter_store::Row<'_>, out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{name} {}\n", row.time().nanos()).as_bytes());
    };
    let mut read = |line: &str| {
        let (name, time) = line.split_once(' ').unwrap();
        Ok(dotter_store::FilteredRow {
            name: SeriesName::new(name).unwrap(),
            time: at(time.parse().unwrap()),
            shape: Shape::number(),
            bytes: 1.0_f64.to_bits().to_le_bytes().to_vec(),
        })
    };
    compact_filtered(&dir, "cat", &write, &mut read, &never, &|_, _| ()).unwrap();
    let found = missed(&mut follow);
    follow.skip(&found);
    let mut commits = Vec::new();
    while follow.look(&mut commits).unwrap() {}
    assert!(commits.is_empty());
    // A copy of before in the place of the store.
    let (kept, aside) = (work.root.path().join("kept"), work.root.path().join("aside"));
    backup(&dir, &kept, &never).unwrap();
    [LOG, ADD].iter().for_each(|step| work.run(step));
    while follow.look(&mut commits).unwrap() {}
    let position = follow.position();
    work.writer = None;
    std::fs::rename(&dir, &aside).unwrap();
    std::fs::rename(&kept, &dir).unwrap();
    let mut again = Follow::at(&dir, position).unwrap();
    let found = missed(&mut again);
    assert!(found.from == position && found.until < position, "{found:?}");
    // Both lists are damaged.
    let mut follow = Follow::now(&dir).unwrap();
    let end = support::published(&dir) - 16;
    ["MANIFEST", "MANIFEST.2"].iter().for_each(|name| support::flip(&dir.join(name), end));
    add(&dir, [(name(0), at(1), 1.0)].into_iter().collect::<NamedDots>()).unwrap();
    missed(&mut follow);
}

/// Shows P41.
#[test]
fn what_a_hold_needs_stays_for_an_hour_of_running_time_after_its_owner_and_no_longer() {
    let running = Arc::new(Running::default());
    let clock = running.clone();
    disk::on(running, move || {
        let mut work = Work::new();
        let dir = work.dir();
        let kept = || std::fs::read_dir(dir.join("kept")).map_or(0, Iterator::count);
        work.followers.truncate(2);
        let (mut follow, mut replica) = work.followers.remove(1);
        follow = follow.map(|mut follow| {
            follow.look(&mut replica.commits).unwrap();
            follow
        });
        // Its owner lives, and does nothing for a day.
        clock.0.store(86_400, SeqCst);
        let work_on = |work: &mut Work| {
            [LOG, ADD, Step::Restart, Step::Seal, ADD, Step::CompactAll, ADD]
                .iter()
                .for_each(|step| work.run(step));
        };
        work_on(&mut work);
        assert!(kept() > 2);
        replica.follow(follow.as_mut().unwrap());
        assert_eq!(replica.rows(), stored(&dir));
        replica.follow(follow.as_mut().unwrap());
        // What was told is not needed any more.
        work_on(&mut work);
        let count = kept();
        assert!(count > 0);
        // It ends, and another goes on within the hour.
        drop(follow.take());
        clock.0.fetch_add(3599, SeqCst);
        work_on(&mut work);
        assert!(kept() > count);
        let mut again = Follow::held(&dir, "one").unwrap();
        again.tell_rows();
        replica.go_back(again.position());
        replica.follow(&mut again);
        assert_eq!(replica.rows(), stored(&dir));
        let position = again.position();
        again.done().unwrap();
        drop(again);
        clock.0.fetch_add(3601, SeqCst);
        work_on(&mut work);
        work_on(&mut work);
        assert_eq!(kept(), 0);
        let mut late = Follow::at(&dir, position).unwrap();
        missed(&mut late);
        // Its file still says how far it had come.
        tidy(&dir, &support::machine(at(1))).unwrap();
        assert!(dir.join("hold/one").exists());
    });
}

#[test]
fn a_hold_has_one_owner_and_a_name_that_is_no_path() {
    let work = Work::new();
    let dir = work.dir();
    assert!(matches!(Follow::held(&dir, "one"), Err(Error::Locked(path)) if path.ends_with("hold/one")));
    for name in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(65)] {
        let error = Follow::held(&dir, name).err().expect("it is refused");
        assert!(
            matches!(&error, Error::HoldName(of) if of == name) && error.to_string().contains("expected"),
            "{error}"
        );
    }
    // Another name is another hold.
    let mut other = Follow::held(&dir, "x.Y-1_2").unwrap();
    other.done().unwrap();
    other.end().unwrap();
    assert!(!dir.join("hold/x.Y-1_2").exists());
}

#[test]
fn a_hold_whose_file_is_damaged_or_empty_begins_nowhere_in_silence() {
    for bytes in [vec![], vec![0xA5; 1024]] {
        let mut work = Work::new();
        [LOG, ADD, Step::Look { who: 1 }, Step::Look { who: 1 }, LOG].iter().for_each(|step| work.run(step));
        work.followers.truncate(1);
        let path = work.dir().join("hold/one");
        std::fs::write(&path, &bytes).unwrap();
        let mut follow = Follow::held(&work.dir(), "one").unwrap();
        if bytes.is_empty() {
            // A file that was just made.
            assert_eq!(follow.position(), Reader::open(&work.dir()).unwrap().snapshot().position());
            continue;
        }
        assert_eq!(follow.position(), Position::default());
        follow.tell_rows();
        let mut replica = Replica::default();
        replica.follow(&mut follow);
        assert_eq!(replica.rows(), stored(&work.dir()));
    }
}

/// Shows P37.
#[test]
fn a_purge_leaves_nothing_of_what_it_deletes_to_who_has_a_hold_which_is_said() {
    let mut work = Work::new();
    let (follow, _) = work.followers.remove(1);
    let mut follow = follow.unwrap();
    work.followers.truncate(1);
    let steps = [LOG, ADD, Step::Restart, Step::Seal, ADD, Step::CompactAll, ADD];
    steps.iter().for_each(|step| work.run(step));
    let dir = work.dir();
    let kept = || std::fs::read_dir(dir.join("kept")).map_or(0, Iterator::count);
    assert!(kept() > 1);
    Purge::begin(&dir, &deletion("a", 0, 900)).unwrap().run(&never, &|| ()).unwrap();
    assert_eq!(kept(), 0);
    // First what others have committed, then the log.
    for _ in 0..2 {
        let found = missed(&mut follow);
        follow.skip(&found);
    }
    let mut replica = Replica::default();
    follow.tell_rows();
    replica.follow(&mut follow);
    work.run(&LOG);
    replica.follow(&mut follow);
    assert_eq!(replica.rows()["a"].len(), 3);
}
