//! Retention as a user runs it: told, done, and limited by size.

mod support;

use std::path::Path;
use std::time::Duration;

use dotter_dot::Timestamp;
use dotter_store::{Error, Limits, Machine, Reader};
use support::{failed, printed, told};

const HOUR: u64 = 3_600_000_000_000;

fn rules(dir: &Path, text: &str) {
    std::fs::write(dir.join("retention.toml"), text).unwrap();
}

/// Lets the retention clock of a store see a machine that has run for 25 hours until half an hour ago.
fn runs_since_yesterday(dir: &Path) {
    let now = Timestamp::now().nanos();
    for half in 0..50 {
        let wall = Timestamp::from_nanos(now - (50 - half) * HOUR / 2);
        let since_boot = Duration::from_nanos(half * HOUR / 2);
        let machine = Machine { wall, boot: [7; 16], since_boot };
        // A process that another test begins may hold the lock for a moment: between its fork and its exec.
        while dotter_store::retain(dir, &machine, &Limits::default(), &|| false).is_err_and(is_locked) {}
    }
}

fn is_locked(error: Error) -> bool {
    assert!(matches!(error, Error::Locked(_)), "{error}");
    true
}

/// A row an hour of two series, for so many hours up to now.
fn rows(hours: u64) -> String {
    let now = Timestamp::now().nanos();
    (0..hours).map(|hour| format!("short {} 1\nlong {0} 1\n", now - hour * HOUR)).collect()
}

#[test]
fn what_is_older_than_its_rule_keeps_it_is_told_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    dotter_store::add(dir, Vec::new()).unwrap();
    rules(dir, "[[rule]]\npattern = \"short\"\nkeep = \"raw:1h\"\n");
    let said = told(dir, &["retain"], "");
    assert!(said.contains("0 segments went"), "{said}");
    runs_since_yesterday(dir);
    told(dir, &["add"], &rows(8));
    told(dir, &["compact", "--major"], "");
    let said = printed(dir, &["retain", "--dry-run"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["long\tno rule means it: kept for ever", "short\tpattern short: raw:1h"]);
    assert!(lines.contains(&"raw, kept for ever: 8 dots; none of them goes"), "{said}");
    // Late ones are kept as long as others, from when they came.
    let short = lines.iter().find(|line| line.starts_with("raw, kept 1h: 8 dots; ")).unwrap();
    assert!(short.ends_with("8 within a day"), "{said}");
    assert_eq!(printed(dir, &["read", "%"]).lines().count(), 16);
}

#[test]
fn other_rules_are_told_and_change_nothing_for_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    told(dir, &["add"], &rows(100));
    runs_since_yesterday(dir);
    told(dir, &["compact", "--major"], "");
    let before = std::fs::read(dir.join("MANIFEST")).unwrap();
    rules(dir, "[[rule]]\npattern = \"short\"\nkeep = \"1m:1h, 1h:1y\"\n[[rule]]\nkeep = \"1h:1d\"\n");
    let output = support::run(dir, &["retain", "--dry-run"], "");
    let said = String::from_utf8(output.stdout).unwrap();
    let held = "the time of 97 is over, of 100 within a day; held for 24 h, as rules have changed";
    assert!(said.lines().any(|line| line == format!("raw, kept 1h: 100 dots; {held}")), "{said}");
    assert!(said.contains("short\tpattern short: 1m:1h, 1h:365d; average, x-files-factor 0.5\n"), "{said}");
    assert!(said.contains("the store takes these rules with its next pass"), "{said}");
    let wrong = String::from_utf8(output.stderr).unwrap();
    assert!(
        wrong.contains("retention.toml line 4: a rule has a pattern or a regex, or a file of names; skipped"),
        "{wrong}"
    );
    assert!(std::fs::read(dir.join("MANIFEST")).unwrap() == before, "nothing has changed");

    let said = told(dir, &["retain"], "");
    assert!(said.contains("0 segments went"), "{said}");
    assert!(said.contains("rows stay for up to a day of running time: the rules have changed"), "{said}");
    assert_eq!(printed(dir, &["read", "%"]).lines().count(), 200);
}

#[test]
fn above_a_size_the_oldest_windows_go() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Noise, so that it takes room. Windows are of 16 days, and some of them are joined.
    dotter_store::add(dir, Vec::new()).unwrap();
    rules(dir, "[[rule]]\npattern = \"%\"\nkeep = \"raw:400d\"\n");
    let now = Timestamp::now().nanos();
    let noise = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (n << 7).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    let row = |n: u64| format!("noise {} {}\n", now - n * 60_000_000_000, noise(n) as f64);
    told(dir, &["add"], &(0..300_000).map(row).collect::<String>());
    told(dir, &["compact", "--major"], "");
    let count = || printed(dir, &["read", "%"]).lines().count();
    assert_eq!(count(), 300_000);
    assert!(told(dir, &["retain", "--max-bytes", "1G"], "").contains("0 segments went"));
    let said = told(dir, &["retain", "--max-bytes", "1M"], "");
    assert!(said.contains("went before their time: the store was above its size limit"), "{said}");
    let left = count() as u64;
    let first = Reader::open(dir).unwrap().snapshot().span("noise").unwrap().0.nanos();
    // Whole windows went: the first row that is left lies within a minute behind the beginning of one.
    assert!((1..300_000).contains(&left) && first % (16 * 24 * HOUR) < HOUR / 60, "{left} {first}");
    assert_eq!(left, (now - first) / 60_000_000_000 + 1, "and none of the later ones");
    let (code, said) = failed(dir, &["retain", "--max-bytes", "20 gigs"], "");
    assert!(code == 2 && said.contains("'20 gigs' is no size from 1M on"), "{said}");
}
