//! Names files come, are merged and go, stopped at one step on the disk after another: what was acknowledged is there
//! under its name, whoever reads next.

mod support;
mod trial;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dotter_dot::{Dots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{Error, Reader, Transaction, Writer, seal_all, tidy, verify};
use support::{Random, copy, machine};
use trial::{Fault, Trial};

/// So many that a seal merges names files.
const ROUNDS: u64 = 10;

/// By series, the times of its dots.
type Times = BTreeMap<u64, Vec<u64>>;

fn series(number: u64) -> SeriesName {
    SeriesName::new(&format!("machine-{number:05}.cpu")).unwrap()
}

/// A new series each, and the old ones now and then.
fn of_round(round: u64) -> impl Iterator<Item = u64> {
    (0..=round).filter(move |number| *number == round || (number + round).is_multiple_of(3))
}

fn commit(writer: &mut Writer, time: u64) -> Result<(), Error> {
    let mut dots = Dots::default();
    for number in of_round(time % 1000) {
        let key = writer.series(&series(number), &Shape::number());
        dots.push_number(key, false, Timestamp::from_nanos(time), (number * 100_000 + time) as f64);
    }
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots })?;
    writer.sync()
}

/// Returns how many commits were acknowledged.
fn work(dir: &Path) -> (u64, Result<(), Error>) {
    let mut done = 0;
    let outcome = (|| {
        let mut writer = Writer::open_with(dir, 1)?;
        for time in 0..ROUNDS {
            commit(&mut writer, time)?;
            done = time + 1;
            seal_all(dir, &|| false)?;
            tidy(dir, &machine(Timestamp::from_nanos(1)))?;
        }
        Ok(())
    })();
    (done, outcome)
}

fn expected(times: impl Iterator<Item = u64>) -> Times {
    let mut expected = Times::new();
    for time in times {
        of_round(time % 1000).for_each(|number| expected.entry(number).or_default().push(time));
    }
    expected
}

fn found(dir: &Path, what: &str) -> Times {
    let snapshot = Reader::open(dir).unwrap_or_else(|error| panic!("{what}: {error}")).snapshot();
    let mut found = Times::new();
    for number in 0..ROUNDS {
        for dot in snapshot.read(series(number).as_str(), TimeRange::ALL).unwrap() {
            let time = dot.time.nanos();
            assert_eq!(dot.value, (number * 100_000 + time) as f64, "{what}: the dot of another series");
            found.entry(number).or_default().push(time);
        }
    }
    found
}

fn check(dir: &Path, done: u64, what: &str) {
    let mut there = done;
    if Reader::open(dir).is_ok() {
        let seen = found(dir, what);
        // One more may have been on its way.
        there += u64::from(seen == expected(0..done + 1));
        assert_eq!(seen, expected(0..there), "{what}: {done} commits were acknowledged");
    } else {
        assert_eq!(done, 0, "{what}");
    }
    let mut writer = Writer::open_with(dir, 1).unwrap_or_else(|error| panic!("{what}: {error}"));
    if done == there && found(dir, what) == expected(0..done + 1) {
        there += 1;
    }
    let more = 1000..1000 + ROUNDS;
    for time in more.clone() {
        commit(&mut writer, time).unwrap();
        if time % 2 == 0 {
            seal_all(dir, &|| false).unwrap();
        }
        if time == 1005 {
            drop(writer);
            writer = Writer::open_with(dir, 1).unwrap();
        }
    }
    assert_eq!(found(dir, what), expected((0..there).chain(more)), "{what}: afterwards");
    let verified = verify(dir).unwrap();
    assert!(verified.damage.is_empty(), "{what}: {:?}", verified.damage);
    let totals = Reader::open(dir).unwrap().snapshot().ledger().totals;
    assert_eq!(totals.damaged, 0, "{what}");
}

/// Shows P8 and P12.
#[test]
fn a_death_at_any_step_of_names_files_costs_no_name() {
    let mut random = Random::from_env();
    let mut step = 0;
    loop {
        let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = |name: &str| scratch.path().join(name);
        let (dir, killed, cut) = (path("0"), path("killed"), path("cut"));
        let disk = Arc::new(Trial::new(Fault::Dies(step)));
        let (done, outcome) = disk::on(disk.clone() as Arc<dyn Disk>, || work(&dir));
        if dir.exists() {
            copy(&dir, &killed);
            check(&killed, done, &format!("killed at step {step}"));
            disk.cut(&dir, &cut, &mut |below| random.below(below));
            disk::in_boot([7; 16], || check(&cut, done, &format!("power cut at step {step}")));
        }
        if outcome.is_ok() {
            break;
        }
        step += 1 + random.below(6);
    }
    println!("{step} steps");
    assert!(step > 200, "the work takes more steps than {step}");
}
