//! Faults of retention that a review has found, each with the right outcome.

mod support;

use dotter_dot::{Dots, Incarnation, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{
    Deletion, LaneRecords, Limits, Pattern, Purge, RingPart, Transaction, Writer, retain, seal_all,
};
use support::made::{DAY, HOUR, MINUTE, Made, START, at, range, rule};

/// Commits a dot a minute for an hour, of 1, to the log, which stays live.
fn write(made: &Made, from: u64) -> Writer {
    let mut writer = Writer::open(made.dir()).unwrap();
    let key = writer.series(&SeriesName::new("a").unwrap(), &Shape::number());
    let mut dots = Dots::default();
    for minute in 0..60 {
        dots.push_number(key, false, at(from + minute * MINUTE), 1.0);
    }
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
    writer
}

/// The values of a series, each once where it comes again and again.
fn values(made: &Made) -> Vec<f64> {
    let mut v: Vec<f64> =
        made.snapshot().read("a", TimeRange::ALL).unwrap().iter().map(|d| d.value).collect();
    v.dedup();
    v
}

fn by_day(made: &Made) -> Vec<(u64, u64)> {
    made.steps("a", TimeRange::ALL, DAY)
        .iter()
        .map(|s| (s.time.nanos() / 1_000_000_000 / DAY - START / DAY, s.count))
        .collect()
}

/// Commits a dot a minute for a while and lets that while pass, again and again.
fn publish(made: &mut Made, times: u64, each: u64) {
    for _ in 0..times {
        let from = made.wall;
        made.add("a", (from..from + each).step_by(MINUTE as usize).map(|time| (time, 1.0)));
        made.live(each);
        made.compact();
    }
}

/// Shows that windows of the next tier which are over in the meantime are gone through all the same.
#[test]
fn a_machine_that_was_off_for_ten_days_makes_days_of_all_dots() {
    let mut made = Made::new(&rule("%", "10s:6h, 1m:7d, 1d:400d"));
    publish(&mut made, 24, HOUR);
    made.off(10 * DAY);
    made.live(3 * DAY);
    assert_eq!(by_day(&made), [(0, 24 * 60)]);
}

#[test]
fn windows_that_two_tiers_have_let_go_become_days_of_all_dots() {
    let mut made = Made::new(&rule("%", "1m:2d, 10m:4d, 1d:400d"));
    publish(&mut made, 24, HOUR);
    made.live(DAY);
    made.off(10 * DAY);
    made.live(3 * DAY);
    assert_eq!(by_day(&made), [(0, 24 * 60)]);
}

#[test]
fn a_first_rule_makes_days_of_all_dots_that_were_there_before() {
    let mut made = Made::new("");
    publish(&mut made, 10, DAY);
    made.rules(&rule("%", "10s:6h, 1m:3d, 1d:400d"));
    made.live(3 * DAY);
    assert_eq!(by_day(&made), (0..10).map(|d| (d, 1440)).collect::<Vec<_>>());
}

#[test]
fn a_step_that_two_deletes_hide_together_stays_hidden_when_others_are_purged() {
    let mut made = Made::new(&rule("%", "raw:2h, 1h:30d"));
    for name in ["a", "b"] {
        made.add(name, (0..4 * 60).map(|m| (START + m * MINUTE, 1.0)));
    }
    made.compact();
    made.live(30 * HOUR);
    assert_eq!(made.times("a"), []);
    let hours = |made: &Made| made.steps("a", TimeRange::ALL, HOUR).len();
    assert_eq!(hours(&made), 4);
    made.delete("a", range(START + HOUR, START + HOUR + 30 * MINUTE));
    made.delete("a", range(START + HOUR + 30 * MINUTE, START + 2 * HOUR));
    assert_eq!(hours(&made), 3);
    // It means no series that is there, so it looks into segments and writes none anew.
    let none =
        Deletion { pattern: Pattern::new("c"), first_key: None, last_key: None, range: TimeRange::ALL };
    let purge = Purge::begin(made.dir(), &none).unwrap();
    assert!(purge.seal(&|| false).unwrap());
    purge.run(&|| false, &|| ()).unwrap();
    assert_eq!(hours(&made), 3, "a deleted step is back");
}

#[test]
fn a_correction_stays_as_long_as_the_live_log_has_what_it_corrects() {
    let mut made = Made::new(&rule("%", "raw:2h, 1h:30d"));
    made.live(12 * HOUR);
    let t0 = made.wall;
    let writer = write(&made, t0);
    // The correction of another process.
    made.add("a", (0..60).map(|m| (t0 + m * MINUTE, 2.0)));
    made.compact();
    assert_eq!(values(&made), [2.0]);
    made.live(30 * HOUR);
    drop(writer);
    drop(Writer::open(made.dir()).unwrap());
    seal_all(made.dir(), &|| false).unwrap();
    made.compact();
    made.live(40 * HOUR);
    let steps = made.steps("a", TimeRange::ALL, HOUR);
    assert_eq!(steps[0].sum, 120.0);
}

#[test]
fn equal_stamps_at_the_end_of_a_window_go_into_the_step_of_their_stamp() {
    let mut made = Made::new(&rule("%", "raw:2h, 1h:8h, 4h:30d"));
    made.live(12 * HOUR);
    let t0 = made.wall;
    let mut writer = Writer::open(made.dir()).unwrap();
    let key = writer.series(&SeriesName::new("a").unwrap(), &Shape::number());
    let mut dots = Dots::default();
    for h in 0..8 {
        for m in 0..59 {
            dots.push_number(key, true, at(t0 + h * HOUR + m * MINUTE), 1.0);
        }
        for _ in 0..3 {
            dots.push_number(key, true, Timestamp::from_nanos(at(t0 + (h + 1) * HOUR).nanos() - 1), 1.0);
        }
    }
    let n = dots.len() as u64;
    let ring = RingPart {
        incarnation: Incarnation([3; 16]),
        application: "a",
        now: Timestamp::from_nanos(1),
        ..RingPart::default()
    };
    let lanes = [LaneRecords { lane: 0, first: 0, next: n, ..LaneRecords::default() }];
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
    writer.sync().unwrap();
    drop(writer);
    drop(Writer::open(made.dir()).unwrap());
    seal_all(made.dir(), &|| false).unwrap();
    made.compact();
    for _ in 0..7 {
        made.live(2 * HOUR);
        let damage = dotter_store::verify(made.dir()).unwrap().damage;
        let damage: Vec<_> = damage.iter().map(|damage| &damage.what).collect();
        assert!(damage.is_empty(), "{damage:?}");
    }
    made.check();
    assert_eq!(made.counted("a", TimeRange::ALL, 4 * HOUR), n);
}

#[test]
fn a_stamp_of_zero_in_the_first_day_of_the_clock_costs_no_window_for_each_hour_since_1970() {
    let mut made = Made::new(&rule("%", "raw:1h, 1m:1d, 1h:5y"));
    made.retain();
    made.live(HOUR);
    // A stamp of zero, as broken senders have, and some of now.
    made.add("a", [(0, 1.0), (made.wall - 400 * DAY, 1.0), (made.wall, 1.0)]);
    made.compact();
    for _ in 0..20 {
        made.run(HOUR / 2);
        made.retain();
        let segments = made.snapshot().stat().segments;
        assert!(segments < 100, "{segments}");
    }
}

/// Each noon a day of explicit dots, half of yesterday's and half of the day before's.
#[test]
fn batches_of_half_days_are_added_up() {
    let mut made = Made::new(&rule("%", "1m:6h, 1d:400d"));
    made.live(2 * DAY + 12 * HOUR);
    for _ in 0..5 {
        let until = made.wall - DAY;
        made.add("a", (0..1440).map(|m| (until - DAY + m * MINUTE, 1.0)));
        made.compact();
        made.live(DAY);
    }
    made.live(4 * DAY);
    assert_eq!(by_day(&made).iter().map(|d| d.1).sum::<u64>(), 5 * 1440);
}

#[test]
fn deletes_of_another_series_hold_up_nothing() {
    let mut made = Made::new(&rule("%", "raw:2h"));
    for n in 0..4 {
        made.add("a", (0..60).map(|m| (START + n * HOUR + m * MINUTE, 1.0)));
    }
    made.compact();
    for _ in 0..100 {
        made.run(HOUR / 2);
        let cancel = || {
            made.delete("other", TimeRange::ALL);
            false
        };
        retain(made.dir(), &made.machine(), &Limits::default(), &cancel).unwrap();
    }
    assert_eq!(made.times("a").len(), 0);
}

#[test]
fn what_is_held_is_held_for_a_day_also_where_the_list_was_rebuilt() {
    let mut made = Made::new(&rule("%", "raw:2d"));
    for _ in 0..40 {
        made.run(DAY);
        made.retain();
        made.run(HOUR);
        made.retain();
    }
    made.add("a", (0..60).map(|m| (made.wall + m * MINUTE, 1.0)));
    made.compact();
    made.rules(&rule("%", "raw:3d"));
    made.live(HOUR);
    made.compact();
    if std::env::var("CONTROL").is_err() {
        for f in ["MANIFEST", "MANIFEST.2"] {
            std::fs::remove_file(made.dir().join(f)).unwrap();
        }
    }
    made.rules(&rule("%", "raw:3d"));
    for _ in 0..10 {
        made.live(DAY);
        made.compact();
    }
    assert_eq!(made.times("a").len(), 0);
}

#[test]
fn a_dot_far_ahead_is_not_the_newest_of_its_tier() {
    let mut made = Made::new(&rule("%", "raw:4d"));
    made.live(2 * DAY);
    made.add("a", (0..60).map(|m| (made.wall + m * MINUTE, 1.0)));
    made.add("b", [(made.wall + 3000 * DAY, 1.0)]);
    made.compact();
    retain(made.dir(), &made.machine(), &Limits { max_bytes: Some(1) }, &|| false).unwrap();
    assert_eq!(made.times("a").len(), 60);
}

#[test]
fn late_dots_wait_for_a_day_too_where_only_an_archive_became_shorter() {
    // The rule changes only what comes behind the dots as they came.
    let mut made = Made::new(&rule("%", "raw:2h, 1h:300d"));
    made.live(2 * DAY);
    made.add("a", (0..60).map(|m| (made.wall - 100 * DAY + m * MINUTE, 1.0)));
    made.compact();
    made.live(5 * HOUR / 2);
    made.rules(&rule("%", "raw:2h, 1h:30d"));
    let mut n = 0;
    while made.snapshot().contains("a") && n < 200 {
        made.run(HOUR / 2);
        made.retain();
        n += 1;
    }
    assert!(n >= 48);
}

#[test]
fn a_damaged_segment_of_the_last_tier_goes() {
    use std::os::unix::fs::PermissionsExt;
    let mut made = Made::new(&rule("%", "raw:2h"));
    made.add("a", (0..4 * 3600).map(|m| (START + m, 1.0)));
    made.compact();
    for entry in std::fs::read_dir(made.dir().join("seg")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    made.live(20 * DAY);
    assert_eq!(made.snapshot().stat().segments, 0);
}

/// The same, for the size limit.
#[test]
fn by_size_too_a_correction_stays_as_long_as_the_live_log_has_what_it_corrects() {
    let mut made = Made::new(&rule("%", "raw:4d"));
    made.live(2 * DAY);
    let t0 = made.wall - DAY;
    let _writer = write(&made, t0);
    made.add("a", (0..60).map(|m| (t0 + m * MINUTE, 2.0)));
    made.add("b", (0..60).map(|m| (made.wall + m * MINUTE, 2.0)));
    made.compact();
    assert_eq!(values(&made), [2.0]);
    retain(made.dir(), &made.machine(), &Limits { max_bytes: Some(1) }, &|| false).unwrap();
    assert_ne!(values(&made), [1.0]);
}
