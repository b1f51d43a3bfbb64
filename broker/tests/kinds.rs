//! Records that are no plain numbers: sent as what they are where the wire can, else accounted for.

mod support;

use dotter_dot::{Reason, SeriesName};
use dotter_publisher::{Publisher, Timestamp};
use dotter_ring::directory::Place;
use dotter_ring::{Identity, Ring, RingOptions, SlowPath};
use support::collector::Collector;
use support::once;

#[test]
fn a_record_of_another_kind_than_its_series_is_damage() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let inside = SlowPath::enter().unwrap();
    let options = RingOptions { lane_bytes: 1, lanes_max: 1, ..RingOptions::new("mixed") };
    let place = Place::Directory(directory.path().to_owned());
    let ring = Ring::create(&inside, &options, Identity::of_this_process().unwrap(), &place, false).unwrap();
    let plain = ring.series(&inside, &SeriesName::new("a").unwrap(), "").unwrap();
    // No publisher lets anybody do that.
    ring.shared(&inside, |lane| {
        lane.dot(plain, 0.0)?;
        lane.dot(plain, 1_i64)?;
        lane.dot(plain, 2.0)
    })
    .unwrap();
    ring.close();
    drop(inside);
    once(directory.path(), &collector.url());
    let account = collector.only_ring();
    assert_eq!(account.check_lane(0, 3, |record| record as f64), 1);
    assert_eq!(account.lanes[&0].losses, [(1, 2, Reason::DAMAGE)]);
}

#[test]
fn what_an_f64_holds_is_sent_under_its_own_format_and_the_rest_is_refused_and_counted() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let plain = publisher.series("a").unwrap();
    let signed = publisher.series_of::<i64>("a").unwrap().unit("bytes");
    let unsigned = publisher.series_of::<u64>("b").unwrap();
    let short = publisher.series_of::<f32>("c").unwrap();
    let (text, row) = (publisher.lines("d").unwrap(), publisher.row::<(f64, u32)>("e", &["x", "y"]).unwrap());
    let mut lane = publisher.lane().unwrap();
    for number in 0..1000_u64 {
        let time = Timestamp::from_nanos(number);
        lane.dot_at(&plain, time, number as f64);
        lane.dot_at(&signed, time, -(number as i64));
        lane.dot(&signed, i64::MAX - number as i64 * 1024);
        lane.dot(&unsigned, number);
        lane.dot(&unsigned, u64::MAX);
        lane.dot(&short, number as f32 / 2.0);
        lane.line(&text, "a line");
        lane.row_at(&row, time, (1.0, 2));
    }
    lane.dot(&unsigned, 1 << 63);
    lane.dot(&signed, i64::MIN);
    drop(lane);
    let totals = once(directory.path(), &collector.url());
    let ring = collector.only_ring();
    let expected = |record: u64| match (record, (record / 8) as f64) {
        (8000, _) => (b"b", "U", 2_f64.powi(63)),
        (8001, _) => (b"a", "I", -2_f64.powi(63)),
        (record, number) => match record % 8 {
            0 => (b"a", "F", number),
            1 => (b"a", "I", -number),
            3 => (b"b", "U", number),
            5 => (b"c", "f", number / 2.0),
            // 2^63 - 1 - 1024 n and 2^64 - 1 are no f64; text and row are no number.
            other => panic!("record {record}, kind {other}"),
        },
    };
    assert_eq!(ring.check_lane(0, 8002, |record| expected(record).2), 4000);
    let lane = &ring.lanes[&0];
    for dot in &lane.dots {
        let (name, format, _) = expected(dot.record);
        assert_eq!((dot.name.as_slice(), dot.format.as_str()), (name.as_slice(), format));
    }
    assert!(lane.losses.iter().all(|(_, _, reason)| *reason == Reason::OTHER));
    assert_eq!((totals.refused[&Reason::OTHER], totals.lost.len()), (4000, 0));
}
