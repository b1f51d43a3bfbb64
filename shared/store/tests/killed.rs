//! A process that adds, deletes, seals and compacts is killed at any moment, again and again: what it had finished
//! is there, what it was at is there whole or not at all, and nothing is left that hinders the next one.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use dotter_dot::{Dots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{Deletion, Pattern, Reader, Transaction, Writer};
use support::Random;

const CHILD: &str = "DOTTER_KILLED_CHILD";
const ROUNDS: u64 = 25;

type Model = BTreeMap<String, BTreeMap<u64, u64>>;

fn never() -> bool {
    false
}

/// What the process does at its `number`th step: the same each time it is asked.
enum Step {
    Log(Vec<(String, u64, u64)>),
    Add(Vec<(String, u64, u64)>),
    Delete(Pattern, u64, u64),
    Seal,
    Compact,
    Major,
}

fn step(seed: u64, number: u64) -> Step {
    let mut random = Random::new(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let kind = random.below(20);
    let mut dots = || {
        let count = 1 + random.below(300);
        (0..count)
            .map(|_| (format!("s.{}", random.below(9)), random.below(5000), random.below(1 << 50)))
            .collect()
    };
    match kind {
        0..7 => Step::Log(dots()),
        7..13 => Step::Add(dots()),
        13 => {
            let pattern = ["%", "s.1", "s.%", "%.7"][random.below(4) as usize];
            let from = random.below(5000);
            Step::Delete(Pattern::new(pattern), from, from + random.below(1500))
        }
        14..16 => Step::Seal,
        16..19 => Step::Compact,
        _ => Step::Major,
    }
}

fn run(dir: &Path, step: Step) {
    match step {
        Step::Log(dots) => {
            let mut writer = Writer::open_with(dir, 16 << 10).unwrap();
            let mut log = Dots::default();
            for (name, time, value) in dots {
                let key = writer.series(&SeriesName::new(&name).unwrap(), &Shape::number());
                log.push_number(key, false, Timestamp::from_nanos(time), value as f64);
            }
            writer.append(&Transaction { ring: None, lanes: &[], dots: &log }).unwrap();
            writer.sync().unwrap();
        }
        Step::Add(dots) => {
            let dot = |(name, time, value): (String, u64, u64)| {
                (SeriesName::new(&name).unwrap(), Timestamp::from_nanos(time), value as f64)
            };
            dotter_store::add(dir, dots.into_iter().map(dot).collect::<Vec<_>>()).unwrap();
        }
        Step::Delete(pattern, from, until) => {
            let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
            dotter_store::delete(dir, &Deletion { pattern, first_key: None, last_key: None, range }).unwrap();
        }
        Step::Seal => _ = dotter_store::seal_all(dir, &never).unwrap(),
        Step::Compact => _ = dotter_store::compact(dir, &never).unwrap(),
        Step::Major => _ = dotter_store::compact_major(dir, &never, &|_, _| ()).unwrap(),
    }
}

fn apply(model: &mut Model, step: Step) {
    match step {
        Step::Log(dots) | Step::Add(dots) => {
            for (name, time, value) in dots {
                model.entry(name).or_default().insert(time, value);
            }
        }
        Step::Delete(pattern, from, until) => {
            for (_, dots) in model.iter_mut().filter(|(name, _)| pattern.matches(name)) {
                dots.retain(|time, _| !(from..until).contains(time));
            }
            model.retain(|_, dots| !dots.is_empty());
        }
        Step::Seal | Step::Compact | Step::Major => {}
    }
}

fn stored(dir: &Path) -> Model {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let (stat, totals) = (snapshot.stat(), snapshot.ledger().totals);
    assert_eq!((stat.damaged_segments, stat.damaged_chunks), (0, 0));
    assert_eq!(stat.dots + totals.replaced + totals.deleted, totals.stored_other, "{totals:?}");
    let read = |name: SeriesName| {
        let dots = snapshot.read(name.as_str(), TimeRange::ALL).unwrap();
        let dots = dots.into_iter().map(|dot| (dot.time.nanos(), dot.value as u64)).collect();
        (name.as_str().to_owned(), dots)
    };
    snapshot.series().map(read).collect()
}

/// Not a test: what the process does that is killed.
#[test]
#[ignore = "started by other tests"]
fn child() {
    let told = std::env::var(CHILD).expect("another test starts this one");
    let mut told = told.splitn(3, ' ');
    let mut number = || told.next().unwrap().parse::<u64>().unwrap();
    let (seed, first) = (number(), number());
    let dir = Path::new(told.next().unwrap());
    for number in first.. {
        run(dir, step(seed, number));
        println!("done {number}");
    }
}

#[test]
fn whatever_was_finished_is_there_and_the_rest_is_there_whole_or_not_at_all() {
    let mut random = Random::from_env();
    let seed = random.word();
    let dir = tempfile::tempdir().unwrap();
    drop(Writer::open(dir.path()).unwrap());
    let (mut model, mut next) = (Model::new(), 0);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child", "--nocapture"])
            .env(CHILD, format!("{seed} {next} {}", dir.path().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut done = |line: String| {
            if let Some(number) = line.strip_prefix("done ").and_then(|number| number.parse::<u64>().ok()) {
                assert_eq!(number, next);
                apply(&mut model, step(seed, next));
                next += 1;
            }
        };
        // The first line is the test harness's own. Some work between here and the kill lets it come at any moment.
        lines.by_ref().take(3 + random.below(20) as usize).for_each(&mut done);
        let spin = random.below(3_000_000);
        std::hint::black_box((0..spin).fold(0_u64, |sum, n| std::hint::black_box(sum ^ n)));
        child.kill().unwrap();
        lines.for_each(&mut done);
        child.wait().unwrap();
        let found = stored(dir.path());
        if found != model {
            apply(&mut model, step(seed, next));
            next += 1;
            assert!(found == model, "round {round}: neither with step {} nor without", next - 1);
        }
        let damage = dotter_store::verify(dir.path()).unwrap().damage;
        assert!(damage.is_empty(), "round {round}: {damage:?}");
    }
    assert!(next > ROUNDS, "it came to do something");
    drop(Writer::open(dir.path()).unwrap());
    assert!(support::unlisted(dir.path()).is_empty(), "what the killed left is gone");
}
