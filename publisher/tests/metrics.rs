//! What the `metrics` macros say, as a reader of the ring finds it.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{fork_amid, read};
use dotter_publisher::Publisher;
use dotter_publisher::metrics::DotRecorder;
use dotter_ring::{Drained, LANE_BYTES_MIN, LaneCursor, RingReader};
use metrics::{Unit, counter, describe_histogram, gauge, histogram};

#[test]
fn counters_gauges_and_histograms_become_series_with_tags_and_units() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 1000).unwrap();
    let recorder = DotRecorder::new(publisher.clone().instance("w1"));
    metrics::with_local_recorder(&recorder, || {
        describe_histogram!("latency", Unit::Milliseconds, "how long it took");
        for _ in 0..2 {
            counter!("orders", "shop" => "north").increment(2);
            counter!("orders", "shop" => "south;\n").increment(1);
        }
        counter!("absolute").absolute(7);
        counter!("absolute").absolute(5);
        gauge!("queue").set(5.0);
        gauge!("queue").increment(1.5);
        gauge!("queue").decrement(3.0);
        histogram!("latency").record(0.25);
        histogram!("latency").record_many(0.5, 2);
        counter!("x".repeat(5000)).increment(1);
        gauge!("y".repeat(5000)).set(1.0);
    });
    let mut ring = RingReader::open(&publisher.path()).unwrap();
    let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
    cursor.drain(&mut ring, usize::MAX, &mut out);
    let mut found = BTreeMap::<_, Vec<f64>>::new();
    for dot in &out.dots {
        let entry = ring.series(dot.series).unwrap();
        let name = entry.name.as_ref().unwrap().to_string();
        found.entry((name, entry.unit.clone())).or_default().push(dot.value);
    }
    let expected = [
        ("absolute;instance=w1", "", vec![7.0, 7.0]),
        ("latency;instance=w1", "ms", vec![0.25, 0.5, 0.5]),
        ("orders;instance=w1;shop=north", "", vec![2.0, 4.0]),
        ("orders;instance=w1;shop=south__", "", vec![1.0, 2.0]),
        ("queue;instance=w1", "", vec![5.0, 6.5, 3.5]),
    ];
    let expected = expected.map(|(name, unit, values)| ((name.to_owned(), unit.to_owned()), values));
    assert_eq!(found, BTreeMap::from(expected));
    assert_eq!(publisher.refused().series, 2, "names too long for a series");
}

#[test]
fn a_child_forked_while_other_threads_count_can_use_what_it_has_not_used_before() {
    let dir = tempfile::tempdir().unwrap();
    let options = Publisher::options().lane_bytes(LANE_BYTES_MIN).lanes_max(4);
    let publisher = options.path(&dir.path().join("rings/")).open().unwrap();
    let recorder = DotRecorder::new(publisher.clone());
    let published = |path: &Path| read(path).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let count = || metrics::with_local_recorder(&recorder, || counter!("old").increment(1));
    fork_amid(count, || {
        metrics::with_local_recorder(&recorder, || {
            describe_histogram!("new", Unit::Milliseconds, "a duration");
            counter!("new").increment(1);
            gauge!("new gauge").set(1.0);
            histogram!("new histogram").record(1.0);
        });
        assert_eq!(published(&publisher.path()), ["new", "new gauge", "new histogram"]);
    });
}
