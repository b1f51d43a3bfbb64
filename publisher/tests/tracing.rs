//! Spans and events, as a reader of the ring finds them.

mod common;

use common::{fork_amid, read};
use dotter_publisher::Publisher;
use dotter_publisher::tracing::DotLayer;
use dotter_ring::{Drained, LANE_BYTES_MIN, LaneCursor, RingReader};
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn spans_publish_their_life_and_events_their_count_and_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 1000).unwrap();
    let subscriber = tracing_subscriber::registry().with(DotLayer::new(publisher.clone()));
    let start = std::time::Instant::now();
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..3_i64 {
            let span = tracing::info_span!(target: "shop::till", "checkout", number);
            span.in_scope(|| {
                tracing::warn!(target: "shop::till", queue = number, share = 0.5, text = "no number", "long queue");
            });
        }
    });
    let most = start.elapsed().as_secs_f64() * 1e3;
    let mut ring = RingReader::open(&publisher.path()).unwrap();
    let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
    cursor.drain(&mut ring, usize::MAX, &mut out);
    let mut found = Vec::new();
    for dot in &out.dots {
        let entry = ring.series(dot.series).unwrap();
        found.push((entry.name.as_ref().unwrap().to_string(), entry.unit.clone(), dot.value));
    }
    let life = |row: &(String, String, f64)| row.0 == "span.shop.till.checkout";
    let (lives, events): (Vec<_>, Vec<_>) = found.into_iter().partition(life);
    assert_eq!(lives.len(), 3);
    assert!(lives.iter().all(|(_, unit, value)| unit == "ms" && (0.0..=most).contains(value)), "{lives:?}");
    let row = |name: &str, value: f64| (format!("event.shop.till{name}"), String::new(), value);
    let expected = (0..3).flat_map(|number| {
        let number = f64::from(number);
        [row(";level=warn", number + 1.0), row(".queue", number), row(".share", 0.5)]
    });
    assert_eq!(events, expected.collect::<Vec<_>>());
}

#[test]
fn a_child_forked_while_other_threads_say_events_can_say_one_of_a_new_place() {
    let dir = tempfile::tempdir().unwrap();
    let options = Publisher::options().lane_bytes(LANE_BYTES_MIN).lanes_max(4);
    let publisher = options.path(&dir.path().join("rings/")).open().unwrap();
    let subscriber = tracing_subscriber::registry().with(DotLayer::new(publisher.clone()));
    let dispatch = tracing::Dispatch::new(subscriber);
    let old = || tracing::dispatcher::with_default(&dispatch, || tracing::info!(target: "old", x = 1, "old"));
    fork_amid(old, || {
        tracing::dispatcher::with_default(&dispatch, || tracing::info!(target: "new", y = 2, "new"));
        let names: Vec<_> = read(&publisher.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["event.new;level=info", "event.new.y"]);
    });
}

#[test]
fn two_layers_of_one_subscriber_each_publish_a_spans_life() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: &str| Publisher::create(&dir.path().join(name), 1000).unwrap();
    let (first, second) = (create("first"), create("second"));
    let layers = vec![DotLayer::new(first.clone()), DotLayer::new(second.clone())];
    let subscriber = tracing_subscriber::registry().with(layers);
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!(target: "shop", "outer").in_scope(|| {
            tracing::info_span!(target: "shop", "inner").in_scope(|| {});
        });
    });
    for publisher in [first, second] {
        let found = read(&publisher.path());
        let [(inner, short), (outer, long)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&**inner, &**outer), ("span.shop.inner", "span.shop.outer"));
        assert!(short <= long, "{short} ms in {long} ms");
    }
}
