//! Somebody follows a store with a hold; whoever seals, merges and commits is stopped at every step on the disk in turn.
//! Afterwards the follower makes of the commits what readers see, or is told that something is missing.

mod support;
mod trial;

use std::path::Path;
use std::sync::Arc;

use dotter_dot::{Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{
    Deletion, Error, Follow, Pattern, Transaction, Writer, add, compact_major, delete, rename, seal_all,
    verify,
};
use support::replica::{Replica, stored};
use support::{Random, copy};
use trial::{Fault, Trial};

const WAL_FILE_BYTES: u64 = 1 << 10;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn name(text: &str) -> SeriesName {
    SeriesName::new(text).unwrap()
}

fn log(writer: &mut Writer, series: &str, first: u64) {
    for number in first..first + 4 {
        let key = writer.series(&name(series), &Shape::number());
        let mut dots = Dots::default();
        (0..30).for_each(|n| dots.push_number(key, false, at(number * 100 + n), (number + n) as f64));
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
    }
}

fn add_some(dir: &Path, first: u64) -> Result<(), Error> {
    let row = |number: u64| (name("added"), at(number), number as f64);
    add(dir, (first..first + 5).map(row).collect::<NamedDots>()).map(drop)
}

/// A store of which somebody has a hold and has been told the first half.
fn made(dir: &Path) -> Replica {
    let mut writer = Writer::open_with(dir, WAL_FILE_BYTES).unwrap();
    log(&mut writer, "a", 0);
    let mut replica = Replica::default();
    let mut follow = Follow::held(dir, "one").unwrap();
    follow.tell_rows();
    log(&mut writer, "a", 2);
    add_some(dir, 0).unwrap();
    replica.follow(&mut follow);
    follow.done().unwrap();
    drop(follow);
    // Another id epoch.
    drop(writer);
    let mut writer = Writer::open_with(dir, WAL_FILE_BYTES).unwrap();
    log(&mut writer, "b", 4);
    add_some(dir, 3).unwrap();
    let range = TimeRange::new(at(250), at(450));
    let deletion = Deletion { pattern: Pattern::new("a"), first_key: None, last_key: None, range };
    delete(dir, &deletion).unwrap();
    log(&mut writer, "a", 3);
    rename(dir, &name("b"), &name("c"), &|| false, &|| ()).unwrap();
    log(&mut writer, "b", 9);
    replica
}

/// What is stopped.
fn work(dir: &Path) -> Result<(), Error> {
    seal_all(dir, &|| false)?;
    compact_major(dir, &|| false, &|_, _| ())?;
    add_some(dir, 7)?;
    compact_major(dir, &|| false, &|_, _| ())?;
    add_some(dir, 9)
}

/// Goes on following; what was told before stays told.
#[track_caller]
fn check(dir: &Path, told: Replica, what: &str) -> usize {
    let mut replica = told;
    let mut follow = Follow::held(dir, "one").unwrap();
    follow.tell_rows();
    replica.go_back(follow.position());
    let before = replica.commits.len();
    replica.follow(&mut follow);
    assert_eq!(replica.rows(), stored(dir), "{what}");
    let verified = verify(dir).unwrap();
    assert!(verified.damage.is_empty(), "{what}: {:?}", verified.damage);
    replica.commits.len() - before
}

/// Shows P42.
#[test]
fn a_death_at_any_step_takes_nothing_from_who_follows_with_a_hold() {
    let mut random = Random::from_env();
    let before = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = before.path().join("store");
    made(&store);
    // What was told up to the hold is told anew by a store that has it all.
    let told = || {
        let mut replica = Replica::default();
        let mut follow = Follow::at(&store, dotter_store::Position::default()).unwrap();
        follow.tell_rows();
        replica.follow(&mut follow);
        replica
    };
    let mut step = 0;
    let mut kept = 0;
    loop {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = |name: &str| root.path().join(name);
        let (dir, killed, cut) = (path("0"), path("killed"), path("cut"));
        copy(&store, &dir);
        let disk = Arc::new(Trial::new(Fault::Dies(step)));
        disk.adopt(&dir);
        let outcome = disk::on(disk.clone() as Arc<dyn Disk>, || work(&dir));
        copy(&dir, &killed);
        disk.cut(&dir, &cut, &mut |below| random.below(below));
        for (left, what) in [(&killed, "killed"), (&cut, "power cut")] {
            let what = format!("{what} at step {step}");
            kept = kept.max(std::fs::read_dir(left.join("kept")).map_or(0, Iterator::count));
            let again = check(left, told(), &what);
            assert!(again >= 12, "{what}: {again}");
            // And after all was done.
            while let Err(error) = work(left) {
                // An edit that was written and not published is there once the next commit completes it.
                assert!(matches!(error, Error::GivenUp), "{what}: {error}");
            }
            check(left, told(), &format!("{what}, and all done"));
        }
        if outcome.is_ok() {
            break;
        }
        step += 1;
    }
    println!("{step} steps, {kept} files kept");
    assert!(step > 30 && kept > 3, "{step} steps, {kept} files kept");
}
