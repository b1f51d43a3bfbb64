//! kill -9 of the broker at any instant, hundreds of times, between a publisher and a collector that live: all of it is
//! stored, nothing twice. (`kill.rs` kills all four, a few dozen times each.)
//!
//! `DOTTER_KILLS` says how many kills, `DOTTER_SEED` repeats a run's choices.

use std::thread::sleep;
use std::time::Duration;

use dotter_e2e::oracle::{Published, Workload, check_dots, check_ledger};
use dotter_e2e::{Dice, Pipeline, until};

const KILLS: u64 = 250;

#[test]
fn a_broker_killed_at_any_instant_loses_nothing_and_sends_nothing_twice() {
    let kills: u64 =
        std::env::var("DOTTER_KILLS").map_or(KILLS, |text| text.parse().expect("DOTTER_KILLS is a number"));
    let mut dice = Dice::new();
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    let workload = Workload {
        lanes: 3,
        dots: 1 << 32,
        series: 11,
        rate: Some(30_000),
        // Far more than what comes while no broker gets through.
        lane_dots: 4_000_000,
        hold: false,
    };
    let publisher = pipeline.load(&workload);
    let mut store = pipeline.store();
    let mut stored = 0;
    for kill in 0..kills {
        pipeline.start_broker_with_poll("0.001");
        if dice.one_in(10) {
            // Now and then it gets something done first, so that what it must not repeat is never all.
            until("a broker to bring something to the store", || {
                let sum = store.now().ledger().iter().map(|(_, account)| account.stored()).sum();
                std::mem::replace(&mut stored, sum) < sum
            });
        }
        let most = if kill % 2 == 0 { 15 } else { 60 };
        sleep(dice.moment(Duration::from_millis(most)));
        pipeline.broker.take().expect("just started").kill();
    }
    pipeline.start_broker();
    let published = [Published::parse(&publisher.terminate())];
    store.finished(published[0].incarnation);
    let sums = check_ledger(store.now().ledger(), &published);
    assert_eq!((sums.lost, sums.refused), (0, 0));
    assert_eq!(check_dots(&store.now(), &workload, &published), sums.stored);
    println!("{kills} kills, {sums:?}");
    until("the drained ring goes", || pipeline.rings().is_empty());
}
