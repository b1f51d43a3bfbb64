//! Loss that cannot be helped is counted to the dot.

use dotter_dot::Reason;
use dotter_e2e::oracle::{Published, Workload, check_dots, check_ledger};
use dotter_e2e::{Pipeline, until};

/// What a lane of the smallest size holds.
const LANE_DOTS: u64 = 4_032;

#[test]
fn a_ring_lapped_while_the_collector_is_down_counts_exactly_what_it_lost() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.collector.take().expect("just started").kill();
    pipeline.start_broker();
    let workload =
        Workload { lanes: 2, dots: 300_000, series: 7, rate: None, lane_dots: LANE_DOTS, hold: false };
    let published = Published::parse(&pipeline.load(&workload).finish());
    assert_eq!(published.lanes, [300_000, 300_000]);
    pipeline.start_collector();
    let mut store = pipeline.store();
    let account = store.finished(published.incarnation);
    let rings = [published];
    let sums = check_ledger(store.now().ledger(), &rings);
    assert_eq!(sums.lost, 600_000 - sums.stored);
    assert!(sums.lost > 0 && sums.stored > 0, "{sums:?}");
    assert_eq!(account.lost.keys().collect::<Vec<_>>(), [&Reason::LAPPED]);
    assert_eq!(check_dots(&store.now(), &workload, &rings), sums.stored);
    // Nobody had read anything before, so in each lane it is the oldest records that are gone.
    for (lane, records) in &account.lanes {
        let first = (0..workload.series)
            .flat_map(|series| store.dots(&Workload::series_name(*lane, series)))
            .map(|dot| dot.value - *lane as f64 * 4_294_967_296.0)
            .fold(f64::INFINITY, f64::min);
        assert_eq!(first, records.lost as f64, "lane {lane}: the first record that is stored");
        assert!(records.stored >= LANE_DOTS / 2, "lane {lane}: {records:?}");
    }
    until("the drained ring goes", || pipeline.rings().is_empty());
}

#[test]
fn a_ring_that_never_fills_loses_nothing() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.start_broker();
    let workload =
        Workload { lanes: 4, dots: 100_000, series: 25, rate: None, lane_dots: 100_000, hold: false };
    let published = [Published::parse(&pipeline.load(&workload).finish())];
    let mut store = pipeline.store();
    store.finished(published[0].incarnation);
    let sums = check_ledger(store.now().ledger(), &published);
    assert_eq!((sums.stored, sums.lost, sums.refused), (400_000, 0, 0));
    assert_eq!(check_dots(&store.now(), &workload, &published), 400_000);
}
