//! Zoomed-out answers come from what chunks are known to hold; on random stores they are those of the dots.

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotter_displayer::{Feed, StoreFeed};
use dotter_dot::{Cell, Dots, Format, NamedDots, SeriesName, Shape, TimeRange, Timestamp, Value, put_row};
use dotter_query::{
    Budget, Dot, Error, Known, Node, Piece, Precision, Render, Report, Sink, Source, SourceError, Stepped,
    Stretch, Target, Want, What, Window, envelope, render,
};
use dotter_store::{Deletion, Pattern, Transaction, Writer};
use support::live_through;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_710_460_800 * SECOND;
const NAME: &str = "a.b";

struct Random(u64);

impl Random {
    fn from_env() -> Random {
        let given = std::env::var("DOTTER_SEED").ok();
        let seed = given.map_or_else(|| Timestamp::now().nanos(), |seed| seed.parse().expect("a number"));
        println!("DOTTER_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        // Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % bound
    }
}

fn open(dir: &Path) -> Arc<dyn Source> {
    StoreFeed::new(dir.to_owned()).refresh(&mut Vec::new()).unwrap().unwrap().source
}

/// A source that is kept from knowing anything but dots.
struct Blind(Arc<dyn Source>);

impl Source for Blind {
    fn find(
        &self,
        pattern: &dotter_query::Pattern,
        live: Option<TimeRange>,
        budget: &Budget,
        visit: &mut dyn FnMut(Node) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.0.find(pattern, live, budget, visit)
    }

    fn known(&self, names: &[&str]) -> Result<Vec<Known>, SourceError> {
        self.0.known(names)
    }

    fn fetch(&self, wants: &[Want<'_>], mut sink: Sink<'_>) -> Result<Report, SourceError> {
        // Queries never want stretches together with anything else.
        match wants {
            [Want { what: What::Stretches(range), .. }] => {
                let unread = Stretch { range: *range, dots: 0, numbers: None };
                sink.put(0, Piece::Stretches(&[unread]));
                Ok(sink.report())
            }
            _ => self.0.fetch(wants, sink),
        }
    }
}

fn never() -> bool {
    false
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn budget() -> Budget {
    Budget {
        dots_max: u64::MAX,
        deadline: std::time::Instant::now() + Duration::from_secs(60),
        ..Budget::start()
    }
}

/// A random run of dots: begin, gap and count in a store whose times lie in 400,000 s.
fn run(random: &mut Random) -> impl Iterator<Item = (u64, f64)> + use<> {
    let begin = START + random.below(300_000) * SECOND;
    let gap = [1_000, SECOND / 10, SECOND, 7 * SECOND][random.below(4) as usize];
    let count = 1 + random.below(30_000).min(100_000 * SECOND / gap);
    // Some runs hold what no sum could, some the same number over and over.
    let odd = random.below(6);
    let mut steps = Random(random.below(u64::MAX));
    let mut value = 50.0;
    (0..count).map(move |n| {
        value += steps.below(2001) as f64 / 100.0 - 10.0;
        let number = match odd {
            0 if n == count / 2 => f64::NAN,
            1 if n == count / 3 => f64::INFINITY,
            2 => [0.0, -0.0, 1.0][(n / 5000 % 3) as usize],
            _ => value,
        };
        (begin + n * gap, number)
    })
}

fn fill(dir: &Path, random: &mut Random) {
    let name = SeriesName::new(NAME).unwrap();
    let text = Shape::from(Format::new("s").unwrap());
    let row = Shape::new(Format::new("suF").unwrap(), "", &["path", "code", "took"]).unwrap();
    let mut row_bytes = Vec::new();
    for _ in 0..3 + random.below(5) {
        match random.below(8) {
            0..3 => {
                let mut bulk = NamedDots::default();
                run(random).for_each(|(time, value)| bulk.push_number(&name, at(time), value));
                dotter_store::add(dir, bulk).unwrap();
            }
            3..5 => {
                let mut writer = Writer::open(dir).unwrap();
                let key = writer.series(&name, &Shape::number());
                let clock = random.below(2) == 0;
                let mut dots = Dots::default();
                // Stamps in microseconds, some of them equal.
                run(random)
                    .for_each(|(time, value)| dots.push_number(key, clock, at(time / 3000 * 3000), value));
                let transaction = Transaction { ring: None, lanes: &[], dots: &dots };
                writer.append(&transaction).unwrap();
                writer.sync().unwrap();
            }
            5 => {
                let mut bulk = NamedDots::default();
                let texts = random.below(2) == 0;
                for (time, value) in run(random) {
                    row_bytes.clear();
                    let number = Value::U32(value as u32);
                    let cells = [Value::Text("x"), number, Value::F64(value)];
                    put_row(cells.into_iter().take(if texts { 1 } else { 3 }), &mut row_bytes);
                    let shape = if texts { &text } else { &row };
                    bulk.push(&name, shape, at(time), Cell::from_row(shape.format(), &row_bytes).unwrap());
                }
                dotter_store::add(dir, bulk).unwrap();
            }
            6 => {
                let from = START + random.below(400_000 * SECOND);
                let range = TimeRange::new(at(from), at(from + random.below(20_000 * SECOND)));
                let pattern = Pattern::new("a%");
                let deletion = Deletion { pattern, first_key: None, last_key: None, range };
                // There may be no store yet.
                let _ = dotter_store::delete(dir, &deletion);
            }
            _ => {
                let _ = dotter_store::seal_all(dir, &never);
                let _ = dotter_store::compact_major(dir, &never, &|_, _| ());
            }
        }
    }
}

fn bits(dots: &[Dot]) -> Vec<(u64, u64)> {
    dots.iter().map(|dot| (dot.time.nanos(), dot.value.to_bits())).collect()
}

#[test]
fn what_is_known_of_chunks_answers_as_their_dots_do() {
    let mut random = Random::from_env();
    let (mut saved, mut asked) = (0, 0);
    for round in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), &mut random);
        if !dir.path().join("MANIFEST").exists() {
            continue;
        }
        let knowing = open(dir.path());
        let blind = Blind(knowing.clone());
        for _ in 0..12 {
            let from = START + random.below(300_000 * SECOND);
            let length = [1_000, 60_000, 500_000][random.below(3) as usize] * SECOND;
            let range = TimeRange::new(at(from), at(from + 1 + random.below(length)));
            let columns = [1, 3, 50, 1200][random.below(4) as usize];
            let (mut less, mut more) = (budget(), budget());
            let found = envelope(&*knowing, NAME, range, columns, &mut less).unwrap();
            let expected = envelope(&blind, NAME, range, columns, &mut more).unwrap();
            assert_eq!((found.count(), found.is_exact()), (expected.count(), expected.is_exact()), "{round}");
            assert_eq!(
                bits(&found.finish()),
                bits(&expected.finish()),
                "round {round}: {range:?} in {columns}"
            );
            assert!(less.dots <= more.dots, "{} dots looked at instead of {}", less.dots, more.dots);
            saved += more.dots - less.dots;
            asked += more.dots;

            let request = Render {
                targets: vec![Target::new(NAME).unwrap()],
                window: Window { from: range.from, until: range.until },
                now: range.until,
                points_max: Some(1 + random.below(100)),
                known_min: [0.0, 0.0, 0.3][random.below(3) as usize],
                precision: Precision::Seconds,
                step: [None, Some(Duration::from_secs(1 + random.below(20)))][random.below(2) as usize],
            };
            let steps = Mutex::default();
            let found = render(&*knowing, &request, &steps, &mut less).unwrap();
            let expected = render(&blind, &request, &steps, &mut more).unwrap();
            assert_eq!(found.len(), expected.len());
            for ((_, found), (_, expected)) in found.iter().zip(&expected) {
                assert_eq!((found.start, found.step), (expected.start, expected.step), "{request:?}");
                let near = |(a, b): (&f64, &f64)| {
                    // Sums are added up in another order.
                    a.to_bits() == b.to_bits()
                        || (a - b).abs() <= 1e-9 * (1e4 + b.abs())
                        || a.is_nan() && b.is_nan()
                };
                assert_eq!(found.values.len(), expected.values.len());
                assert!(found.values.iter().zip(&expected.values).all(near), "round {round}: {request:?}");
            }
        }
    }
    println!("{saved} of {asked} dots not looked at");
    assert!(saved > 0, "nothing was ever known");
}

#[test]
fn what_has_expired_is_answered_from_steps() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("retention.toml"),
        "[[rule]]\npattern = \"a%\"\nkeep = \"1m:6h, 10m:30d\"\n",
    )
    .unwrap();
    let name = SeriesName::new(NAME).unwrap();
    let minute = |minute: u64| at(START + minute * 60 * SECOND);
    let late = 60..70;
    for hour in 0..12 {
        let minutes = (hour * 60..hour * 60 + 60).filter(|n| !late.contains(n));
        let dots = minutes.map(|n| (name.clone(), minute(n), n as f64));
        dotter_store::add(dir.path(), dots.collect::<Vec<_>>()).unwrap();
    }
    let range = TimeRange::new(minute(0), minute(12 * 60));
    let extremes = |columns: u32| {
        let found = envelope(&*open(dir.path()), NAME, range, columns, &mut budget()).unwrap();
        let (count, dots) = (found.count(), found.finish());
        assert!(dots.is_sorted_by_key(|dot| dot.time));
        let values = || dots.iter().map(|dot| dot.value);
        (count, values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    let averages = || {
        let request = Render {
            targets: vec![Target::new(NAME).unwrap()],
            window: Window { from: minute(0), until: minute(12 * 60 - 1) },
            now: minute(12 * 60),
            points_max: Some(12),
            known_min: 0.0,
            precision: Precision::Seconds,
            step: None,
        };
        let series = render(&*open(dir.path()), &request, &Mutex::default(), &mut budget()).unwrap();
        series[0].1.values.clone()
    };
    dotter_store::take_rules(dir.path()).unwrap();
    let before = averages();
    assert_eq!(extremes(12), (710, 0.0, 719.0));
    dotter_store::compact_major(dir.path(), &never, &|_, _| ()).unwrap();
    assert_eq!(averages(), before);
    // The clock runs for more than a day, up to five in the afternoon, and believes that it is eleven.
    let switched_on = minute(17 * 60).saturating_sub(Duration::from_secs(26 * 3600));
    live_through(dir.path(), switched_on, 0..53);
    let known = open(dir.path()).known(&[NAME]).unwrap();
    let stepped =
        Stepped { step: Duration::from_secs(600), range: TimeRange::new(minute(0), minute(5 * 60)) };
    assert_eq!((known[0].span.unwrap().0, &known[0].stepped), (minute(5 * 60), &vec![stepped]));
    assert_eq!(extremes(12), (710, 0.0, 719.0));
    // It is there in a time of which only steps are left.
    let finds = |range: TimeRange| {
        let (pattern, mut found) = (dotter_query::Pattern::new(NAME).unwrap(), 0);
        let mut count = |_: Node| -> Result<(), Error> {
            found += 1;
            Ok(())
        };
        open(dir.path()).find(&pattern, Some(range), &budget(), &mut count).unwrap();
        found
    };
    assert_eq!(
        (finds(TimeRange::new(minute(9), minute(10))), finds(TimeRange::new(at(0), minute(0)))),
        (1, 0)
    );
    // Steps of ten minutes are all there is left for columns of one; the dots begin where a step does.
    assert_eq!(extremes(720), (710, 0.0, 719.0));
    // The window reaches further back than dots are kept: all points are of steps, before and after.
    assert_eq!(averages(), before);
    // Dots that come late lie before the end of the steps, and count as all others do.
    let dots = late.clone().map(|n| (name.clone(), minute(n), 1_000.0));
    dotter_store::add(dir.path(), dots.collect::<Vec<_>>()).unwrap();
    assert_eq!(open(dir.path()).known(&[NAME]).unwrap()[0].span.unwrap().0, minute(late.start));
    for columns in [12, 720] {
        assert_eq!(extremes(columns), (720, 0.0, 1_000.0), "{columns}");
    }
    let after = averages();
    assert!(after[0] > before[0] + 100.0 && after[1..] == before[1..], "{after:?} {before:?}");
}
