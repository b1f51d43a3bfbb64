//! Dots that no ring could take: each is counted once, by the process that tried to publish it.

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use dotter_publisher::{Publisher, Refusals, Series};
use dotter_ring::directory::{self, Place};
use dotter_ring::{LANE_BYTES_MIN, RingReader};

use common::{StopAtEnd, in_child};

fn total(refused: Refusals) -> u64 {
    refused.series + refused.signal_handler + refused.too_big + refused.other
}

/// What the ring of that name says was refused.
fn counted(ring: &Path) -> Refusals {
    RingReader::open(ring).unwrap().refusals()
}

/// A directory in which no ring can be made for a while: a file stands in its place.
struct Away(PathBuf);

impl Away {
    fn take(dir: &Path) -> Away {
        std::fs::remove_dir_all(dir).unwrap();
        std::fs::write(dir, "no directory").unwrap();
        Away(dir.to_owned())
    }

    fn give_back(self) {
        std::fs::remove_file(&self.0).unwrap();
        std::fs::create_dir(&self.0).unwrap();
    }
}

/// A publisher, and how often something was published through it.
struct Counted {
    publisher: Publisher,
    series: Series,
    attempts: u64,
}

impl Counted {
    fn dot(&mut self) {
        let before = total(self.publisher.refused());
        self.series.dot(1.0);
        self.attempts += 1;
        let after = total(self.publisher.refused());
        assert!((before..=before + 1).contains(&after), "{before} refused, then {after}");
    }

    fn published(&self) -> u64 {
        self.publisher.published().iter().sum()
    }

    /// Publishes until a dot is refused.
    fn dot_until_refused(&mut self) {
        let start = Instant::now();
        while total(self.publisher.refused()) == 0 {
            self.dot();
            assert!(start.elapsed() < Duration::from_secs(60), "nothing of {} is refused", self.attempts);
        }
    }

    /// Publishes until there is another ring: as soon as one may be tried again.
    fn dot_until_renewed(&mut self) {
        let path = self.publisher.path();
        while self.publisher.path() == path {
            self.dot();
        }
    }
}

fn create(rings: &Path) -> Counted {
    std::fs::create_dir(rings).unwrap();
    let publisher = Publisher::options().lane_bytes(LANE_BYTES_MIN).path(rings).open().unwrap();
    let series = publisher.series("a").unwrap();
    let mut all = Counted { publisher, series, attempts: 0 };
    all.dot();
    all
}

#[test]
fn dots_refused_while_no_ring_can_be_made_are_counted_in_the_next_ring() {
    let dir = tempfile::tempdir().unwrap();
    let rings = dir.path().join("rings");
    let mut all = create(&rings);
    let away = Away::take(&rings);
    all.dot_until_refused();
    (0..1000).for_each(|_| all.dot());
    let lost = all.published();
    assert_eq!(lost + total(all.publisher.refused()), all.attempts);
    away.give_back();
    all.dot_until_renewed();
    (0..1000).for_each(|_| all.dot());
    assert_eq!(lost + all.published() + total(all.publisher.refused()), all.attempts);
    assert_eq!(counted(&all.publisher.path()), all.publisher.refused());
    // Once more: what earlier rings have counted stays part of the sum.
    let earlier = total(all.publisher.refused());
    std::fs::remove_file(all.publisher.path()).unwrap();
    all.dot_until_renewed();
    assert_eq!(total(all.publisher.refused()), earlier);
    assert_eq!(total(counted(&all.publisher.path())), 0);
}

#[test]
fn a_child_that_could_make_no_ring_counts_what_it_refused_and_its_own_children_do_not_count_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let rings = dir.path().join("rings");
    let mut all = create(&rings);
    let away = Away::take(&rings);
    all.dot_until_refused();
    in_child(|| {
        assert_eq!(total(all.publisher.refused()), 0, "the parent counts its own");
        all.attempts = 0;
        (0..1000).for_each(|_| all.dot());
        assert_eq!(total(all.publisher.refused()), 1000);
        away.give_back();
        for _ in 0..3 {
            in_child(|| {
                assert_eq!(total(all.publisher.refused()), 0);
                all.attempts = 0;
                all.dot_until_renewed();
                assert_eq!(all.published() + total(all.publisher.refused()), all.attempts);
                assert_eq!(counted(&all.publisher.path()), all.publisher.refused());
            });
        }
        all.dot_until_renewed();
        assert_eq!(all.published() + total(all.publisher.refused()), all.attempts);
        assert_eq!(counted(&all.publisher.path()), all.publisher.refused());
        assert_eq!(directory::scan(&Place::of(&rings)).unwrap().len(), 4);
    });
}

/// A series that the registry has no room for, of a publisher in small lanes.
fn with_refused(rings: &Path) -> (Publisher, Series) {
    let options = Publisher::options().registry_bytes(4096).lane_bytes(LANE_BYTES_MIN).lanes_max(4);
    let publisher = options.path(rings).open().unwrap();
    let series = (0..10_000).map(|number| publisher.series(&format!("s{number}")).unwrap());
    let refused = series.into_iter().find(Series::is_refused).unwrap();
    (publisher, refused)
}

#[test]
fn a_child_forked_while_other_threads_are_refused_can_publish() {
    let dir = tempfile::tempdir().unwrap();
    let (publisher, refused) = with_refused(&dir.path().join("rings/"));
    let good = publisher.series("s0").unwrap();
    let row = publisher.any_row("s0", "F", &["one"]).unwrap();
    let (stop, mut attempts) = (AtomicBool::new(false), (0_u64, 0_u64));
    std::thread::scope(|scope| {
        let until_stop = |work: &dyn Fn()| {
            let mut count = 0;
            while !stop.load(Relaxed) {
                work();
                count += 1;
            }
            count
        };
        let of_series = scope.spawn(move || until_stop(&|| refused.dot(1.0)));
        let of_rows = scope.spawn(move || until_stop(&|| row.dot(&[1, 2])));
        let at_end = StopAtEnd(&stop);
        for _ in 0..100 {
            in_child(|| {
                good.dot(1.0);
                assert_eq!(publisher.published().iter().sum::<u64>(), 1);
            });
        }
        drop(at_end);
        attempts = (of_series.join().unwrap(), of_rows.join().unwrap());
    });
    let found = publisher.refused();
    assert_eq!((found.series, found.other), attempts);
    let path = publisher.path();
    drop((publisher, good));
    assert_eq!(counted(&path), found);
}

#[test]
fn what_a_child_refuses_is_counted_in_a_ring_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (publisher, refused) = with_refused(&dir.path().join("rings/"));
    let text = publisher.lines("s0").unwrap();
    let long = "x".repeat(5000);
    let mut lane = publisher.lane().unwrap();
    let (parents, parent) = (publisher.path(), publisher.refused());
    for refuse in [&mut || refused.dot(1.0), &mut || text.line(&long), &mut || lane.line(&text, &long)]
        as [&mut dyn FnMut(); 3]
    {
        in_child(|| {
            refuse();
            assert_ne!(publisher.path(), parents);
            assert_eq!(total(publisher.refused()), 1);
            assert_eq!(counted(&publisher.path()), publisher.refused());
        });
    }
    assert_eq!(counted(&parents), parent);
}
