//! Two publishers of one series, one of which is away for a while: rings deliver exactly once, so all dots are added up.

mod support;

use std::collections::BTreeMap;

use dotter_dot::{Dots, Incarnation, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{LaneRecords, RingPart, Transaction, Writer, seal_all};
use support::Random;
use support::made::{HOUR, MINUTE, Made, START, at, rule};

/// What a ring has to deliver.
#[derive(Default)]
struct Ring {
    waiting: Vec<(u64, f64)>,
    delivered: u64,
}

impl Ring {
    /// Commits what waits, through the log, and seals it.
    fn deliver(&mut self, number: u8, made: &Made) {
        let mut writer = Writer::open(made.dir()).unwrap();
        let key = writer.series(&SeriesName::new("requests").unwrap(), &Shape::number());
        let mut dots = Dots::default();
        for (time, value) in &self.waiting {
            dots.push_number(key, true, at(*time), *value);
        }
        let (first, next) = (self.delivered, self.delivered + self.waiting.len() as u64);
        let incarnation = Incarnation([number; 16]);
        let ring = RingPart {
            incarnation,
            application: "web",
            now: Timestamp::from_nanos(1),
            ..RingPart::default()
        };
        let lanes = [LaneRecords { lane: 0, first, next, ..LaneRecords::default() }];
        writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
        writer.sync().unwrap();
        drop(writer);
        seal_all(made.dir(), &|| false).unwrap();
        self.delivered = next;
        self.waiting.clear();
    }
}

#[test]
fn nothing_is_lost_of_two_publishers_where_one_is_away_for_twelve_hours() {
    let mut random = Random::from_env();
    let mut made = Made::new(&rule("%", "raw:2h, 1m:1y"));
    let mut rings = [Ring::default(), Ring::default()];
    let mut told: BTreeMap<u64, (u64, f64)> = BTreeMap::new();
    for hour in 0..32 {
        for (number, ring) in rings.iter_mut().enumerate() {
            for second in (0..HOUR).step_by(20) {
                // Both may stamp the same moment.
                let dot = (START + hour * HOUR + second, random.below(100) as f64);
                ring.waiting.push(dot);
            }
            let is_away = number == 1 && (6..18).contains(&hour);
            if !is_away {
                for (time, value) in &ring.waiting {
                    let (count, sum) = told.entry(time / MINUTE * MINUTE).or_default();
                    (*count, *sum) = (*count + 1, *sum + value);
                }
                ring.deliver(number as u8 + 1, &made);
            }
        }
        made.live(HOUR);
        made.compact();
        made.retain();
        if hour % 3 == 0 || hour > 28 {
            check(&made, &told);
        }
    }
    // The last file of the log is sealed when there is another.
    drop(Writer::open(made.dir()).unwrap());
    seal_all(made.dir(), &|| false).unwrap();
    made.compact();
    made.live(8 * HOUR);
    assert_eq!(made.times("requests"), []);
    check(&made, &told);
    assert!(told.values().all(|(count, _)| *count == 6) && told.len() == 32 * 60);
}

#[track_caller]
fn check(made: &Made, told: &BTreeMap<u64, (u64, f64)>) {
    let steps = made.steps("requests", TimeRange::ALL, MINUTE);
    assert_eq!(steps.len(), told.len());
    for (step, (time, (count, sum))) in steps.iter().zip(told) {
        let found = (step.time, step.count, step.sum);
        assert_eq!(found, (at(*time), *count, *sum));
        assert!((step.value.unwrap() - sum / *count as f64).abs() < 1e-9, "{step:?}");
    }
    made.check();
}
