//! Dots become steps, and finer steps coarser ones.

use crate::format::rules::Slot;
use crate::format::step::{Counting, Step, StepRow, Values};

/// A dot on its way into a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DotIn {
    /// In nanoseconds.
    pub(crate) time: u64,
    /// Its number.
    pub(crate) number: f64,
    /// Whether it is kept beside all others.
    pub(crate) is_clock: bool,
    /// How many dots it stands for: 1 but in condensed rows.
    pub(crate) weight: u64,
}

/// A step that is being made.
struct Open {
    step: Step,
    values: Values,
}

impl Open {
    fn new(time: u64, counting: Counting) -> Open {
        Open { step: Step { time, clock: None, explicit: None, counting }, values: Values::default() }
    }

    /// Adds dots, without their values.
    fn add(&mut self, row: StepRow, is_clock: bool) {
        let place = if is_clock { &mut self.step.clock } else { &mut self.step.explicit };
        match place {
            Some(dots) => dots.add_dots(&row),
            None => *place = Some(row),
        }
    }

    fn count(&mut self, values: Values) {
        self.values = self.step.counting.join(self.values, values);
    }

    /// Puts the values where they belong.
    fn close(mut self) -> Step {
        let Step { clock, explicit, .. } = &mut self.step;
        if let Some(row) = clock.as_mut().or(explicit.as_mut()) {
            *row = row.with(self.values);
        }
        self.step
    }
}

/// The dots of a slot.
#[derive(Clone, Copy)]
struct OpenSlot {
    /// Where it begins, in nanoseconds.
    begin: u64,
    last: f64,
    at: u64,
    sum: f64,
    count: u64,
}

/// Makes steps of dots, which come in the order of time; of equal times the one that comes later is the newer one.
///
/// Source: Graphite. Whisper keeps the newest dot of a slot and folds slots.
pub(crate) struct DotFold {
    step: u64,
    interval: Option<u64>,
    slot: Slot,
    counting: Counting,
    open: Option<(Open, Option<OpenSlot>)>,
}

impl DotFold {
    /// - `step`: width of a step, in nanoseconds
    /// - `interval`: width of a slot, in nanoseconds; without one every dot is a value
    /// - `slot`: how the dots of a slot become a value
    pub(crate) fn new(step: u64, interval: Option<u64>, slot: Slot, counting: Counting) -> DotFold {
        let interval = interval.filter(|interval| *interval > 0);
        DotFold { step: step.max(1), interval, slot, counting, open: None }
    }

    /// Adds a dot; returns the step before, if this dot begins a new one. Numbers that are not finite and dots that
    /// stand for none are left out.
    pub(crate) fn dot(&mut self, dot: DotIn) -> Option<Step> {
        let DotIn { time, number, is_clock, weight } = dot;
        if !number.is_finite() || weight == 0 {
            return None;
        }
        let is_in = |begin: u64| time.wrapping_sub(begin) < self.step;
        let is_next = self.open.as_ref().is_some_and(|(open, _)| !is_in(open.step.time));
        let done = if is_next { self.end() } else { None };
        let (open, slot) =
            self.open.get_or_insert_with(|| (Open::new(time - time % self.step, self.counting), None));
        open.add(StepRow::number(open.step.time, time, number, weight), is_clock);
        let Some(interval) = self.interval else {
            open.count(self.counting.number(number, weight, time));
            return done;
        };
        let (sum, count) = (number * weight as f64, weight);
        match slot {
            Some(slot) if time.wrapping_sub(slot.begin) < interval => {
                (slot.last, slot.at) = (number, time);
                (slot.sum, slot.count) = (slot.sum + sum, slot.count.saturating_add(count));
            }
            _ => {
                let new = OpenSlot { begin: time - time % interval, last: number, at: time, sum, count };
                if let Some(full) = slot.replace(new) {
                    open.count(value(full, self.slot, &self.counting));
                }
            }
        }
        done
    }

    /// The last step.
    pub(crate) fn end(&mut self) -> Option<Step> {
        let (mut open, slot) = self.open.take()?;
        if let Some(slot) = slot {
            open.count(value(slot, self.slot, &self.counting));
        }
        Some(open.close())
    }
}

/// The value of a slot.
fn value(slot: OpenSlot, way: Slot, counting: &Counting) -> Values {
    let number = match way {
        Slot::Last => slot.last,
        Slot::Average => slot.sum / slot.count as f64,
    };
    counting.number(number, 1, slot.at)
}

/// Makes coarser steps of finer ones, which come in the order of time, each only once.
pub(crate) struct StepFold {
    step: u64,
    counting: Counting,
    open: Option<Open>,
}

impl StepFold {
    /// - `step`: width of a coarse step, in nanoseconds
    /// - `counting`: of the coarse steps
    pub(crate) fn new(step: u64, counting: Counting) -> StepFold {
        StepFold { step: step.max(1), counting, open: None }
    }

    /// Adds a finer step; returns the coarse step before, if a new one begins.
    pub(crate) fn step(&mut self, finer: &Step) -> Option<Step> {
        let time = finer.time - finer.time % self.step;
        let done =
            if self.open.as_ref().is_some_and(|open| open.step.time != time) { self.end() } else { None };
        let open = self.open.get_or_insert_with(|| Open::new(time, self.counting));
        for (row, is_clock) in [(finer.clock, true), (finer.explicit, false)] {
            if let Some(row) = row {
                open.add(StepRow { time, ..row.with(Values::default()) }, is_clock);
            }
        }
        if let Some(value) = finer.value() {
            open.count(self.counting.finer(value, finer.time));
        }
        done
    }

    /// The last coarse step.
    pub(crate) fn end(&mut self) -> Option<Step> {
        self.open.take().map(Open::close)
    }
}
