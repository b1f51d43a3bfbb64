//! Clocks that stand still, jump and are wrong: what retention believes, and what goes by it.

mod support;

use dotter_dot::TimeRange;
use support::made::{DAY, HOUR, MINUTE, Made, START, rule};

const YEARS: u64 = 3_650 * DAY;

/// Some hours go by, with a dot a minute of `a` by the wall clock and a pass each half hour.
fn hours(made: &mut Made, hours: u64) {
    for _ in 0..hours {
        let from = made.wall;
        made.add("a", (0..60).map(|minute| (from + minute * MINUTE, 1.0)));
        made.live(HOUR);
        made.compact();
    }
}

/// Nothing younger than a moment is gone: there is a dot for each minute that the machine was on.
#[track_caller]
fn has_all_since(made: &Made, since: u64, minutes: u64) {
    let times = made.times("a");
    let there = times.iter().filter(|time| (since..made.wall).contains(time)).count() as u64;
    assert_eq!(there, minutes);
}

#[test]
fn on_a_machine_that_is_on_ten_hours_a_day_all_goes_in_time_and_nothing_before() {
    let mut made = Made::new(&rule("%", "raw:2d"));
    for day in 0..90_u64 {
        assert_eq!(made.wall, START + day * DAY);
        for _ in 0..5 {
            let from = made.wall;
            made.add("a", (0..120).map(|minute| (from + minute * MINUTE, 1.0)));
            made.live(2 * HOUR);
        }
        made.compact();
        made.retain();
        // Of the last two days: ten hours of this one, of the one before, and none of the third.
        has_all_since(&made, made.wall - 2 * DAY, day.min(1) * 600 + 600);
        if day < 89 {
            made.off(14 * HOUR);
        }
    }
    // Kept for two days, a window of four hours, the lag of such a machine, and what lies between two passes.
    let age = made.wall - made.times("a")[0];
    assert!(age <= 48 * HOUR + 4 * HOUR + 66 * HOUR + 2 * HOUR, "{} h", age / HOUR);
    assert!(made.snapshot().ledger().totals.expired > 80 * 600);
    made.check();
}

#[test]
fn on_such_a_machine_what_is_kept_for_two_hours_goes_too() {
    let mut made = Made::new(&rule("%", "raw:2h, 1m:1y"));
    for day in 0..6_u64 {
        hours(&mut made, 10);
        made.retain();
        let age = made.wall - made.times("a")[0];
        assert!(age <= 7 * HOUR, "day {day}: {} h", age / HOUR);
        assert_eq!(made.counted("a", TimeRange::ALL, MINUTE), (day + 1) * 600);
        made.off(14 * HOUR);
    }
    made.check();
}

/// The clock is ahead by ten years for so many hours of a machine that is always on.
fn ahead_for(keep: &str, wrong: u64) -> Made {
    let mut made = Made::new(&rule("%", keep));
    hours(&mut made, 96);
    made.wall += YEARS;
    // Health warns from the first look on.
    let told = |made: &Made| made.retain().jumped.is_some_and(|(ahead, by)| ahead && by.as_secs() == YEARS);
    assert!(told(&made));
    made.run(HOUR / 2);
    assert!(told(&made));
    made.run(HOUR / 2);
    hours(&mut made, wrong - 1);
    made.wall -= YEARS;
    made
}

/// Shows P36.
#[test]
fn a_clock_that_is_ten_years_ahead_for_less_than_a_day_removes_nothing() {
    let mut made = ahead_for("raw:5d, 1h:1y", 22);
    let before = (0..96 * 60).map(|minute| START + minute * MINUTE).collect::<Vec<_>>();
    let is_right =
        |made: &Made| made.times("a").into_iter().filter(|time| *time < START + 10 * DAY).eq(before.clone());
    assert!(is_right(&made));
    hours(&mut made, 2);
    assert!(made.times("a").len() >= 98 * 60);
    hours(&mut made, 48);
    // From now on it goes as if nothing had been.
    assert!(made.times("a")[0] >= made.wall - 8 * DAY);
    has_all_since(&made, made.wall - 2 * DAY, 48 * 60);
    made.check();
}

#[test]
fn a_clock_that_is_ahead_for_less_than_two_hours_removes_nothing_of_what_is_kept_for_two() {
    let mut made = Made::new(&rule("%", "raw:2h"));
    hours(&mut made, 12);
    made.wall += YEARS;
    made.live(HOUR + HOUR / 2);
    assert!(made.times("a").contains(&(START + 12 * HOUR - 90 * MINUTE)));
    let before = made.times("a").len();
    assert!(before >= 120, "{before} are left");
    made.wall -= YEARS;
    made.live(HOUR / 2);
    assert!(made.times("a").len() >= before - 60);
    hours(&mut made, 2);
    has_all_since(&made, made.wall - 2 * HOUR, 120);
    // The control: for longer it is believed.
    made.wall += YEARS;
    made.live(3 * HOUR);
    assert_eq!(made.times("a"), []);
}

#[test]
fn a_clock_that_is_ahead_for_three_days_is_believed_and_what_comes_after_lives_its_full_keep() {
    let mut made = ahead_for("raw:2d", 72);
    // It was believed: all that came before is gone.
    assert!(made.times("a")[0] > START + YEARS);
    let right = made.wall;
    for day in 1..5 {
        hours(&mut made, 24);
        let kept = day.min(2);
        has_all_since(&made, made.wall - kept * DAY, kept * 24 * 60);
        let oldest = made.times("a")[0];
        assert!(oldest >= right && oldest + 4 * DAY >= made.wall, "day {day}: {} h", (oldest - right) / HOUR);
    }
    made.check();
}

#[test]
fn a_clock_that_shows_1970_for_three_days_removes_nothing_and_holds_up_nothing_afterwards() {
    let mut made = Made::new(&rule("%", "raw:2d, 1h:1y"));
    hours(&mut made, 48);
    let right = made.wall;
    made.wall = 60;
    made.live(3 * DAY);
    assert_eq!(made.times("a").len(), 48 * 60);
    made.wall += right;
    hours(&mut made, 72);
    assert!(made.times("a")[0] + 4 * DAY >= made.wall);
    has_all_since(&made, made.wall - 2 * DAY, 48 * 60);
    assert_eq!(made.counted("a", TimeRange::ALL, HOUR), (48 + 72) * 60);
    made.check();
}

#[test]
fn nothing_goes_before_the_clock_has_run_for_a_day_or_for_as_long_as_it_is_kept() {
    let mut made = Made::new(&(rule("short", "raw:2h") + &rule("%", "raw:2d")));
    for series in ["short", "long"] {
        made.add(series, (0..60).map(|minute| (START - 30 * DAY + minute * MINUTE, 1.0)));
    }
    let left = |made: &Made| (made.times("short").len(), made.times("long").len());
    made.compact();
    made.live(HOUR + HOUR / 2);
    assert_eq!(left(&made), (60, 60));
    made.live(HOUR);
    assert_eq!(left(&made), (0, 60));
    made.live(21 * HOUR);
    assert_eq!(left(&made), (0, 60));
    made.live(HOUR);
    assert_eq!(left(&made), (0, 0));
}

#[test]
fn dots_of_days_to_come_go_when_their_time_is_over() {
    let mut made = Made::new(&rule("%", "raw:2h, 1m:1y"));
    made.live(HOUR);
    made.add("ahead", (0..48).map(|hour| (START + hour * HOUR, 1.0)));
    made.compact();
    for hour in 1..60 {
        made.live(HOUR);
        let times = made.times("ahead");
        let kept = (0..48).filter(|of| of + 2 > hour).count();
        assert!(times.len() >= kept, "hour {hour}: {} of {kept}", times.len());
        assert!(times.first().is_none_or(|oldest| oldest + 7 * HOUR >= made.wall), "hour {hour}");
        assert_eq!(made.counted("ahead", TimeRange::ALL, MINUTE), 48);
    }
    made.check();
}
