//! The series of a store as queries ask for them: one snapshot and its names.

use std::ops::ControlFlow;
use std::time::Duration;

use dotter_dot::{Kind, SeriesName, TimeRange, Timestamp};
use dotter_query::{
    Archive, Budget, Catalogue, Dot, Error, Known, Method, Node, Numbers, Pattern, Piece, Report, Rollup,
    Rule, Sink, Source, SourceError, Stepped, Want, What,
};
use dotter_store::{Aggregation, Snapshot};

use crate::pieces::{pieces, step_pieces, stretches};

/// A store at one moment.
pub(crate) struct StoreSource {
    snapshot: Snapshot,
    catalogue: Catalogue,
}

impl StoreSource {
    /// - `catalogue`: the names in `snapshot`
    pub(crate) fn new(snapshot: Snapshot, catalogue: Catalogue) -> StoreSource {
        StoreSource { snapshot, catalogue }
    }

    /// What becomes of a series as it grows old.
    fn rule(&self, name: &str) -> Option<Rule> {
        let rules = self.snapshot.rules();
        let rule = rules.of(name)?;
        let (aggregation, x_files_factor) = rules.aggregation(name);
        let archives = rule.archives.iter();
        Some(Rule {
            interval: rule.interval,
            raw: rule.raw,
            archives: archives.map(|archive| Archive { step: archive.step, keep: archive.keep }).collect(),
            method: method(aggregation),
            x_files_factor,
        })
    }

    fn dots(
        &self,
        name: &str,
        range: TimeRange,
        index: usize,
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, SourceError> {
        let mut scan = self.snapshot.scan();
        let (mut found, mut dots, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let chunks = self.snapshot.chunks(name, range)?;
        let observes = chunks.iter().any(|chunk| chunk.shape.kind() == Kind::Histogram);
        for (piece, looked_at) in pieces(range, &chunks) {
            if sink.look_at(index, looked_at).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            found.clear();
            dots.clear();
            if observes {
                weights.clear();
                scan.read_weighted(name, piece, &mut found, &mut weights)?;
                dots.extend(found.iter().map(dot));
                sink.put(index, Piece::Observations(&dots, &weights));
            } else {
                scan.read(name, piece, &mut found)?;
                dots.extend(found.iter().map(dot));
                sink.put(index, Piece::Dots(&dots));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Of the range only what the series reaches into is asked for, a number of steps at a time.
    fn steps(
        &self,
        name: &str,
        range: TimeRange,
        step: Duration,
        index: usize,
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, SourceError> {
        let stepped = self.snapshot.stepped(name)?;
        let next = |time: Timestamp| time.saturating_add(Duration::from_nanos(1));
        let dots = self.snapshot.span(name).map(|(first, last)| TimeRange::new(first, next(last)));
        let there = stepped.iter().map(|stepped| stepped.range).chain(dots);
        let Some(there) = there.reduce(|a, b| TimeRange::new(a.from.min(b.from), a.until.max(b.until)))
        else {
            return Ok(ControlFlow::Continue(()));
        };
        let range = TimeRange::new(range.from.max(there.from), range.until.min(there.until));
        for piece in step_pieces(range, step) {
            let dots = self.snapshot.chunks(name, piece)?.iter().map(|chunk| chunk.dots).sum();
            if sink.look_at(index, dots).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let steps: Vec<Rollup> = self.snapshot.rollups(name, piece, step)?.iter().map(rollup).collect();
            if sink.look_at(index, steps.len() as u64).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            sink.put(index, Piece::Steps(&steps));
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Source for StoreSource {
    fn find(
        &self,
        pattern: &Pattern,
        live: Option<TimeRange>,
        budget: &Budget,
        visit: &mut dyn FnMut(Node) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let is_live = |name: &SeriesName, range: TimeRange| {
            let dots = self.snapshot.span(name.as_str());
            let has_steps = || {
                // Of what cannot be read nobody knows.
                let stepped = self.snapshot.stepped(name.as_str()).unwrap_or_default();
                stepped
                    .iter()
                    .any(|stepped| stepped.range.from < range.until && range.from < stepped.range.until)
            };
            dots.is_some_and(|(first, last)| range.meets(first, last)) || has_steps()
        };
        let shows = |name: &SeriesName| live.is_none_or(|range| is_live(name, range));
        self.catalogue.find(pattern, budget, &shows, visit)
    }

    fn known(&self, names: &[&str]) -> Result<Vec<Known>, SourceError> {
        let known = |name: &&str| {
            Ok(Known {
                span: self.snapshot.span(name),
                // An index that is damaged hides the shape, not what else can be read of the series.
                shape: self.snapshot.shape(name).ok().flatten(),
                rule: self.rule(name),
                stepped: self.snapshot.stepped(name)?.into_iter().map(stepped).collect(),
            })
        };
        names.iter().map(known).collect()
    }

    fn fetch(&self, wants: &[Want<'_>], mut sink: Sink<'_>) -> Result<Report, SourceError> {
        for (index, Want { name, what }) in wants.iter().enumerate() {
            let went = match *what {
                What::Dots(range) => self.dots(name, range, index, &mut sink)?,
                What::Stretches(range) => {
                    let stretches = stretches(range, &self.snapshot.chunks(name, range)?);
                    sink.put(index, Piece::Stretches(&stretches));
                    ControlFlow::Continue(())
                }
                What::Steps(range, step) => self.steps(name, range, step, index, &mut sink)?,
                What::Newest(count) => {
                    let went = sink.look_at(index, 0);
                    if went.is_continue() {
                        let dots: Vec<Dot> = self.snapshot.last(name, count)?.iter().map(dot).collect();
                        sink.put(index, Piece::Dots(&dots));
                    }
                    went
                }
            };
            if went.is_break() {
                break;
            }
        }
        Ok(sink.report())
    }
}

fn method(aggregation: Aggregation) -> Method {
    match aggregation {
        Aggregation::Average => Method::Average,
        Aggregation::Min => Method::Min,
        Aggregation::Max => Method::Max,
        Aggregation::Sum => Method::Sum,
        Aggregation::Last => Method::Last,
        Aggregation::Count => Method::Count,
        Aggregation::AverageZero => Method::AverageZero,
        Aggregation::AbsMax => Method::AbsMax,
        Aggregation::AbsMin => Method::AbsMin,
    }
}

fn rollup(rollup: &dotter_store::Rollup) -> Rollup {
    let dotter_store::Rollup { time, min, max, sum, count, last, value, .. } = *rollup;
    Rollup { time, numbers: Numbers { count, min, max, sum }, last, value }
}

fn stepped(stepped: dotter_store::Stepped) -> Stepped {
    let dotter_store::Stepped { step, range } = stepped;
    Stepped { step, range }
}

fn dot(dot: &dotter_store::Dot) -> Dot {
    Dot { time: dot.time, value: dot.value }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use dotter_dot::{Dots, Format, NamedDots, Shape, Value};
    use dotter_query::{Precision, Render, Target, Window, envelope, render};
    use dotter_store::{Reader, Transaction, Writer};

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds).unwrap()
    }

    fn name(text: &str) -> SeriesName {
        SeriesName::new(text).unwrap()
    }

    fn open(dir: &Path) -> StoreSource {
        let snapshot = Reader::open(dir).unwrap().snapshot();
        let catalogue = Catalogue::new(snapshot.series().collect());
        StoreSource::new(snapshot, catalogue)
    }

    #[test]
    fn what_the_store_knows_of_series_is_told_in_the_order_asked() {
        let dir = tempfile::tempdir().unwrap();
        let rule = "[[rule]]\npattern = \"a%\"\nkeep = \"10s:6h, 10m:30d\"\naggregation = \"max\"\n";
        std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
        let text = Shape::from(Format::new("s").unwrap());
        let mut bulk = NamedDots::default();
        bulk.push_number(&name("a.b"), at(100), 1.0);
        bulk.push_number(&name("a.b"), at(200), 2.0);
        bulk.push_values(&name("text"), &text, at(150), [Value::Text("x")]).unwrap();
        let raw = Shape::from(Format::new("b").unwrap());
        bulk.push_values(&name("raw"), &raw, at(150), [Value::Bytes(&[0xff])]).unwrap();
        dotter_store::add(dir.path(), bulk).unwrap();
        dotter_store::take_rules(dir.path()).unwrap();
        let known = open(dir.path()).known(&["text", "a.b", "a.nosuch", "raw"]).unwrap();
        // Of neither are there numbers to be shown.
        assert_eq!(known[0], Known { shape: Some(text), ..Known::default() });
        assert_eq!(known[3], Known { shape: Some(raw), ..Known::default() });
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let rule = Rule {
            interval: Some(Duration::from_secs(10)),
            raw: hours(6),
            archives: vec![Archive { step: Duration::from_secs(600), keep: hours(720) }],
            method: Method::Max,
            x_files_factor: 0.5,
        };
        let (span, shape) = (Some((at(100), at(200))), Some(Shape::number()));
        assert_eq!(known[1], Known { span, shape, rule: Some(rule.clone()), stepped: Vec::new() });
        assert_eq!(known[2], Known { rule: Some(rule), ..Known::default() });
    }

    #[test]
    fn only_live_series_are_found_where_these_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let rows = [("a.old", 100), ("a.new.x", 300), ("b.old.x", 100), ("c", 100), ("c", 500)];
        let rows = rows.map(|(text, seconds)| (name(text), at(seconds), 1.0));
        dotter_store::add(dir.path(), rows.to_vec()).unwrap();
        let source = open(dir.path());
        let check = |pattern: &str, live: Option<(u64, u64)>, expected: &[&str]| {
            let mut found = Vec::new();
            let live = live.map(|(from, until)| TimeRange::new(at(from), at(until)));
            let pattern = Pattern::new(pattern).unwrap();
            source
                .find(&pattern, live, &Budget::start(), &mut |node| {
                    found.push(node.path().to_owned());
                    Ok(())
                })
                .unwrap();
            found.sort_unstable();
            assert_eq!(found, expected, "{pattern:?} {live:?}");
        };
        check("*", None, &["a", "b", "c"]);
        check("*", Some((200, 301)), &["a", "c"]);
        check("a.*", Some((200, 301)), &["a.new"]);
        check("a.*", Some((200, 300)), &[]);
        check("c", Some((501, 600)), &[]);
    }

    /// 60,000 observations of two minutes: of each ten seconds they are as many, and higher than of those before.
    fn observe(dir: &Path) {
        let shape = Shape::number().with_kind(Kind::Histogram);
        let mut writer = Writer::open(dir).unwrap();
        let key = writer.series(&name("took"), &shape);
        let mut dots = Dots::default();
        for n in 0..60_000_u64 {
            let time = at(1_200).saturating_add(Duration::from_millis(n * 2));
            // A number with many digits, up to 1,000 more in each step.
            let value = (n * 7919 % 5_000) as f64 / 5.0 + 1_000.0 * (n / 5_000) as f64 + 0.1;
            dots.push_number(key, true, time, value);
        }
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
        drop(writer);
        drop(Writer::open(dir).unwrap());
    }

    #[test]
    fn what_is_drawn_of_a_condensed_histogram_is_right_to_a_hundred_and_twenty_eighth() {
        let dir = tempfile::tempdir().unwrap();
        observe(dir.path());
        let rule = "[[rule]]\npattern = \"took\"\nkeep = \"raw:400y\"\ncondense = \"10s\"\n";
        std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
        dotter_store::take_rules(dir.path()).unwrap();
        let points = |points_max: Option<u64>| {
            let request = Render {
                targets: vec![Target::new("took").unwrap()],
                window: Window { from: at(1_190), until: at(1_320) },
                now: at(1_320),
                points_max,
                known_min: 0.0,
                precision: Precision::Seconds,
                step: Some(Duration::from_secs(10)),
            };
            let mut budget = Budget::start();
            render(&open(dir.path()), &request, &Mutex::default(), &mut budget).unwrap().remove(0).1.values
        };
        let drawn = || {
            let range = TimeRange::new(at(1_200), at(1_320));
            let found = envelope(&open(dir.path()), "took", range, 1, &mut Budget::start()).unwrap();
            let count = found.count();
            let values: Vec<f64> = found.finish().iter().map(|dot| dot.value).collect();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            (count, least, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        };
        let before = ([None, Some(4), Some(1)].map(points), drawn());
        dotter_store::seal_all(dir.path(), &|| false).unwrap();
        let chunks = open(dir.path()).snapshot.chunks("took", TimeRange::ALL).unwrap();
        assert!(chunks.iter().all(|chunk| chunk.shape.is_weighted()));
        let rows: u64 = chunks.iter().map(|chunk| chunk.dots).sum();
        assert!(rows < 2_000, "{rows}");
        let after = ([None, Some(4), Some(1)].map(points), drawn());
        let near = |a: f64, b: f64| (a - b).abs() <= b / 128.0 || (a.is_nan() && b.is_nan());
        for (after, before) in after.0.iter().zip(&before.0) {
            assert_eq!(after.len(), before.len());
            assert!(after.iter().zip(before).all(|(a, b)| near(*a, *b)), "{after:?} {before:?}");
        }
        // Of a slot the average of its observations, condensed or not.
        assert!(near(before.0[0][0], 500.0) && near(before.0[0][11], 11_500.0), "{before:?}");
        let ((count, least, most), was) = (after.1, before.1);
        assert!(count == 60_000 && was.0 == 60_000 && near(least, was.1) && near(most, was.2), "{after:?}");
    }

    #[test]
    fn a_fetch_looks_at_no_dots_that_the_budget_does_not_allow() {
        let dir = tempfile::tempdir().unwrap();
        let mut bulk = NamedDots::default();
        (0..100_000).for_each(|n| bulk.push_number(&name("a"), at(n), n as f64));
        dotter_store::add(dir.path(), bulk).unwrap();
        let source = open(dir.path());
        let fetch = |dots_max: u64, what: What| {
            let budget = Budget { dots_max, ..Budget::start() };
            let mut given = 0;
            let mut take = |_: usize, piece: Piece<'_>| {
                given += match piece {
                    Piece::Dots(dots) | Piece::Observations(dots, _) => dots.len(),
                    Piece::Stretches(stretches) => stretches.len(),
                    Piece::Steps(steps) => steps.len(),
                }
            };
            let wants = [Want { name: "nosuch", what }, Want { name: "a", what }];
            let report = source.fetch(&wants, Sink::new(&budget, &mut take)).unwrap();
            (given, report)
        };
        let (given, report) = fetch(100_000, What::Dots(TimeRange::ALL));
        assert_eq!((given, report.looked_at, report.missing.is_none()), (100_000, 100_000, true));
        let (given, report) = fetch(99_999, What::Dots(TimeRange::ALL));
        let missing = report.missing.expect("the last piece");
        assert!(given > 0 && given < 99_999 && missing.want == 1, "{given} {missing:?}");
        let (given, report) = fetch(0, What::Newest(7));
        assert_eq!((given, report.looked_at, report.missing.is_none()), (7, 0, true));
        let (given, report) = fetch(0, What::Stretches(TimeRange::ALL));
        assert!(given > 1 && report.missing.is_none(), "{given} {report:?}");
        let hour = What::Steps(TimeRange::ALL, Duration::from_secs(3600));
        // 28 hours, and every dot that they are made of.
        let (given, report) = fetch(100_028, hour);
        assert_eq!((given, report.looked_at, report.missing.is_none()), (28, 100_028, true));
        assert!(fetch(100_027, hour).1.missing.is_some());
        let (given, report) = fetch(99_999, hour);
        assert!(given == 0 && report.missing.is_some(), "{given} {report:?}");
    }
}
