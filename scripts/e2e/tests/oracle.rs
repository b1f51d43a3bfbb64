//! The oracle itself is tried: it is content with a store that is right, and not with one in which a single dot is
//! wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dotter_dot::{Dots, Incarnation, Reason, SeriesName, Shape, Timestamp};
use dotter_e2e::oracle::{Published, Workload, check_dots, check_ledger};
use dotter_store::{LaneRecords, Lost, Reader, RingPart, Transaction, Writer};

const RING: Incarnation = Incarnation([5; 16]);
const RECORDS: u64 = 100;
const START: u64 = 1_700_000_000_000_000_123;
const WORKLOAD: Workload =
    Workload { lanes: 1, dots: RECORDS, series: 7, rate: None, lane_dots: RECORDS, hold: false };

/// A dot as it goes into the store.
#[derive(Clone, Copy)]
struct Stored {
    series: u64,
    clock: bool,
    time: u64,
    value: f64,
}

/// What `dotter-publisher load` would have published.
fn right(number: u64) -> Stored {
    let clock = number.is_multiple_of(2);
    let time = if clock { START + number } else { START + number * 1_000 };
    Stored { series: number % WORKLOAD.series as u64, clock, time, value: number as f64 }
}

/// Writes a store and asks the oracle; whether it is content.
///
/// - `dots`: what is stored, which the ledger believes to be all of lane 0 but `lost`
/// - `published`: what the ring says
fn is_content(dots: &[Stored], lost: Option<(u64, u64)>, published: u64) -> bool {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let mut writer = Writer::open(dir.path()).expect("a new store can be made");
    let mut columns = Dots::default();
    for dot in dots {
        let name = SeriesName::new(&Workload::series_name(0, dot.series as u32)).expect("it is a good name");
        let key = writer.series(&name, &Shape::number());
        columns.push_number(key, dot.clock, Timestamp::from_nanos(dot.time), dot.value);
    }
    let losses: Vec<Lost> = lost
        .map(|(first, next)| Lost { first, next, reason: Reason::LAPPED, times: None })
        .into_iter()
        .collect();
    let next = dots.len() as u64 + lost.map_or(0, |(first, next)| next - first);
    let ring =
        RingPart { incarnation: RING, application: "load", now: Timestamp::now(), ..RingPart::default() };
    let lanes = [LaneRecords { lane: 0, first: 0, next, losses, ..LaneRecords::default() }];
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &columns }).expect("it fits");
    let ring =
        RingPart { incarnation: RING, application: "load", now: Timestamp::now(), ..RingPart::default() };
    writer.finish(&ring, &[(0, next)], Timestamp::now()).expect("all is there");
    writer.sync().expect("the disk works");
    let mut reader = Reader::open(dir.path()).expect("there is a store");
    reader.refresh(None).expect("it can be read");
    let snapshot = reader.snapshot();
    let rings = [Published { incarnation: RING, lanes: vec![published], refused: 0 }];
    catch_unwind(AssertUnwindSafe(|| {
        check_ledger(snapshot.ledger(), &rings);
        check_dots(&snapshot, &WORKLOAD, &rings);
    }))
    .is_ok()
}

#[test]
fn it_is_content_with_all_dots_and_with_counted_losses_and_with_nothing_else() {
    let all: Vec<Stored> = (0..RECORDS).map(right).collect();
    let but = |index: usize, change: fn(&mut Stored)| {
        let mut dots = all.clone();
        change(&mut dots[index]);
        dots
    };
    let twice = |number: u64, instead_of: usize| {
        let mut dots = all.clone();
        dots[instead_of] = right(number);
        dots
    };
    assert!(is_content(&all, None, RECORDS), "all is right");
    assert!(is_content(&all[10..], Some((0, 10)), RECORDS), "ten records are lost and counted");
    assert!(!is_content(&all, None, RECORDS + 1), "the ring has published one more");
    assert!(!is_content(&all, None, RECORDS - 1), "the ring has published one less");
    assert!(!is_content(&all[..99], None, RECORDS), "one is missing and not counted");
    assert!(!is_content(&but(4, |dot| dot.value = 5.0), None, RECORDS), "a value is another one");
    assert!(!is_content(&but(4, |dot| dot.value = 4.5), None, RECORDS), "a value is none");
    assert!(!is_content(&but(4, |dot| dot.series = 3), None, RECORDS), "a dot is in another series");
    assert!(!is_content(&but(5, |dot| dot.time += 1), None, RECORDS), "a given time is another one");
    assert!(!is_content(&twice(4, 18), None, RECORDS), "a stamped dot is there twice, another is missing");
    assert!(!is_content(&twice(5, 19), None, RECORDS), "a dot replaced its own double, another is missing");
}
