//! The series of a store as queries ask for them: one snapshot, its names and its rules.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange};
use dotter_query::{
    Archive, Budget, Catalogue, Dot, Error, Known, Method, Node, Numbers, Pattern, Piece, Report, Rollup,
    Rule, Sink, Source, SourceError, Want, What,
};
use dotter_store::{Aggregation, Rules, Snapshot};

use crate::pieces::{pieces, stretches};

/// A store at one moment.
pub(crate) struct StoreSource {
    snapshot: Snapshot,
    rules: Arc<Rules>,
    catalogue: Catalogue,
}

impl StoreSource {
    /// - `rules`: those of the store
    /// - `catalogue`: the names in `snapshot`
    pub(crate) fn new(snapshot: Snapshot, rules: Arc<Rules>, catalogue: Catalogue) -> StoreSource {
        StoreSource { snapshot, rules, catalogue }
    }

    /// What becomes of a series as it grows old.
    fn rule(&self, name: &str) -> Option<Rule> {
        let rule = self.rules.of(name)?;
        let (aggregation, x_files_factor) = self.rules.aggregation(name);
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
        let (mut found, mut dots) = (Vec::new(), Vec::new());
        for (piece, looked_at) in pieces(range, &self.snapshot.chunks(name, range)?) {
            if sink.look_at(index, looked_at).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            found.clear();
            scan.read(name, piece, &mut found)?;
            dots.clear();
            dots.extend(found.iter().map(dot));
            sink.put(index, Piece::Dots(&dots));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn steps(&self, name: &str, range: TimeRange, step: Duration) -> Result<Vec<Rollup>, SourceError> {
        let one = self.rules.one_number(name);
        let rollup = |rollup: dotter_store::Rollup| {
            let possible = one.possible(&rollup).map_or(0, |possible| possible.round() as u64);
            let method = one.of(&rollup).map(method);
            let dotter_store::Rollup { time, min, max, sum, count, last, steps, .. } = rollup;
            Rollup { time, numbers: Numbers { count, min, max, sum }, last, steps, possible, method }
        };
        Ok(self.snapshot.rollups(name, range, step)?.into_iter().map(rollup).collect())
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
            self.snapshot.span(name.as_str()).is_some_and(|(first, last)| range.meets(first, last))
        };
        let shows = |name: &SeriesName| live.is_none_or(|range| is_live(name, range));
        self.catalogue.find(pattern, budget, &shows, visit)
    }

    fn known(&self, names: &[&str]) -> Result<Vec<Known>, SourceError> {
        let known = |name: &&str| Known {
            span: self.snapshot.span(name),
            // An index that is damaged hides the shape, not what else can be read of the series.
            shape: self.snapshot.shape(name).ok().flatten(),
            rule: self.rule(name),
        };
        Ok(names.iter().map(known).collect())
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
                What::Steps(range, step) => {
                    let steps = self.steps(name, range, step)?;
                    let went = sink.look_at(index, steps.len() as u64);
                    if went.is_continue() {
                        sink.put(index, Piece::Steps(&steps));
                    }
                    went
                }
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

fn dot(dot: &dotter_store::Dot) -> Dot {
    Dot { time: dot.time, value: dot.value }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dotter_dot::{Format, NamedDots, Shape, Timestamp, Value};
    use dotter_store::Reader;

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
        StoreSource::new(snapshot, Arc::new(Rules::read(dir)), catalogue)
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
        assert_eq!(known[1], Known { span, shape, rule: Some(rule.clone()) });
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
                    Piece::Dots(dots) => dots.len(),
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
        let (given, report) = fetch(100, hour);
        assert_eq!((given, report.looked_at), (28, 28));
        assert!(fetch(27, hour).1.missing.is_some());
    }
}
