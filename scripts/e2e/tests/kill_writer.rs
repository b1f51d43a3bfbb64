//! kill -9 of a publisher at any instant, hundreds of times under one name: in the ring that it leaves every committed
//! record is whole and in its place, or counted as lapped.
//!
//! `DOTTER_KILLS` says how many kills, `DOTTER_SEED` repeats a run's choices.

mod reading;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::sleep;
use std::time::Duration;

use dotter_dot::Incarnation;
use dotter_e2e::oracle::Workload;
use dotter_e2e::{Dice, Process, program, until_some};
use dotter_ring::directory::{self, Place};
use dotter_ring::{BLOCK_BYTES, BLOCK_DOTS, Owner, RingReader};
use reading::{LANE_DOTS, Reading, Tally};
use tempfile::TempDir;

const KILLS: u64 = 500;
const LANES: u32 = 3;
const SERIES: u32 = 7;

/// One place for rings, in which one publisher after the other is killed.
struct Site {
    ring: PathBuf,
    place: Place,
    _directory: TempDir,
}

/// What all those rings held.
#[derive(Debug, Default)]
struct Found {
    rings: u64,
    /// Killed before the first dot.
    empty: u64,
    /// Files that were not yet a ring.
    unfinished: u64,
    /// Rings with a loss.
    lapped: u64,
    /// Read by another thread while their publisher lived.
    read_alive: u64,
    delivered: u64,
    lost: u64,
}

impl Site {
    fn new() -> Site {
        let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        let directory = directory.expect("a temporary directory can be made");
        let ring = directory.path().join("load.ring");
        Site { place: Place::of(&ring), ring, _directory: directory }
    }

    fn start(&self, lane_dots: u64) -> Process {
        let (lanes, series) = (LANES, SERIES);
        let workload = Workload { lanes, dots: 1 << 32, series, rate: None, lane_dots, hold: false };
        let mut command = Command::new(program("dotter-publisher"));
        Process::start(command.arg("load").arg(&self.ring).args(workload.arguments()))
    }

    /// The ring of the process `id`, once it has its name.
    fn of(&self, id: u32) -> Option<Reading> {
        let reading = Reading::open(&self.ring, LANES, SERIES)?;
        (reading.ring().identity().pid == id).then_some(reading)
    }

    /// Kills it while another thread reads; what that one got.
    fn kill_while_read(&self, writer: Process, after: Duration) -> (Incarnation, Vec<Tally>) {
        let (id, dead) = (writer.id(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reading = until_some("the ring of a new publisher", || self.of(id));
                while !dead.load(SeqCst) {
                    reading.drain();
                }
                assert_eq!(reading.ring().owner(), Owner::Dead);
                (reading.ring().incarnation(), reading.finish())
            });
            let started = until_some("dots of a new publisher", || {
                self.of(id).filter(|reading| reading.ring().heads().iter().any(|head| *head > 0))
            });
            sleep(after);
            drop(started);
            writer.kill();
            dead.store(true, SeqCst);
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Reads a dead ring from its beginning.
    fn read(&self, path: &Path) -> (RingReader, Vec<Tally>) {
        let mut reading = Reading::open(path, LANES, SERIES).expect("it was there a moment ago");
        assert_eq!(reading.ring().owner(), Owner::Dead);
        let tallies = reading.finish();
        for tally in &tallies {
            // A reader that was lapped gives up a quarter of the lane, and the block that was being written.
            let blocks = reading.ring().lane_capacity_bytes() / BLOCK_BYTES;
            let kept = (blocks * 3 / 4 - 2) * BLOCK_DOTS;
            assert!(tally.lost == 0 || tally.delivered >= kept, "{}: {tally:?}", path.display());
        }
        (RingReader::open(path).expect("it was read a moment ago"), tallies)
    }

    /// Removes what was to be a ring and will be none.
    fn sweep(&self) -> u64 {
        let mut unfinished = 0;
        for entry in std::fs::read_dir(self.place.directory()).expect("the directory can be read") {
            let path = entry.expect("the directory can be read").path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".tmp-")) {
                std::fs::remove_file(&path).expect("its publisher is dead");
                unfinished += 1;
            }
        }
        unfinished
    }
}

#[test]
fn a_publisher_killed_at_any_instant_leaves_every_committed_record_whole_or_counted() {
    let kills: u64 =
        std::env::var("DOTTER_KILLS").map_or(KILLS, |text| text.parse().expect("DOTTER_KILLS is a number"));
    let mut dice = Dice::new();
    let here = Site::new();
    let mut found = Found::default();
    // What was read of a ring before, under its first name.
    let mut before: HashMap<Incarnation, Vec<Tally>> = HashMap::new();
    for _ in 0..kills {
        // Many are lapped before they die, some are not.
        let writer = here.start(if dice.one_in(3) { 16 * LANE_DOTS } else { LANE_DOTS });
        let (id, mut alive) = (writer.id(), None);
        // The instants are what this test is about, so they come from the dice and from nothing else.
        match dice.below(3) {
            // Before it has a ring, while it makes one, soon after.
            0 => {
                sleep(dice.moment(Duration::from_millis(16)));
                writer.kill();
            }
            // In its first laps.
            1 => {
                until_some("the ring of a new publisher", || here.of(id));
                sleep(dice.moment(Duration::from_millis(3)));
                writer.kill();
            }
            // While it is being read.
            _ => alive = Some(here.kill_while_read(writer, dice.moment(Duration::from_millis(10)))),
        }
        found.unfinished += here.sweep();
        let paths = directory::scan(&here.place).expect("the directory can be read");
        for path in &paths {
            let (ring, tallies) = here.read(path);
            let incarnation = ring.incarnation();
            if let Some(first) = before.get(&incarnation) {
                // Whoever came after it changed nothing in it.
                assert_eq!(tallies, *first, "{}", path.display());
                if *path != here.ring {
                    assert!(directory::unlink_drained(&ring).expect("it can be removed"));
                    before.remove(&incarnation);
                }
                continue;
            }
            if let Some((same, live)) = alive.take_if(|(id, _)| *id == incarnation) {
                let committed = |tallies: &[Tally]| -> Vec<u64> {
                    tallies.iter().map(|tally| tally.delivered + tally.lost).collect()
                };
                assert_eq!(committed(&live), committed(&tallies), "{same}: read alive and dead");
                found.read_alive += 1;
            }
            found.rings += 1;
            found.empty += u64::from(tallies.iter().all(|tally| *tally == Tally::default()));
            found.lapped += u64::from(tallies.iter().any(|tally| tally.lost > 0));
            found.delivered += tallies.iter().map(|tally| tally.delivered).sum::<u64>();
            found.lost += tallies.iter().map(|tally| tally.lost).sum::<u64>();
            before.insert(incarnation, tallies);
        }
        assert!(alive.is_none(), "the ring that was read is still there: {alive:?}");
        assert!(before.len() <= 1, "the last one, under its own name: {paths:?}");
    }
    println!("{kills} kills: {found:?}");
    // Else nothing was shown.
    assert!(found.rings > kills / 3 && found.lapped > 0, "{found:?}");
}
