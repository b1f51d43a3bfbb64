//! Spans and events, as a reader of the ring finds them.

use dotter_publisher::Publisher;
use dotter_publisher::tracing::DotLayer;
use dotter_ring::{Drained, LaneCursor, RingReader};
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
