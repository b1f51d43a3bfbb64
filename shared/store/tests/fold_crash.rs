//! A pass of retention, stopped at every step it takes on the disk in turn: afterwards each dot is in exactly one tier, and
//! the ledger is exact.

mod support;
mod trial;

use std::sync::Arc;

use dotter_dot::TimeRange;
use dotter_store::disk::{self, Disk};
use dotter_store::{Limits, retain};
use support::Random;
use support::made::{HOUR, MINUTE, Made, START, rule};
use trial::{Fault, Trial};

const HOURS: u64 = 10;

/// A store in which windows of dots and of steps are due, some of them late ones.
fn due() -> Made {
    let mut made = Made::new(&(rule("gone", "raw:2h") + &rule("%", "raw:2h, 1m:4h, 10m:1y")));
    for hour in 0..HOURS {
        let from = START + hour * HOUR;
        for series in ["a", "b", "gone"] {
            // Of the fourth of each ten minutes there are no dots on time.
            let halves = (0..120).filter(|half| series != "b" || half / 2 % 10 != 3);
            made.add(series, halves.map(|half| (from + half * MINUTE / 2, half as f64)));
        }
        // A late dot, and one that replaces another.
        made.add("b", [(START + hour * 10 * MINUTE + 3 * MINUTE, 5.0), (from, 7.0)]);
        made.live(HOUR);
        made.compact();
    }
    made.run(3 * HOUR);
    made
}

/// How many of the dots of `gone` are left, after all has been held against what was committed.
#[track_caller]
fn check(made: &Made, what: &str) -> usize {
    for (series, expected) in [("a", HOURS * 120), ("b", HOURS * (120 - 12) + HOURS)] {
        for step in [10 * MINUTE, HOUR] {
            assert_eq!(made.counted(series, TimeRange::ALL, step), expected, "{what}: {series}");
        }
    }
    let snapshot = made.snapshot();
    let (stat, totals) = (snapshot.stat(), snapshot.ledger().totals);
    let accounted = stat.dots + totals.replaced + totals.expired;
    assert_eq!(
        (accounted, totals.deleted, totals.damaged),
        (totals.stored_other, 0, 0),
        "{what}: {totals:?}"
    );
    let verified = dotter_store::verify(made.dir()).unwrap();
    assert!(verified.damage.is_empty(), "{what}: {:?}", verified.damage);
    made.times("gone").len()
}

/// Shows P35.
#[test]
fn a_death_at_any_step_of_a_pass_leaves_each_dot_in_exactly_one_tier() {
    let mut random = Random::from_env();
    let due = due();
    let before = check(&due, "before");
    let after = {
        let twin = due.twin();
        twin.retain();
        check(&twin, "after")
    };
    assert!(after + 120 <= before, "{before} and {after}");
    let mut seen = std::collections::BTreeSet::new();
    let mut step = 0;
    loop {
        let twin = due.twin();
        let disk = Arc::new(Trial::new(Fault::Dies(step)));
        disk.adopt(twin.dir());
        let pass = |made: &Made| retain(made.dir(), &made.machine(), &Limits::default(), &|| false);
        let outcome = disk::on(disk.clone() as Arc<dyn Disk>, || pass(&twin));
        let killed = twin.twin();
        let cut = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        disk.cut(twin.dir(), cut.path(), &mut |below| random.below(below));
        let cut = killed.in_place(cut);
        for (made, what) in [(&killed, "killed"), (&cut, "power cut")] {
            let what = format!("{what} at step {step}");
            let left = check(made, &what);
            assert!(left.is_multiple_of(120) && (after..=before).contains(&left), "{what}: {left}");
            seen.insert(left);
            pass(made).unwrap();
            assert_eq!(check(made, &what), after, "{what}, and another pass");
        }
        if outcome.is_ok() {
            break;
        }
        step += 1;
    }
    println!("{step} steps");
    assert!(step > 30 && seen.contains(&before) && seen.contains(&after), "{step} steps, {seen:?}");
}
