//! How long what is kept for a time is still on the disk: of each series its own rule says it, whatever lies beside it.

mod support;

use std::fs;
use std::path::Path;

use dotter_dot::{Cell, Format, NamedDots, SeriesName, Shape, TimeRange, Value, put_row};
use support::Random;
use support::made::{HOUR, MINUTE, Made, START, at, rule};

/// Two hours it is kept, a window of one, the two that the clock looks back, and two between passes and merges.
const TWO_HOURS: u64 = (2 + 1 + 2 + 2) * HOUR;
/// The same of steps that are kept for four hours, which become due when their dots go.
const FOUR_HOURS: u64 = (4 + 1 + 4 + 2) * HOUR;

/// Whether any file of these folders of a store has some bytes.
fn has(dir: &Path, folders: &[&str], bytes: &[u8]) -> bool {
    folders.iter().any(|folder| {
        let files = fs::read_dir(dir.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.is_file())
            .any(|path| memchr::memmem::find(&fs::read(path).unwrap(), bytes).is_some())
    })
}

/// A pod an hour with a name of its own, and a text series; of each the random word.
fn words(made: &Made, random: &mut Random, from: u64) -> [String; 2] {
    let [pod, text] = [random.word(), random.word()].map(|word| format!("{word:016x}"));
    made.add(&format!("dead.{pod}"), (0..60).map(|minute| (from + minute * MINUTE, 1.0)));
    let shape = Shape::from(Format::new("s").unwrap());
    let mut row = Vec::new();
    put_row([Value::Text(&text)], &mut row);
    let mut dots = NamedDots::default();
    dots.push(&SeriesName::new("dead.text").unwrap(), &shape, at(from), Cell::Row(&row));
    dotter_store::add(made.dir(), dots).unwrap();
    [pod, text]
}

/// Hours of four series that are kept for two hours and for four in minutes, among five that `long` keeps, and of
/// others that end.
fn each_series_goes_by_its_own_rule(long: &str) {
    let mut random = Random::from_env();
    let rules = rule("short.%", "raw:2h, 1m:4h") + &rule("long.%", long) + &rule("dead.%", "raw:2h");
    let mut made = Made::new(&rules);
    let mut all: Vec<(u64, [String; 2])> = Vec::new();
    let hours = 26;
    for hour in 0..hours {
        let from = made.wall;
        assert_eq!(from, START + hour * HOUR);
        for n in 0..9 {
            let name = format!("{}.{n}", if n < 4 { "short" } else { "long" });
            made.add(&name, (0..60).map(|minute| (from + minute * MINUTE, 1.0)));
        }
        all.push((from + HOUR, words(&made, &mut random, from)));
        let dir = made.dir().to_owned();
        let has = |word: &String, folders: &[&str]| has(&dir, folders, word.as_bytes());
        assert!(all[hour as usize].1.iter().all(|word| has(word, &["seg"])), "a word is to be found");
        made.live(HOUR);
        made.compact();
        // Files that were replaced stay until the next edit.
        made.retain();
        dotter_store::tidy(made.dir(), &made.machine()).unwrap();
        let snapshot = made.snapshot();
        for n in 0..4 {
            let times = made.times(&format!("short.{n}"));
            assert!(times[0] + TWO_HOURS >= made.wall, "hour {hour}: {} h", (times[0] - START) / HOUR);
            let kept = times.iter().filter(|time| **time + 2 * HOUR >= made.wall).count();
            assert_eq!(kept as u64, 120.min((hour + 1) * 60), "nothing younger goes");
        }
        let steps = made.steps("short.0", TimeRange::ALL, MINUTE);
        let oldest = steps[0].time.nanos() / 1_000_000_000;
        assert!(oldest + FOUR_HOURS >= made.wall, "hour {hour}: {} h", (oldest - START) / HOUR);
        assert!(made.wall < START + 4 * HOUR || oldest + 4 * HOUR <= made.wall);
        // Each segment of two hours, by its own times.
        for placed in snapshot.stat().places {
            let (tier, from) = (placed.place.tier, placed.place.window.from.nanos() / 1_000_000_000);
            if tier.step.is_zero() && tier.keep.as_secs() == 2 * HOUR && !placed.place.is_late {
                assert!(from + TWO_HOURS >= made.wall, "hour {hour}: {placed:?}");
            }
        }
        for (end, words) in all.iter().filter(|(end, _)| end + TWO_HOURS < made.wall) {
            // The edits of the list may still name a series, until it is written anew.
            for (word, folders) in
                words.iter().zip([&["seg", "wal", "ledger"][..], &["", "seg", "wal", "ledger"]])
            {
                assert!(!has(word, folders), "hour {hour}: a word of hour {}", (end - START) / HOUR);
            }
        }
        assert!(snapshot.series_with_prefix("dead.").len() <= 9);
        for n in 4..9 {
            assert_eq!(made.counted(&format!("long.{n}"), TimeRange::ALL, MINUTE), (hour + 1) * 60);
        }
    }
    made.check();
}

/// Shows P39. The programs `ret` and `ret2`, inverted.
#[test]
fn a_minority_of_a_segment_and_series_that_end_go_when_their_rule_says() {
    each_series_goes_by_its_own_rule("raw:1y, 1m:2y");
}

/// The program `ret3`, inverted.
#[test]
fn of_steps_that_two_rules_share_each_series_goes_by_its_own() {
    each_series_goes_by_its_own_rule("raw:2h, 1m:1y");
}
