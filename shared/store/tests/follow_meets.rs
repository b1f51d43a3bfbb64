//! Others write, commit, seal and merge without a pause while somebody follows the store with a hold: live, from a new
//! process again and again, and slowly. Each is told of every commit, and nothing is said to be missing.

mod support;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use dotter_dot::{Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{
    Deletion, Error, Follow, Pattern, Transaction, What, Writer, add, compact, compact_major, delete, rename,
    seal_all, tidy,
};
use support::Random;
use support::replica::{Replica, stored};

const WAL_FILE_BYTES: u64 = 4 << 10;
const SERIES: [&str; 3] = ["a", "b", "c"];

fn never() -> bool {
    false
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn name(of: u64) -> SeriesName {
    SeriesName::new(SERIES[(of % 3) as usize]).unwrap()
}

/// How many rounds each of those who write does; DOTTER_ROUNDS says another number.
fn rounds() -> u64 {
    std::env::var("DOTTER_ROUNDS").map_or(60, |rounds| rounds.parse().expect("a number"))
}

fn write_log(dir: &Path, mut random: Random) {
    let mut writer = Writer::open_with(dir, WAL_FILE_BYTES).unwrap();
    for number in 0..rounds() * 4 {
        let mut dots = Dots::default();
        let key = writer.series(&name(random.word()), &Shape::number());
        (0..random.below(60)).for_each(|n| dots.push_number(key, false, at(number * 10 + n), n as f64));
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
        if random.below(20) == 0 {
            drop(writer);
            // Whoever commits past the log may have it for an instant.
            writer = loop {
                match Writer::open_with(dir, WAL_FILE_BYTES) {
                    Err(Error::Locked(_)) => std::thread::yield_now(),
                    other => break other.unwrap(),
                }
            };
        }
    }
}

fn commit(dir: &Path, mut random: Random) {
    for number in 0..rounds() {
        match random.below(8) {
            0 => {
                let range = TimeRange::new(at(number * 20), at(number * 20 + 50));
                let pattern = Pattern::new(["a", "%"][random.below(2) as usize]);
                delete(dir, &Deletion { pattern, first_key: None, last_key: None, range }).unwrap();
            }
            1 => match rename(dir, &name(random.word()), &name(random.word()), &never, &|| ()) {
                Ok(_) | Err(Error::NoSeries(_) | Error::SameName(_) | Error::GivenUp) => {}
                Err(error) => panic!("{error}"),
            },
            _ => {
                let row = |n| (name(n), at(number * 30 + n), n as f64 + 0.5);
                add(dir, (0..6).map(row).collect::<NamedDots>()).unwrap();
            }
        }
    }
}

/// Seals and merges until the others are done.
fn keep_house(dir: &Path, mut random: Random, is_over: &AtomicBool) {
    while !is_over.load(SeqCst) {
        seal_all(dir, &never).unwrap();
        let outcome = match random.below(3) {
            0 => compact_major(dir, &never, &|_, _| ()).map(drop),
            1 => compact(dir, &never).map(drop),
            _ => tidy(dir, &support::machine(at(1))).map(drop),
        };
        match outcome {
            Ok(()) | Err(Error::GivenUp | Error::Locked(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn held(dir: &Path, hold: &str) -> Follow {
    let mut follow = Follow::held(dir, hold).unwrap();
    follow.tell_rows();
    follow
}

/// Follows until the others are done, and then to the end.
///
/// - `goes_on`: in one of so many looks another process goes on with the hold
fn follow(
    dir: &Path,
    hold: &str,
    mut random: Random,
    goes_on: u64,
    is_over: &AtomicBool,
    ready: &AtomicBool,
) {
    let mut replica = Replica::default();
    let mut follow = held(dir, hold);
    ready.store(true, SeqCst);
    loop {
        let is_last = is_over.load(SeqCst);
        let is_more = follow.look(&mut replica.commits).unwrap_or_else(|error| panic!("{hold}: {error}"));
        if is_last && !is_more {
            break;
        }
        if random.below(goes_on) == 0 {
            drop(follow);
            follow = held(dir, hold);
            replica.go_back(follow.position());
        }
    }
    assert_eq!(replica.rows(), stored(dir), "{hold}");
    // A rename stands at an earlier place in the order than its edit: whoever goes back to between the two has it already.
    let commits = replica.commits.iter().filter(|commit| !matches!(commit.what, What::Rename { .. }));
    let mut orders: Vec<_> = commits.map(|commit| commit.order).collect();
    orders.sort_unstable();
    let count = orders.len();
    orders.dedup();
    assert_eq!(orders.len(), count, "{hold}: a commit is told twice");
}

#[test]
fn while_others_write_seal_and_merge_followers_with_holds_miss_nothing() {
    let mut random = Random::from_env();
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let dir = root.path().join("store");
    drop(Writer::open_with(&dir, WAL_FILE_BYTES).unwrap());
    let (is_over, is_idle) = (AtomicBool::new(false), AtomicBool::new(false));
    let ready: Vec<AtomicBool> = (0..3).map(|_| AtomicBool::new(false)).collect();
    let mut of_its_own = || Random::new(random.word());
    std::thread::scope(|scope| {
        let follows = [("live", u64::MAX), ("again", 5), ("often", 2)];
        let followers: Vec<_> = follows
            .into_iter()
            .zip(&ready)
            .map(|((hold, goes_on), ready)| {
                let (dir, random, is_idle) = (&dir, of_its_own(), &is_idle);
                scope.spawn(move || follow(dir, hold, random, goes_on, is_idle, ready))
            })
            .collect();
        while !ready.iter().all(|ready| ready.load(SeqCst)) && !followers.iter().any(|one| one.is_finished())
        {
            std::thread::yield_now();
        }
        let random = of_its_own();
        let house = scope.spawn(|| keep_house(&dir, random, &is_over));
        let random = of_its_own();
        let writer = scope.spawn(|| write_log(&dir, random));
        let random = of_its_own();
        let others = scope.spawn(|| commit(&dir, random));
        let outcomes = [writer.join(), others.join()];
        is_over.store(true, SeqCst);
        let house = house.join();
        is_idle.store(true, SeqCst);
        let followers: Vec<_> = followers.into_iter().map(|follower| follower.join()).collect();
        outcomes.into_iter().chain([house]).chain(followers).for_each(|outcome| outcome.unwrap());
    });
}
