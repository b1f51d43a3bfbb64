//! Numbers that become one dot for each step of time.
//!
//! A step is open from its first number until its dots are taken, and is never opened again as long as it
//! is remembered: [`FLUSHED_MAX`] steps are. A number for a step that was taken is late, and counted.
//!
//! A step is taken when
//!
//! - a number comes whose time lies [`GRACE`] behind the step's end, unless that time is still to come, or
//! - the clock has passed the step's end by [`GRACE`], and its last number is as long ago; for times from
//!   a clock ahead of this one, a step and [`GRACE`] after its last number, or
//! - too much is held: then the earliest, before its time.
//!
//! So one number with a wild time takes nothing from the others, and a log of last year is read as quickly
//! as it comes, whichever of its files comes first.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use dotter_publisher::Timestamp;

use super::aggregation::{Function, Gathered};

/// How much out of order numbers may come.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Taken steps that are remembered: 18 hours of seconds.
const FLUSHED_MAX: usize = 1 << 16;
/// What may be held, in units of some 8 to 16 bytes.
const HELD_MAX: usize = 4 << 20;
/// What a step weighs beyond its series.
const WINDOW_WEIGHT: usize = 64;

/// This moment, by the clock that only goes forward and by the one on the wall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) steady: Instant,
    pub(super) wall: Timestamp,
}

impl Now {
    pub(super) fn read() -> Now {
        Now { steady: Instant::now(), wall: Timestamp::now() }
    }
}

/// A dot that is ready.
#[derive(Debug, PartialEq)]
pub(super) struct Ready {
    /// As given to [`Windows::add`].
    pub(super) series: usize,
    /// The beginning of the step.
    pub(super) time: Timestamp,
    pub(super) value: f64,
}

/// A number came too late for its step.
#[derive(Debug, PartialEq)]
pub(super) struct Late;

struct Window {
    /// When the clock will have passed it.
    due: Instant,
    weight: usize,
    series: BTreeMap<usize, Gathered>,
}

/// The steps of all series that are open.
pub(super) struct Windows {
    function: Function,
    step: Duration,
    /// By the count of steps since 1970.
    open: BTreeMap<u64, Window>,
    held: usize,
    flushed: HashSet<u64>,
    /// The same, in the order they were taken.
    flushed_order: VecDeque<u64>,
    ready: Vec<Ready>,
}

impl Windows {
    pub(super) fn new(function: Function, step: Duration) -> Windows {
        Windows {
            function,
            step,
            open: BTreeMap::new(),
            held: 0,
            flushed: HashSet::new(),
            flushed_order: VecDeque::new(),
            ready: Vec::new(),
        }
    }

    /// Takes a finite number in; steps that it shows to be over become ready.
    pub(super) fn add(&mut self, now: Now, series: usize, time: Timestamp, number: f64) -> Result<(), Late> {
        if time <= now.wall.saturating_add(GRACE) {
            let over = time.saturating_sub(GRACE);
            while let Some((index, _)) = self.open.first_key_value()
                && self.end(*index) <= over
            {
                self.flush_first();
            }
        }
        let index = time.nanos() / self.step_nanos();
        if self.flushed.contains(&index) {
            return Err(Late);
        }
        let due = now.steady + self.end(index).since(now.wall).min(self.step) + GRACE;
        let window = match self.open.entry(index) {
            Entry::Vacant(vacant) => {
                self.held += WINDOW_WEIGHT;
                vacant.insert(Window { due, weight: WINDOW_WEIGHT, series: BTreeMap::new() })
            }
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        window.due = due;
        let mut before = 0;
        let gathered = match window.series.entry(series) {
            Entry::Vacant(vacant) => vacant.insert(Gathered::new(self.function)),
            Entry::Occupied(occupied) => {
                before = occupied.get().weight();
                occupied.into_mut()
            }
        };
        gathered.add(self.function, number);
        // It may shrink: numbers that are counted take less room than those that are kept.
        let after = gathered.weight();
        window.weight = window.weight + after - before;
        self.held = self.held + after - before;
        while self.held > HELD_MAX {
            self.flush_first();
        }
        Ok(())
    }

    /// Makes ready what the clock has passed.
    pub(super) fn pass(&mut self, now: Instant) {
        let due = self.open.extract_if(.., |_, window| window.due <= now).collect::<Vec<_>>();
        for (index, window) in due {
            self.flush(index, window);
        }
    }

    /// Makes ready all there is.
    pub(super) fn finish(&mut self) {
        while !self.open.is_empty() {
            self.flush_first();
        }
    }

    /// When [`Windows::pass`] will next have something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.open.values().map(|window| window.due).min()
    }

    /// The dots that are ready, step by step.
    pub(super) fn ready(&mut self) -> std::vec::Drain<'_, Ready> {
        self.ready.drain(..)
    }

    fn flush_first(&mut self) {
        if let Some((index, window)) = self.open.pop_first() {
            self.flush(index, window);
        }
    }

    fn flush(&mut self, index: u64, window: Window) {
        self.held -= window.weight;
        let time = Timestamp::from_nanos(index * self.step_nanos());
        let dots = window.series.into_iter();
        self.ready.extend(dots.map(|(series, gathered)| Ready {
            series,
            time,
            value: gathered.value(self.function),
        }));
        self.flushed.insert(index);
        self.flushed_order.push_back(index);
        if self.flushed_order.len() > FLUSHED_MAX
            && let Some(oldest) = self.flushed_order.pop_front()
        {
            self.flushed.remove(&oldest);
        }
    }

    fn end(&self, index: u64) -> Timestamp {
        Timestamp::from_nanos(index * self.step_nanos()).saturating_add(self.step)
    }

    fn step_nanos(&self) -> u64 {
        u64::try_from(self.step.as_nanos()).expect("an aggregation's step is an hour at most")
    }
}

#[cfg(test)]
mod tests {
    use super::super::aggregation::Aggregation;
    use super::*;

    fn windows(aggregation: &str) -> Windows {
        match aggregation.parse() {
            Ok(Aggregation::Steps { function, step }) => Windows::new(function, step),
            other => panic!("{other:?}"),
        }
    }

    /// A clock that is moved by hand.
    struct Hand {
        start: Instant,
        now: Now,
    }

    impl Hand {
        /// `seconds` is what it shows on the wall.
        fn at(seconds: u64) -> Hand {
            let start = Instant::now();
            Hand { start, now: Now { steady: start, wall: Timestamp::from_secs(seconds).unwrap() } }
        }

        fn pass(&mut self, millis: u64) {
            let length = Duration::from_millis(millis);
            self.now = Now { steady: self.now.steady + length, wall: self.now.wall.saturating_add(length) };
        }

        fn until(&self, due: Option<Instant>) -> Option<u128> {
            due.map(|due| (due - self.start).as_millis())
        }
    }

    fn time(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn ready(windows: &mut Windows) -> Vec<(u64, f64)> {
        windows.ready().map(|dot| (dot.time.nanos() / 1_000_000_000, dot.value)).collect()
    }

    #[test]
    fn a_step_is_over_when_a_number_comes_that_is_later_by_the_grace() {
        let (mut windows, hand) = (windows("sum:1s"), Hand::at(100));
        let mut add = |millis: u64, expected: &[(u64, f64)]| {
            windows.add(hand.now, 0, time(millis), 1.0).unwrap();
            assert_eq!(ready(&mut windows), expected, "{millis}");
        };
        add(10_000, &[]);
        add(11_500, &[]);
        // Out of order within the grace.
        add(10_999, &[]);
        add(12_999, &[]);
        add(13_000, &[(10, 2.0)]);
        // An empty second is no dot.
        add(20_000, &[(11, 1.0), (12, 1.0), (13, 1.0)]);
        assert_eq!(windows.add(hand.now, 0, time(12_000), 1.0), Err(Late));
        assert_eq!(windows.add(hand.now, 1, time(13_999), 1.0), Err(Late));
        windows.finish();
        assert_eq!(ready(&mut windows), [(20, 1.0)]);
    }

    #[test]
    fn a_step_is_over_when_the_clock_has_passed_it_by_the_grace() {
        let (mut windows, mut hand) = (windows("count:1s"), Hand::at(100));
        windows.add(hand.now, 0, time(99_900), 1.0).unwrap();
        assert_eq!(hand.until(windows.next_due()), Some(2000));
        hand.pass(500);
        windows.add(hand.now, 0, time(100_400), 1.0).unwrap();
        hand.pass(1499);
        windows.pass(hand.now.steady);
        assert_eq!(ready(&mut windows), []);
        hand.pass(1);
        windows.pass(hand.now.steady);
        assert_eq!(ready(&mut windows), [(99, 1.0)]);
        assert_eq!(hand.until(windows.next_due()), Some(3000));
        hand.pass(1000);
        windows.pass(hand.now.steady);
        assert_eq!(ready(&mut windows), [(100, 1.0)]);
        assert_eq!(windows.next_due(), None);
    }

    #[test]
    fn files_of_an_old_log_may_come_in_any_order() {
        let (mut windows, hand) = (windows("count:1s"), Hand::at(1_000_000));
        for second in (5000..5100).chain(4000..4100).chain(4500..4600) {
            for _ in 0..3 {
                windows.add(hand.now, 0, time(second * 1000), 1.0).unwrap();
            }
        }
        windows.finish();
        let ready = ready(&mut windows);
        assert_eq!(ready.len(), 300);
        assert!(ready.iter().all(|(_, count)| *count == 3.0));
    }

    #[test]
    fn a_time_to_come_takes_nothing_from_the_others_and_does_not_stay_open() {
        let (mut windows, mut hand) = (windows("count:1s"), Hand::at(100));
        windows.add(hand.now, 0, time(100_000), 1.0).unwrap();
        windows.add(hand.now, 0, time(9_000_000), 1.0).unwrap();
        windows.add(hand.now, 0, Timestamp::MAX, 1.0).unwrap();
        windows.add(hand.now, 0, time(100_000), 1.0).unwrap();
        assert_eq!(ready(&mut windows), []);
        hand.pass(3000);
        windows.pass(hand.now.steady);
        assert_eq!(ready(&mut windows), [(100, 2.0), (9000, 1.0), (u64::MAX / 1_000_000_000, 1.0)]);
    }

    #[test]
    fn what_is_held_is_bounded_and_the_earliest_goes_first() {
        let (mut windows, hand) = (windows("p99:1s"), Hand::at(100));
        for second in 0..2 * HELD_MAX as u64 / 500 {
            for number in 0..500 {
                // From ahead of the clock, so that nothing else ends a step.
                windows.add(hand.now, 0, time((1000 + second) * 1000), number as f64).unwrap();
            }
            assert!(windows.held <= HELD_MAX);
        }
        assert!(!ready(&mut windows).is_empty());
        windows.finish();
        assert_eq!(windows.held, 0);
    }

    #[test]
    fn taken_steps_are_remembered_within_bounds() {
        let (mut windows, hand) = (windows("count:1s"), Hand::at(1_000_000));
        for second in 0..FLUSHED_MAX as u64 + 10 {
            windows.add(hand.now, 0, time(second * 1000), 1.0).unwrap();
            windows.ready();
        }
        windows.finish();
        assert_eq!((windows.flushed.len(), windows.flushed_order.len()), (FLUSHED_MAX, FLUSHED_MAX));
        assert_eq!(windows.add(hand.now, 0, time(10_000), 1.0), Err(Late));
        assert_eq!(windows.add(hand.now, 0, time(9_000), 1.0), Ok(()));
    }
}
