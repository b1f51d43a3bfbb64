//! Searching many series with several threads; results come in order.
//!
//! The work is cut into tasks of about [`TASK_DOTS`] dots: many small series, or a stretch of time of a large one.
//! Each thread takes the next task, reads its rows and collects what `keep` makes of those that match. The calling
//! thread passes the results to `take` in the order of the tasks. At most [`AHEAD_TASKS`] tasks for each thread are
//! begun and not taken yet, so memory is bounded however large the store is and however slow `take` is.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use dotter_dot::{SeriesName, Shape, TimeRange, Timestamp};

use crate::error::Error;
use crate::read::filter::{Filter, Matcher};
use crate::read::scan::{Row, RowTest, Scan};
use crate::read::snapshot::{Chunk, Snapshot};

/// Dots after which a task may end.
const TASK_DOTS: u64 = 64 << 10;

/// Dots after which a task ends even if clock stamps are so dense that spreading may move some beyond its end.
const TASK_DOTS_MAX: u64 = 1 << 20;

/// Chunks after which a task may end, however few dots they have.
const TASK_CHUNKS: usize = 32;

/// How many tasks for each thread may be begun and not taken yet.
const AHEAD_TASKS: usize = 2;

/// A search of a snapshot.
pub struct Search<'a> {
    /// The store at one moment.
    pub snapshot: &'a Snapshot,
    /// Which series, in the order in which results are wanted.
    pub series: &'a [SeriesName],
    /// Which times.
    pub range: TimeRange,
    /// Which rows; all where it is `None`.
    pub filter: Option<&'a Filter>,
    /// How many threads read; `None` for as many as there are cores.
    pub threads: Option<NonZero<usize>>,
}

/// How much a search has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// Rows that were read and compared.
    pub rows: u64,
    /// Rows that matched.
    pub found: u64,
}

/// A stretch of one series.
struct Stretch {
    /// Its index in [`Search::series`].
    series: usize,
    range: TimeRange,
}

/// Cuts series into tasks.
struct Plan<'a> {
    search: &'a Search<'a>,
    range: TimeRange,
    /// The index of the next series to be cut.
    next: usize,
    stretches: VecDeque<(Stretch, u64)>,
}

struct State<'a, T> {
    plan: Plan<'a>,
    /// Tasks given out to threads.
    begun: usize,
    /// Results of tasks that are done and not taken yet, by the number of the task.
    done: BTreeMap<usize, Result<T, Error>>,
    /// Tasks whose result was taken.
    taken: usize,
    /// Threads that read.
    working: usize,
    /// Whether the search is over: no further task is begun.
    is_over: bool,
}

struct Shared<'a, T> {
    state: Mutex<State<'a, T>>,
    changed: Condvar,
    rows: AtomicU64,
    found: AtomicU64,
}

impl Search<'_> {
    /// Reads the series and calls `keep` with every row that matches; rows of one task come in the order of series
    /// and time.
    ///
    /// - `keep`: runs in several threads; each task has a `T` of its own, which `keep` fills
    /// - `take`: called with the `T` of each task, in order; an error ends the search
    ///
    /// # Errors
    ///
    /// That of `take`, and the system's. Damaged chunks are left out
    /// and counted, as by [`Snapshot::read`].
    pub fn run<T, E>(
        &self,
        keep: impl Fn(&SeriesName, &Row<'_>, &mut T) + Sync,
        mut take: impl FnMut(T) -> Result<(), E>,
    ) -> Result<Searched, E>
    where
        T: Default + Send,
        E: From<Error>,
    {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = self.threads.map_or_else(cores, NonZero::get);
        let mut range = self.range;
        if let Some(filter) = self.filter {
            let asked = filter.range();
            range = TimeRange::new(range.from.max(asked.from), range.until.min(asked.until));
        }
        let mut plan = Plan { search: self, range, next: 0, stretches: VecDeque::new() };
        let mut searched = Searched::default();
        if range.is_empty() {
            return Ok(searched);
        }
        let first = plan.task()?;
        let is_small = first.is_empty() || plan.is_done();
        if threads == 1 || is_small {
            let mut scan = self.snapshot.scan();
            let mut task = first;
            while !task.is_empty() {
                let mut kept = T::default();
                self.read(&mut scan, &task, &keep, &mut kept, &mut searched)?;
                take(kept)?;
                task = plan.task()?;
            }
            return Ok(searched);
        }
        first.into_iter().rev().for_each(|stretch| plan.stretches.push_front((stretch, 0)));
        let state =
            State { plan, begun: 0, done: BTreeMap::new(), taken: 0, working: threads, is_over: false };
        let shared = Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            rows: AtomicU64::new(0),
            found: AtomicU64::new(0),
        };
        let ahead = threads * AHEAD_TASKS;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&shared, &keep, ahead));
            }
            // However `take` ends, the threads must not wait for it.
            let over = Over { shared: &shared, works: false };
            let outcome = shared.take_all(&mut take);
            drop(over);
            outcome
        })?;
        searched.rows = shared.rows.into_inner();
        searched.found = shared.found.into_inner();
        Ok(searched)
    }

    fn work<T: Default + Send>(
        &self,
        shared: &Shared<'_, T>,
        keep: &(impl Fn(&SeriesName, &Row<'_>, &mut T) + Sync),
        ahead: usize,
    ) {
        // A thread that panics ends the search: else the calling thread would wait for its task for ever.
        let _over = Over { shared, works: true };
        let mut scan = self.snapshot.scan();
        loop {
            let mut state = shared.lock();
            while !state.is_over && state.begun >= state.taken + ahead {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_over {
                return;
            }
            let number = state.begun;
            let task = match state.plan.task() {
                Ok(task) if task.is_empty() => return,
                Ok(task) => Ok(task),
                Err(error) => Err(error),
            };
            state.begun += 1;
            drop(state);
            let outcome = task.and_then(|task| {
                let (mut kept, mut searched) = (T::default(), Searched::default());
                self.read(&mut scan, &task, keep, &mut kept, &mut searched)?;
                // Relaxed: counts that nothing else depends on.
                shared.rows.fetch_add(searched.rows, Relaxed);
                shared.found.fetch_add(searched.found, Relaxed);
                Ok(kept)
            });
            shared.lock().done.insert(number, outcome);
            shared.changed.notify_all();
        }
    }

    /// Reads one task.
    fn read<T>(
        &self,
        scan: &mut Scan,
        task: &[Stretch],
        keep: &impl Fn(&SeriesName, &Row<'_>, &mut T),
        kept: &mut T,
        searched: &mut Searched,
    ) -> Result<(), Error> {
        for stretch in task {
            let name = &self.series[stretch.series];
            let mut matcher: Option<(Shape, Option<Matcher<'_>>)> = None;
            let may_match = self.filter.map(|filter| {
                |shape: &Shape, pieces: &[&[u8]]| filter.may_match_texts(name.as_str(), shape, pieces)
            });
            let test = may_match.as_ref().map(|test| test as RowTest<'_>);
            scan.rows_tested(name.as_str(), stretch.range, test, |row| {
                searched.rows += 1;
                let shape = row.shape();
                let asked = match &matcher {
                    Some((of, matcher)) if of.is(shape) => matcher,
                    _ => {
                        let new = self.filter.map(|filter| filter.matcher(name.as_str(), shape));
                        &matcher.insert((shape.clone(), new)).1
                    }
                };
                if asked.as_ref().is_none_or(|matcher| matcher.matches(&row)) {
                    searched.found += 1;
                    keep(name, &row, kept);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }
}

impl Plan<'_> {
    fn is_done(&self) -> bool {
        self.stretches.is_empty() && self.next == self.search.series.len()
    }

    /// The next task; empty where none is left.
    fn task(&mut self) -> Result<Vec<Stretch>, Error> {
        let (mut task, mut dots) = (Vec::new(), 0);
        while dots < TASK_DOTS {
            match self.stretches.pop_front() {
                Some((stretch, more)) => {
                    task.push(stretch);
                    dots += more;
                }
                None if self.next == self.search.series.len() => break,
                None => {
                    self.look(self.next)?;
                    self.next += 1;
                }
            }
        }
        Ok(task)
    }

    /// Cuts a series into stretches.
    fn look(&mut self, series: usize) -> Result<(), Error> {
        let name = self.search.series[series].as_str();
        if self.search.filter.is_some_and(|filter| !filter.may_match(name)) {
            return Ok(());
        }
        let chunks = self.search.snapshot.chunks(name, self.range)?;
        self.stretches.extend(stretches(series, &chunks, self.range));
        Ok(())
    }
}

/// Cuts `range` into stretches, each with about how many dots it has; none where there are no chunks.
///
/// A stretch ends where a chunk begins and where spreading cannot move an earlier clock stamp that far.
fn stretches(series: usize, chunks: &[Chunk], range: TimeRange) -> Vec<(Stretch, u64)> {
    if chunks.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let (mut from, mut dots, mut count, mut reach) = (range.from, 0, 0, Timestamp::MIN);
    for chunk in chunks {
        let is_enough = dots >= TASK_DOTS || count >= TASK_CHUNKS;
        let is_apart = reach < chunk.first || dots >= TASK_DOTS_MAX;
        if chunk.first > from && is_enough && is_apart {
            out.push((Stretch { series, range: TimeRange::new(from, chunk.first) }, dots));
            (from, dots, count) = (chunk.first, 0, 0);
        }
        (dots, count) = (dots + chunk.dots, count + 1);
        if chunk.is_clock {
            // Each of its dots may move the last one by a nanosecond.
            let spread = std::time::Duration::from_nanos(chunk.dots);
            reach = reach.max(chunk.last).saturating_add(spread);
        }
    }
    out.push((Stretch { series, range: TimeRange::new(from, range.until) }, dots));
    out
}

impl<'a, T> Shared<'a, T> {
    fn lock(&self) -> MutexGuard<'_, State<'a, T>> {
        // No code panics while it holds the lock, so what the lock guards is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the results of the tasks to `take`, in order, until the last or an error.
    fn take_all<E: From<Error>>(&self, take: &mut impl FnMut(T) -> Result<(), E>) -> Result<(), E> {
        loop {
            let mut state = self.lock();
            let next = state.taken;
            let outcome = loop {
                if let Some(outcome) = state.done.remove(&next) {
                    break outcome;
                }
                if state.working == 0 {
                    return Ok(());
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            state.taken += 1;
            drop(state);
            self.changed.notify_all();
            take(outcome?)?;
        }
    }
}

/// Ends the search when it is dropped: no further task is begun.
struct Over<'s, 'a, T> {
    shared: &'s Shared<'a, T>,
    /// Whether it belongs to a thread that reads.
    works: bool,
}

impl<T> Drop for Over<'_, '_, T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        state.working -= self.works as usize;
        drop(state);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Format, NamedDots, Value};
    use proptest::prelude::*;

    use super::*;
    use crate::read::reader::Reader;

    /// Rows of a few series, some as texts, added in several commits that overlap.
    fn store(dir: &std::path::Path, commits: &[Vec<(u8, u64, u16)>]) {
        let text = Shape::from(Format::new("s").expect("a format"));
        for rows in commits {
            let mut bulk = NamedDots::default();
            for (series, time, value) in rows {
                let name = SeriesName::new(&format!("s{series}")).unwrap();
                let time = Timestamp::from_nanos(*time);
                if series % 2 == 0 {
                    bulk.push_number(&name, time, *value as f64);
                } else {
                    bulk.push_values(&name, &text, time, [Value::Text(&value.to_string())]).unwrap();
                }
            }
            crate::add(dir, bulk).unwrap();
        }
    }

    fn found(search: &Search<'_>) -> (Vec<(String, u64, String)>, Searched) {
        let mut all = Vec::new();
        let keep = |name: &SeriesName, row: &Row<'_>, kept: &mut Vec<(String, u64, String)>| {
            let values: Vec<String> = row.cells().map(|value| value.to_string()).collect();
            kept.push((name.to_string(), row.time().nanos(), values.join(" ")));
        };
        let searched = search.run::<_, Error>(keep, |kept| {
            all.extend(kept);
            Ok(())
        });
        (all, searched.unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn threads_find_what_one_finds_in_the_same_order(
            commits in prop::collection::vec(prop::collection::vec((0..6_u8, 0..400_u64, any::<u16>()), 1..300), 1..4),
            least in 0..400_u64,
        ) {
            let dir = tempfile::tempdir().unwrap();
            store(dir.path(), &commits);
            let snapshot = Reader::open(dir.path()).unwrap().snapshot();
            let series: Vec<SeriesName> = snapshot.series().collect();
            let filter = Filter::new(&format!("time >= {least} and (value > 9000 or value contains \"7\")")).unwrap();
            // The last commit at a time counts, whatever the one before would have matched.
            let all = TimeRange::ALL;
            let mut search = Search { snapshot: &snapshot, series: &series, range: all, filter: None, threads: None };
            search.threads = NonZero::new(1);
            let (everything, searched) = found(&search);
            prop_assert_eq!(searched.rows, everything.len() as u64);
            let expected: Vec<_> = everything
                .into_iter()
                .filter(|(name, time, value)| {
                    let is_text = matches!(name.as_str(), "s1" | "s3" | "s5");
                    let number: f64 = value.parse().unwrap();
                    *time >= least && if is_text { value.contains('7') } else { number > 9000.0 }
                })
                .collect();
            search.filter = Some(&filter);
            for threads in [1, 2, 5] {
                search.threads = NonZero::new(threads);
                let (rows, searched) = found(&search);
                prop_assert_eq!(searched.found, rows.len() as u64);
                prop_assert_eq!(&rows, &expected);
            }
        }
    }

    /// More than one task of one series, from several commits.
    fn large(dir: &std::path::Path) -> (Snapshot, Vec<SeriesName>) {
        for part in 0..3 {
            store(dir, &[(0..100_000).map(|n| (0, n * 3 + part, n as u16)).collect()]);
        }
        let snapshot = Reader::open(dir).unwrap().snapshot();
        let series = snapshot.series().collect();
        (snapshot, series)
    }

    #[test]
    fn a_large_series_is_read_by_several_threads_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (snapshot, series) = large(dir.path());
        let chunks = snapshot.chunks("s0", TimeRange::ALL).unwrap();
        assert!(stretches(0, &chunks, TimeRange::ALL).len() >= 4);
        let threads = NonZero::new(3);
        let search =
            Search { snapshot: &snapshot, series: &series, range: TimeRange::ALL, filter: None, threads };
        let (rows, searched) = found(&search);
        assert_eq!(searched, Searched { rows: 300_000, found: 300_000 });
        assert!(rows.iter().zip(0..).all(|(row, time)| row.1 == time));
    }

    #[test]
    fn an_error_of_the_taker_ends_the_search() {
        let dir = tempfile::tempdir().unwrap();
        let (snapshot, series) = large(dir.path());
        let threads = NonZero::new(2);
        let search =
            Search { snapshot: &snapshot, series: &series, range: TimeRange::ALL, filter: None, threads };
        let mut taken = 0;
        let outcome = search.run(
            |_, _, kept: &mut u64| *kept += 1,
            |kept| {
                taken += kept;
                Err(Error::GivenUp)
            },
        );
        assert!(matches!(outcome, Err(Error::GivenUp)));
        assert!((1..300_000).contains(&taken));
    }

    #[test]
    fn a_thread_that_panics_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (snapshot, series) = large(dir.path());
        let threads = NonZero::new(2);
        let search =
            Search { snapshot: &snapshot, series: &series, range: TimeRange::ALL, filter: None, threads };
        let keep =
            |_: &SeriesName, row: &Row<'_>, _: &mut ()| assert!(row.time().nanos() < 150_000, "on purpose");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            search.run::<_, Error>(keep, |()| Ok(()))
        }));
        assert!(outcome.is_err());
    }

    #[test]
    fn stamps_of_the_clock_that_may_be_spread_are_kept_together() {
        let chunk = |first: u64, last: u64, dots: u64| Chunk {
            first: Timestamp::from_nanos(first),
            last: Timestamp::from_nanos(last),
            dots,
            bytes: 0,
            is_clock: true,
            is_alone: true,
            shape: Shape::number(),
            summary: None,
        };
        let apart = [chunk(0, 1_000_000, 70_000), chunk(2_000_000, 3_000_000, 70_000)];
        assert_eq!(stretches(0, &apart, TimeRange::ALL).len(), 2);
        let close = [chunk(0, 1_000_000, 70_000), chunk(1_050_000, 3_000_000, 70_000)];
        assert_eq!(stretches(0, &close, TimeRange::ALL).len(), 1);
        let dense: Vec<Chunk> = (0..400).map(|n| chunk(n * 4096, n * 4096 + 4096, 8192)).collect();
        let cut = stretches(0, &dense, TimeRange::ALL);
        assert!(cut.iter().all(|(_, dots)| *dots <= TASK_DOTS_MAX + 8192) && cut.len() > 2);
    }
}
