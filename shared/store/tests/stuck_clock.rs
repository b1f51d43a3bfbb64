//! Retention of a store in which some clocks are wrong: the others grow old as ever.

mod support;

use dotter_dot::TimeRange;
use support::made::{DAY, HOUR, MINUTE, Made, START, range, rule};

/// What is left of a series.
#[derive(Debug, PartialEq)]
struct Left {
    dots: usize,
    /// Segments that went in all passes.
    folded: u64,
    /// Segments at the end.
    segments: u64,
}

/// Dots of `a` every ten minutes for some days, a commit, merges and a pass every six hours, and with each commit what
/// `wrong` gives.
fn left(days: u64, wrong: &dyn Fn(u64) -> Vec<(&'static str, u64)>) -> Left {
    let mut made = Made::new(&rule("%", "raw:6h, 10m:10y, 1h:20y"));
    let mut folded = 0;
    for hour in (0..days * 24).step_by(6) {
        let from = START + hour * HOUR;
        made.add("a", (0..36).map(|n| (from + n * 10 * MINUTE, 1.0)));
        for (series, time) in wrong(hour) {
            made.add(series, [(time, hour as f64)]);
        }
        made.run(6 * HOUR);
        made.compact();
        folded += made.retain().segments;
    }
    let hours = made.steps("a", range(START, START + days * DAY), HOUR);
    assert!(hours.iter().all(|hour| hour.count == 6));
    assert_eq!(hours.len() as u64, days * 24);
    made.check();
    let (dots, segments) = (made.times("a").len(), made.snapshot().stat().segments);
    Left { dots, folded, segments }
}

/// A series that always sends one of five moments of the first day, and one that does so beside right times.
#[test]
fn one_stuck_clock_disturbs_nothing() {
    let days = 25;
    let clean = left(days, &|_| Vec::new());
    // Six hours, the six that the clock looks back, six between passes, and a window.
    assert!(clean.dots <= 20 * 6, "{clean:?}");
    let stuck = left(days, &|hour| {
        vec![("stuck", START + hour % 5), ("mixed", START + 7), ("mixed", START + hour * HOUR + 600)]
    });
    assert_eq!(stuck.dots, clean.dots);
    // Its dots are late: they lie in a window of their own for each window of arrival, and go after as long.
    assert!(stuck.folded <= clean.folded * 4, "{stuck:?} {clean:?}");
    assert!(stuck.segments <= clean.segments + 24, "{stuck:?} {clean:?}");
}

#[test]
fn a_dot_of_1970_needs_no_windows_of_the_years_between() {
    let mut made = Made::new(&rule("%", "raw:6h, 1h:90y"));
    made.add("a", (0..24 * 6).map(|n| (START + n * 10 * MINUTE, 1.0)).chain([(60, 1.0)]));
    made.run(24 * HOUR);
    made.compact();
    // Old dots wait until the clock has run for a day.
    made.live(26 * HOUR);
    assert_eq!(made.times("a"), []);
    assert_eq!(made.counted("a", TimeRange::ALL, HOUR), 24 * 6 + 1);
    assert_eq!(made.counted("a", range(0, HOUR), HOUR), 1);
    let places = made.snapshot().stat().places.len();
    assert!(places <= 4, "{places} windows");
    made.check();
}
