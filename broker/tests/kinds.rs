//! Records of every kind, and their times: sent as what they are.

mod support;

use dotter_dot::{Reason, SeriesName};
use dotter_publisher::{Publisher, Timestamp};
use dotter_ring::directory::Place;
use dotter_ring::{Identity, Ring, RingOptions, SlowPath};
use support::collector::Collector;
use support::{Broker, once, options, until};

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
fn every_kind_goes_as_what_it_is() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 500_000).unwrap();
    let plain = publisher.series("a").unwrap();
    let signed = publisher.series_of::<i64>("a").unwrap().unit("bytes");
    let unsigned = publisher.series_of::<u64>("b").unwrap();
    let short = publisher.series_of::<f32>("c").unwrap();
    let text = publisher.lines("d").unwrap();
    let row = publisher.row::<(f64, i32)>("e", &["x", "y"]).unwrap();
    let alone = publisher.row::<(i32,)>("f", &["only"]).unwrap();
    let raw = publisher.bytes("g").unwrap();
    let mut lane = publisher.lane().unwrap();
    let line = |number: u64| "é".repeat((number % 2000) as usize);
    let bytes = |number: u64| vec![0xff_u8.wrapping_sub(number as u8); (number % 300) as usize];
    for number in 0..1000_u64 {
        let time = Timestamp::from_nanos(number);
        lane.dot_at(&plain, time, f64::from_bits(0x7ff0_0000_0000_0001 + number));
        lane.dot_at(&signed, time, i64::MIN + number as i64);
        lane.dot(&unsigned, u64::MAX - number);
        lane.dot(&short, f32::from_bits(0x7f80_0001 + number as u32));
        lane.line(&text, &line(number));
        lane.row_at(&row, time, (number as f64, -(number as i32)));
        lane.row_at(&alone, time, (-7,));
        lane.bytes(&raw, &bytes(number));
    }
    drop(lane);
    let totals = once(directory.path(), &collector.url());
    let ring = collector.only_ring();
    let lane = &ring.lanes[&0];
    assert_eq!((lane.next, lane.dots.len(), lane.lost()), (8000, 8000, 0));
    assert!(totals.refused.is_empty() && totals.lost.is_empty(), "{totals:?}");
    for dot in &lane.dots {
        let number = dot.record / 8;
        let found =
            (std::str::from_utf8(&dot.name).unwrap(), dot.format.as_str(), dot.word, dot.row.as_slice());
        let text = [varint(line(number).len() as u64), line(number).into_bytes()].concat();
        let raw = [varint(bytes(number).len() as u64), bytes(number)].concat();
        let cells = [(number as f64).to_bits(), -(number as i64) as u64].map(u64::to_le_bytes).concat();
        let (name, format, word, row) = match dot.record % 8 {
            0 => ("a", "F", 0x7ff0_0000_0000_0001 + number, &[][..]),
            1 => ("a", "I", (i64::MIN + number as i64) as u64, &[][..]),
            2 => ("b", "U", u64::MAX - number, &[][..]),
            3 => ("c", "f", 0x7f80_0001 + number, &[][..]),
            4 => ("d", "s", dot.word, text.as_slice()),
            5 => ("e", "Fi", dot.word, cells.as_slice()),
            6 => ("f", "i", -7_i64 as u64, &[][..]),
            _ => ("g", "b", dot.word, raw.as_slice()),
        };
        assert_eq!(found, (name, format, word, row), "record {}", dot.record);
    }
}

#[test]
fn stamps_of_the_clock_are_kept_in_the_unit_asked_for_and_given_times_as_they_are() {
    for (unit, nanos) in [("ns", 1), ("us", 1_000), ("ms", 1_000_000)] {
        let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
        let publisher = Publisher::create(directory.path(), 10_000).unwrap();
        let series = publisher.series("a").unwrap();
        for number in 0..2000 {
            series.dot(0.0);
            series.dot_at(Timestamp::from_nanos(number), 0.0);
        }
        let mut options = options(directory.path(), &collector.url());
        options.time_unit = unit.parse().unwrap();
        let broker = Broker::with(options);
        until("all dots", || collector.stored() == 4000);
        broker.stop();
        let ring = collector.only_ring();
        let (stamped, given): (Vec<_>, Vec<_>) = ring.lanes[&0].dots.iter().partition(|dot| dot.clock);
        assert!(stamped.iter().all(|dot| dot.time.is_multiple_of(nanos)), "{unit}");
        assert_eq!(nanos == 1, stamped.iter().any(|dot| !dot.time.is_multiple_of(1_000)), "{unit}");
        assert!(given.iter().map(|dot| dot.time).eq(0..2000), "{unit}");
    }
}

fn varint(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    dotter_dot::put_varint(&mut out, number);
    out
}
