//! Programs that are asked to stop, that stand still, and that are started twice.

use std::process::Command;
use std::time::{Duration, Instant};

use dotter_e2e::oracle::{Published, Witness, Workload, check_dots, check_ledger};
use dotter_e2e::{Pipeline, Process, program, until};
use nix::sys::signal::Signal;

const LANES: u32 = 2;

fn workload() -> Workload {
    Workload { lanes: LANES, dots: 1 << 32, series: 9, rate: Some(50_000), lane_dots: 1_000_000, hold: false }
}

/// A publisher that publishes, and a witness of its ring.
fn publisher(pipeline: &Pipeline) -> (Process, Witness) {
    let (process, mut witness) = (pipeline.load(&workload()), Witness::new(LANES));
    until("the first dots", || {
        witness.look(&pipeline.rings());
        witness.published().iter().any(|ring| ring.total() > 0)
    });
    (process, witness)
}

/// Ends the publisher and checks what became of its dots.
fn check(pipeline: &Pipeline, publisher: Process) {
    let published = [Published::parse(&publisher.terminate())];
    let mut store = pipeline.store();
    store.finished(published[0].incarnation);
    let sums = check_ledger(store.now().ledger(), &published);
    assert_eq!((sums.lost, sums.refused), (0, 0));
    assert_eq!(check_dots(&store.now(), &workload(), &published), sums.stored);
}

/// Waits until some thousands more are published.
fn goes_on(witness: &Witness) {
    let before = witness.published()[0].total();
    until("the publisher to go on", || witness.published()[0].total() > before + 5_000);
}

#[test]
fn sigterm_under_load_ends_each_program_with_0_within_five_seconds_and_loses_nothing() {
    let mut pipeline = Pipeline::start();
    let (publisher, witness) = publisher(&pipeline);
    let end = |process: Option<Process>| {
        let start = Instant::now();
        process.expect("it runs").terminate();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    };
    end(pipeline.collector.take());
    goes_on(&witness);
    end(pipeline.broker.take());
    goes_on(&witness);
    end(pipeline.displayer.take());
    pipeline.start_displayer();
    pipeline.start_broker();
    goes_on(&witness);
    pipeline.start_collector();
    check(&pipeline, publisher);
}

/// Shows P1.
#[test]
fn whoever_stands_still_the_publisher_goes_on_and_nothing_is_lost() {
    let pipeline = Pipeline::start();
    let (publisher, witness) = publisher(&pipeline);
    let [broker, collector, displayer] = [&pipeline.broker, &pipeline.collector, &pipeline.displayer]
        .map(|part| part.as_ref().expect("it runs"));
    for still in [vec![broker], vec![collector], vec![displayer, broker], vec![collector, displayer, broker]]
    {
        still.iter().for_each(|process| process.signal(Signal::SIGSTOP));
        goes_on(&witness);
        goes_on(&witness);
        // In the other order.
        still.iter().rev().for_each(|process| process.signal(Signal::SIGCONT));
    }
    check(&pipeline, publisher);
}

#[test]
fn a_second_collector_on_a_store_and_a_second_broker_on_a_ring_refuse_to_start() {
    let pipeline = Pipeline::start();
    let (publisher, _) = publisher(&pipeline);
    let refuses = |command: &mut Command, why: &str| {
        let second = Process::start(command);
        second.hear(why, |line| line.contains(why).then_some(()));
        assert_eq!(second.exit_code(), Some(1));
    };
    let mut collector = Command::new(program("dotter-collector"));
    collector.arg("--data").arg(pipeline.data()).args(["--listen", "127.0.0.1:0", "--graphite", "off"]);
    refuses(&mut collector, "is locked by another process");
    let mut broker = Command::new(program("dotter-broker"));
    broker.arg(pipeline.ring()).args(["0.1", &format!("http://{}/data", pipeline.collector_address())]);
    refuses(&mut broker, "another broker");
    check(&pipeline, publisher);
}
