//! The order of commits with the real files: one process is killed at each step it takes on the disk in turn, another
//! commits behind it, and a third opens the log. What was acknowledged stands behind whatever was written before it.

mod support;
mod trial;

use std::path::Path;
use std::sync::Arc;

use dotter_dot::{Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{Deletion, Error, Pattern, Reader, Transaction, Writer, add};
use support::Random;
use trial::{Fault, Trial};

/// What a process does.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Small transactions through the log: the series `x` gets this value at two times.
    Log(f64),
    /// The same as a segment.
    Segment(f64),
    Delete,
}

fn commit(dir: &Path, work: Work) -> Result<(), Error> {
    let name = SeriesName::new("x").unwrap();
    let times = [Timestamp::from_nanos(1), Timestamp::from_nanos(2)];
    match work {
        Work::Log(value) => {
            let mut writer = Writer::open_with(dir, 8 << 10)?;
            let key = writer.series(&name, &Shape::number());
            for time in times {
                let mut dots = Dots::default();
                dots.push_number(key, false, time, value);
                writer.append(&Transaction { ring: None, lanes: &[], dots: &dots })?;
                writer.sync()?;
            }
            Ok(())
        }
        Work::Segment(value) => {
            let rows = times.map(|time| (name.clone(), time, value));
            add(dir, rows.into_iter().collect::<NamedDots>()).map(drop)
        }
        Work::Delete => dotter_store::delete(
            dir,
            &Deletion { pattern: Pattern::new("x"), first_key: None, last_key: None, range: TimeRange::ALL },
        ),
    }
}

/// The values of `x`, by time.
fn values(dir: &Path) -> Vec<f64> {
    let dots = Reader::open(dir).unwrap().snapshot().read("x", TimeRange::ALL).unwrap();
    dots.iter().map(|dot| dot.value).collect()
}

/// Shows P30.
#[test]
fn an_acknowledged_commit_stands_behind_whatever_a_killed_one_had_written() {
    let mut cases = 0;
    for first in [Work::Log(1.0), Work::Segment(1.0)] {
        for second in [Work::Delete, Work::Segment(2.0), Work::Log(2.0)] {
            for step in 0.. {
                let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
                let dir = root.path().join("store");
                let disk = Arc::new(Trial::new(Fault::Dies(step))) as Arc<dyn Disk>;
                let outcome = disk::on(disk, || commit(&dir, first));
                let what = format!("{first:?} killed at step {step}, then {second:?}");
                let is_store = Reader::open(&dir).is_ok();
                if is_store || !matches!(second, Work::Delete) {
                    commit(&dir, second).unwrap_or_else(|error| panic!("{what}: {error}"));
                    let expected = match second {
                        Work::Delete => vec![],
                        Work::Segment(value) | Work::Log(value) => vec![value; 2],
                    };
                    assert_eq!(values(&dir), expected, "{what}");
                    // Whoever opens the log finds the frames of the killed one, and puts them where they belong.
                    drop(Writer::open(&dir).unwrap());
                    assert_eq!(values(&dir), expected, "{what}, and the log was opened");
                    dotter_store::seal_all(&dir, &|| false).unwrap();
                    assert_eq!(values(&dir), expected, "{what}, and the log was sealed");
                    disk::in_boot([9; 16], || {
                        assert_eq!(values(&dir), expected, "{what}, in another boot");
                    });
                    cases += 1;
                }
                if outcome.is_ok() {
                    break;
                }
            }
        }
    }
    assert!(cases > 100, "{cases} cases");
}

/// Shows P31. What fails is tried again in a new writer, as a collector does.
#[test]
fn what_was_said_to_have_failed_never_counts_not_even_after_a_power_cut() {
    let mut random = Random::from_env();
    let name = SeriesName::new("x").unwrap();
    for failing in 0.. {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (dir, cut) = (root.path().join("store"), root.path().join("cut"));
        let disk = Arc::new(Trial::new(Fault::SyncFails(failing)));
        // By time: whether it was acknowledged; nothing where nobody could say.
        let mut told = Vec::new();
        disk::on(disk.clone() as Arc<dyn Disk>, || {
            let mut writer = None;
            for time in 0..12_u64 {
                let mut once = || -> Result<(), Error> {
                    if time % 4 == 3 {
                        let row = (name.clone(), Timestamp::from_nanos(time), 1.0);
                        return add(&dir, vec![row]).map(drop);
                    }
                    if writer.is_none() {
                        writer = Some(Writer::open_with(&dir, 8 << 10)?);
                    }
                    let log = writer.as_mut().expect("it was just opened");
                    let key = log.series(&name, &Shape::number());
                    let mut dots = Dots::default();
                    dots.push_number(key, false, Timestamp::from_nanos(time), 1.0);
                    log.append(&Transaction { ring: None, lanes: &[], dots: &dots })?;
                    log.sync()
                };
                let outcome = once();
                match &outcome {
                    Ok(()) => told.push((time, true)),
                    Err(Error::Unknown(_)) => {}
                    Err(_) => told.push((time, false)),
                }
                if outcome.is_err() {
                    writer = None;
                }
            }
        });
        let check = |dir: &Path, when: &str| {
            let snapshot = Reader::open(dir).unwrap().snapshot();
            let found: Vec<u64> =
                snapshot.read("x", TimeRange::ALL).unwrap().iter().map(|dot| dot.time.nanos()).collect();
            for (time, is_stored) in &told {
                assert_eq!(
                    found.contains(time),
                    *is_stored,
                    "sync {failing} failed, {when}: {time} of {found:?}"
                );
            }
        };
        check(&dir, "at once");
        disk.cut(&dir, &cut, &mut |below| random.below(below));
        disk::in_boot([9; 16], || {
            check(&cut, "after a power cut");
            drop(Writer::open(&cut).unwrap());
            check(&cut, "after a power cut and the log was opened");
        });
        if disk.syncs() <= failing {
            assert!(failing > 20, "the work syncs more often than {failing} times");
            break;
        }
    }
}
