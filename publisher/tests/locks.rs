//! Locks of other processes: the application does not wait for them.

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};

use common::{in_child, read};
use dotter_publisher::{Error, Publisher};

/// An exact name whose lock another open file holds, as a stopped process would.
struct Locked {
    dir: tempfile::TempDir,
    _lock: File,
}

impl Locked {
    fn take(dir: tempfile::TempDir) -> Locked {
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.path().join(".ring.lock"))
            .unwrap();
        lock.lock().unwrap();
        Locked { dir, _lock: lock }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ring")
    }
}

fn check_beside(publisher: &Publisher, exact: &Path) {
    let sibling = format!("ring.{}.dots", publisher.incarnation());
    assert_eq!(publisher.path(), exact.with_file_name(sibling));
}

#[test]
fn a_publisher_opens_beside_a_name_whose_lock_somebody_keeps() {
    let locked = Locked::take(tempfile::tempdir().unwrap());
    // In a child, which is ended where it waits.
    in_child(|| {
        let publisher = Publisher::create(&locked.path(), 1).unwrap();
        publisher.series("a").unwrap().dot(1.0);
        check_beside(&publisher, &locked.path());
        assert_eq!(read(&publisher.path()), [("a".to_owned(), 1.0)]);
    });
}

#[test]
fn a_living_owner_of_the_name_turns_others_away_whoever_keeps_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let _owner = Publisher::create(&dir.path().join("ring"), 1).unwrap();
    let locked = Locked::take(dir);
    in_child(|| {
        assert!(matches!(Publisher::create(&locked.path(), 1), Err(Error::Owned { .. })));
    });
}

#[test]
fn an_application_whose_ring_is_removed_goes_on_and_forks_whoever_keeps_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    in_child(|| {
        let path = dir.path().join("ring");
        let publisher = Publisher::create(&path, 1).unwrap();
        let series = publisher.series("a").unwrap();
        series.dot(1.0);
        let locked = Locked::take(dir);
        std::fs::remove_file(&path).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while publisher.path() == path {
                    series.dot(2.0);
                }
            });
            in_child(|| series.dot(3.0));
        });
        check_beside(&publisher, &locked.path());
        assert_eq!(publisher.refused(), Default::default());
    });
}

#[test]
fn a_fifo_in_the_place_of_a_lock_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(dir.path().join(".ring.lock")).status().unwrap();
    assert!(made.success());
    in_child(|| {
        let error = Publisher::create(&dir.path().join("ring"), 1).unwrap_err().to_string();
        assert!(error.contains("cannot open lock"), "{error}");
    });
}
