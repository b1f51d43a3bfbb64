//! Processes that are stopped at any instant, in the middle of a block and of a batch, and go on: who laps and who is
//! lapped, everything is counted to the dot.
//!
//! `DOTTER_SEED` repeats a run's choices.

mod reading;

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use dotter_dot::Reason;
use dotter_e2e::oracle::{Published, Workload, check_dots, check_ledger};
use dotter_e2e::{Dice, Pipeline, Process, program, until, until_some};
use dotter_ring::{BLOCK_BYTES, LANE_BYTES_MIN};
use nix::sys::signal::Signal;
use reading::{LANE_DOTS, Reading, Tally};
use tempfile::TempDir;

const STOPS: u64 = 200;
const LANES: u32 = 2;
const SERIES: u32 = 5;

/// Waits until each of its threads stands still.
fn stop(process: &Process) {
    process.signal(Signal::SIGSTOP);
    until("a process that stands still", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", process.id())).expect("it runs");
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state stands behind the name, which may hold anything.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    });
}

/// Waits until more than so many bytes were written to every lane since it was at `heads`.
fn goes_on(reading: &Reading, heads: &[u64], bytes: u64) {
    until("the writer to go on", || {
        let now = reading.ring().heads();
        let before = heads.iter().chain(std::iter::repeat(&0));
        now.len() == LANES as usize && now.iter().zip(before).all(|(now, before)| *now > before + bytes)
    });
}

#[test]
fn a_writer_stopped_in_mid_block_and_let_go_to_lap_its_reader_is_counted_to_the_dot() {
    let mut dice = Dice::new();
    let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
    let directory = directory.expect("a temporary directory can be made");
    let ring = directory.path().join("load.ring");
    let workload = Workload {
        lanes: LANES,
        dots: 1 << 32,
        series: SERIES,
        rate: None,
        lane_dots: LANE_DOTS,
        hold: false,
    };
    let mut command = Command::new(program("dotter-publisher"));
    let writer = Process::start(command.arg("load").arg(&ring).args(workload.arguments()));
    let mut reading = until_some("the ring", || Reading::open(&ring, LANES, SERIES));
    let mut in_block = 0;
    let mut tallies: Vec<Tally> = Vec::new();
    for _ in 0..STOPS {
        // Drains beside the writer, then not at all: it is lapped, at times while it copies.
        for _ in 0..dice.below(20) {
            reading.drain();
        }
        sleep(dice.moment(Duration::from_millis(2)));
        stop(&writer);
        let heads = reading.ring().heads();
        in_block += heads.iter().filter(|head| *head % BLOCK_BYTES != 0).count();
        // The writer stands; all it has committed is read or lost, and no more.
        tallies = reading.finish();
        assert_eq!(reading.drain(), 0);
        // Another reader, which begins now, counts as many.
        let mut other = Reading::open(&ring, LANES, SERIES).expect("it is there");
        let sums = |tallies: &[Tally]| -> Vec<u64> {
            tallies.iter().map(|tally| tally.delivered + tally.lost).collect()
        };
        assert_eq!(sums(&other.finish()), sums(&tallies));
        writer.signal(Signal::SIGCONT);
        if dice.one_in(2) {
            goes_on(&reading, &heads, 2 * LANE_BYTES_MIN);
        }
    }
    let published = Published::parse(&writer.terminate());
    let last = reading.finish();
    println!("{STOPS} stops, {in_block} lanes stopped within a block, {last:?}");
    let all: Vec<u64> = last.iter().map(|tally| tally.delivered + tally.lost).collect();
    assert_eq!((all, published.refused), (published.lanes, 0));
    assert!(tallies.iter().all(|tally| tally.lost > 0 && tally.delivered > 0), "{tallies:?}");
}

#[test]
fn a_broker_stopped_until_it_is_lapped_counts_exactly_what_it_missed() {
    let mut dice = Dice::new();
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.start_broker_with_poll("0.005");
    let workload = Workload {
        lanes: LANES,
        dots: 1 << 32,
        series: SERIES,
        rate: Some(100_000),
        lane_dots: LANE_DOTS,
        hold: false,
    };
    let publisher = pipeline.load(&workload);
    let mut witness = until_some("the ring", || Reading::open(pipeline.ring(), LANES, SERIES));
    let broker = pipeline.broker.take().expect("just started");
    for _ in 0..40 {
        sleep(dice.moment(Duration::from_millis(60)));
        stop(&broker);
        let heads = witness.ring().heads();
        let wanted = dice.below(3) * LANE_BYTES_MIN;
        goes_on(&witness, &heads, wanted);
        broker.signal(Signal::SIGCONT);
    }
    let published = [Published::parse(&publisher.terminate())];
    let mut store = pipeline.store();
    let account = store.finished(published[0].incarnation);
    let sums = check_ledger(store.now().ledger(), &published);
    assert_eq!(account.lost.keys().collect::<Vec<_>>(), [&Reason::LAPPED]);
    assert_eq!(sums.refused, 0);
    assert!(sums.stored > sums.lost / 100 && sums.lost > LANE_DOTS, "{sums:?}");
    assert_eq!(check_dots(&store.now(), &workload, &published), sums.stored);
    // The ring itself tells the same, to whoever still has it mapped.
    let ring: Vec<u64> = witness.finish().iter().map(|tally| tally.delivered + tally.lost).collect();
    assert_eq!(ring, published[0].lanes);
    println!("{sums:?}");
    broker.terminate();
}
