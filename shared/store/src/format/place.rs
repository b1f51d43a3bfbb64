//! Where the dots of a segment lie from level 1 on: in one tier and one window.
//!
//! A tier is what is kept equally long in equal steps. A window is a span of time within a tier. All windows of a tier
//! are as wide as [`Tier::width`] says and begin at multiples of that since 1970; small ones that lie side by side
//! may be joined to a wider one.
//!
//! Always true: every moment lies in one window of a tier, and no window of that width cuts a step of the next tier.

use std::fmt;
use std::time::Duration;

use dotter_dot::{Timestamp, put_varint};

use crate::format::bytes::Fields;

const HOUR: u64 = 3_600_000_000_000;
/// How wide windows are, before steps are looked at: 1 and 4 hours, 1, 4, 16, 64 and 256 days.
const WIDTHS: [u64; 7] = [HOUR, 4 * HOUR, 24 * HOUR, 96 * HOUR, 384 * HOUR, 1_536 * HOUR, 6_144 * HOUR];
/// How wide the windows are of what is kept for ever.
const FOR_EVER: u64 = 384 * HOUR;

/// What is kept equally long in equal steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier {
    /// The width of a step; zero for dots as they came.
    pub step: Duration,
    /// How long it is kept; zero where it is kept for ever.
    pub keep: Duration,
    /// The step of the tier that follows; zero where none follows.
    pub next_step: Duration,
}

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Its first moment.
    pub from: Timestamp,
    /// How wide it is, at least a nanosecond; the most nanoseconds that can be said are all time behind `from`.
    pub width: Duration,
}

/// Where the dots of a segment lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The tier of every series in it.
    pub tier: Tier,
    /// Whether its dots are late: when they were merged first, their own windows had been over already for as long as
    /// they are kept. Then the window is the one in which they were merged.
    pub is_late: bool,
    /// The window that every dot lies in, or, of late dots, the one in which they were merged first.
    pub window: Window,
    /// The mark of the rules by which the tier was found.
    pub rules: u64,
}

pub(crate) fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

impl Tier {
    /// How wide its windows are: the widest of some round widths within an eighth of the time it is kept; at least an
    /// hour and its step; rounded up to a whole multiple of the next step. What is kept for ever has 16 days.
    pub fn width(&self) -> Duration {
        let eighth = nanos(self.keep) / 8;
        let widest = match self.keep.is_zero() {
            true => FOR_EVER,
            false => *WIDTHS.iter().rev().find(|width| **width <= eighth).unwrap_or(&HOUR),
        };
        let width = widest.max(nanos(self.step));
        let next_step = nanos(self.next_step).max(1);
        Duration::from_nanos(width.div_ceil(next_step).saturating_mul(next_step))
    }

    /// The window that a moment lies in.
    pub fn window(&self, time: Timestamp) -> Window {
        let width = self.width();
        // A width that does not fit is all of time.
        let from = if nanos(width) == u64::MAX { 0 } else { time.nanos() / nanos(width) * nanos(width) };
        Window { from: Timestamp::from_nanos(from), width }
    }

    /// The number of the eighth of the time it is kept that a whole window lies in; `None` where it lies in several.
    /// What is kept for ever has one.
    pub(crate) fn eighth(&self, window: &Window) -> Option<u64> {
        if self.keep.is_zero() {
            return Some(0);
        }
        // Where a window is wider than an eighth, each window counts as one.
        let eighth = (nanos(self.keep) / 8).max(nanos(self.width()));
        let (first, last) = (window.from.nanos() / eighth, window.last().nanos() / eighth);
        (first == last).then_some(first)
    }

    /// The end of the eighth with that number.
    pub(crate) fn eighth_end(&self, number: u64) -> Timestamp {
        let eighth = (nanos(self.keep) / 8).max(nanos(self.width()));
        Timestamp::from_nanos((number + 1).saturating_mul(eighth))
    }

    /// The moment before which dots are late when the retention clock shows `now`: the end of the last window that has
    /// been over for as long as it is kept. Zero where none has.
    pub(crate) fn late_before(&self, now: Timestamp) -> u64 {
        if self.keep.is_zero() {
            return 0;
        }
        self.window(now.saturating_sub(self.keep)).from.nanos()
    }
}

impl Window {
    /// Its last moment.
    pub fn last(&self) -> Timestamp {
        match nanos(self.width) {
            u64::MAX => Timestamp::MAX,
            width => Timestamp::from_nanos(self.from.nanos().saturating_add(width - 1)),
        }
    }

    /// The narrowest window that both lie in.
    pub(crate) fn and(&self, other: &Window) -> Window {
        let from = self.from.min(other.from);
        let last = self.last().max(other.last());
        let width = Duration::from_nanos((last.nanos() - from.nanos()).saturating_add(1));
        Window { from, width }
    }
}

impl Place {
    /// Whether dots from `first` to `last` may lie in it.
    pub(crate) fn holds(&self, first: Timestamp, last: Timestamp) -> bool {
        (self.is_late || self.window.from <= first) && last <= self.window.last()
    }

    /// Whether its window has been over for as long as it is kept, when the retention clock shows `now`.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        !self.tier.keep.is_zero() && self.window.last() < now.saturating_sub(self.tier.keep)
    }

    /// Whether its window is that of all that lay far ahead, and the wall clock has come to it.
    pub(crate) fn is_reached(&self, newest: Timestamp) -> bool {
        nanos(self.window.width) == u64::MAX
            && Timestamp::MIN < self.window.from
            && self.window.from <= newest
    }

    /// Appends it, or that there is none.
    pub(crate) fn encode(place: Option<&Place>, out: &mut Vec<u8>) {
        let Some(place) = place else { return out.push(0) };
        let Place { tier, is_late, window, rules } = place;
        out.push(1 + *is_late as u8);
        for length in [tier.step, tier.keep, tier.next_step] {
            put_varint(out, nanos(length));
        }
        put_varint(out, window.from.nanos());
        put_varint(out, nanos(window.width));
        out.extend_from_slice(&rules.to_le_bytes());
    }

    /// Reads what [`Place::encode`] has written.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Option<Place>> {
        let is_late = match fields.byte()? {
            0 => return Some(None),
            1 => false,
            2 => true,
            _ => return None,
        };
        let mut length = || fields.varint().map(Duration::from_nanos);
        let tier = Tier { step: length()?, keep: length()?, next_step: length()? };
        let from = Timestamp::from_nanos(fields.varint()?);
        let width = fields.varint().filter(|width| *width > 0).map(Duration::from_nanos)?;
        let rules = u64::from_le_bytes(fields.array()?);
        Some(Some(Place { tier, is_late, window: Window { from, width }, rules }))
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step.is_zero() {
            true => write!(f, "raw, kept ")?,
            false => write!(f, "steps of {}, kept ", Length(self.step))?,
        }
        match self.keep.is_zero() {
            true => write!(f, "for ever"),
            false => write!(f, "{}", Length(self.keep)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { tier, is_late, window, .. } = self;
        write!(f, "{tier}")?;
        let (from, width) = (window.from, Length(window.width));
        write!(f, ", {}window of {width} from {from}", if *is_late { "late, " } else { "" })
    }
}

/// A length of time as rules say it, in the largest unit that it is a whole number of.
pub(crate) struct Length(pub(crate) Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("d", 24 * HOUR), ("h", HOUR), ("m", HOUR / 60), ("s", HOUR / 3_600)];
        let length = nanos(self.0);
        match units.into_iter().find(|(_, unit)| length.is_multiple_of(*unit)) {
            Some((letter, unit)) => write!(f, "{}{letter}", length / unit),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * HOUR;
    const MINUTE: u64 = HOUR / 60;

    fn tier(step: u64, keep: u64, next_step: u64) -> Tier {
        let [step, keep, next_step] = [step, keep, next_step].map(Duration::from_nanos);
        Tier { step, keep, next_step }
    }

    #[test]
    fn windows_are_an_eighth_of_what_is_kept_and_whole_steps() {
        let check = |step, keep, next_step, width: u64| {
            let tier = tier(step, keep, next_step);
            assert_eq!(tier.width(), Duration::from_nanos(width), "{tier:?}");
        };
        check(0, 0, 0, 16 * DAY);
        check(0, HOUR, 0, HOUR);
        check(0, 2 * DAY, MINUTE, 4 * HOUR);
        check(0, 2 * DAY, DAY, DAY);
        check(0, 7 * DAY, 7 * HOUR, 7 * HOUR);
        check(MINUTE, 30 * DAY, 5 * HOUR, 25 * HOUR);
        check(HOUR, 365 * DAY, 0, 16 * DAY);
        check(DAY, 512 * DAY, 0, 64 * DAY);
        check(0, u64::MAX, 0, 256 * DAY);
        check(7 * DAY, 8 * DAY, 0, 7 * DAY);
        check(0, u64::MAX, u64::MAX, u64::MAX);
    }

    #[test]
    fn what_has_been_over_for_as_long_as_it_is_kept_is_late() {
        let tier = tier(0, 2 * HOUR, MINUTE);
        for (now, before) in
            [(0, 0), (2 * HOUR, 0), (3 * HOUR - 1, 0), (3 * HOUR, HOUR), (6 * HOUR + 5, 4 * HOUR)]
        {
            assert_eq!(tier.late_before(Timestamp::from_nanos(now)), before, "{now}");
        }
        assert_eq!(Tier::default().late_before(Timestamp::MAX), 0);
    }

    fn tiers() -> impl Strategy<Value = Tier> {
        let length = || prop_oneof![Just(0), 1..100 * MINUTE, HOUR..900 * DAY, any::<u64>()];
        (length(), length(), length()).prop_map(|(step, keep, next_step)| tier(step, keep, next_step))
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_one_window_and_no_window_cuts_a_step(tier in tiers(), time in any::<u64>()) {
            let (width, time) = (nanos(tier.width()), Timestamp::from_nanos(time));
            let window = tier.window(time);
            prop_assert!(window.from <= time && time <= window.last());
            prop_assert_eq!(tier.window(window.from), window);
            prop_assert_eq!(tier.window(window.last()), window);
            prop_assert!(width >= HOUR && width >= nanos(tier.step));
            // Windows that are wider than all time are one window.
            prop_assert!(tier.next_step.is_zero() || width.is_multiple_of(nanos(tier.next_step)) || width == u64::MAX);
            if !tier.keep.is_zero() && tier.step.is_zero() && tier.next_step.is_zero() {
                prop_assert!(width == HOUR || width <= nanos(tier.keep) / 8);
                prop_assert!(WIDTHS.iter().all(|other| *other <= width || *other > nanos(tier.keep) / 8));
            }
        }

        #[test]
        fn what_is_late_is_older_than_it_is_kept(tier in tiers(), now in any::<u64>(), time in any::<u64>()) {
            let (now, time) = (Timestamp::from_nanos(now), Timestamp::from_nanos(time));
            let end = tier.window(time).last().nanos().checked_add(nanos(tier.keep)).filter(|_| !tier.keep.is_zero());
            let is_over = end.is_some_and(|end| end < now.nanos());
            prop_assert_eq!(time.nanos() < tier.late_before(now), is_over);
            let place = Place { tier, window: tier.window(time), ..Place::default() };
            prop_assert_eq!(place.is_over(now), is_over);
        }

        #[test]
        fn a_place_reads_as_what_was_written(tier in tiers(), is_late in any::<bool>(), rules in any::<u64>(), from in any::<u64>(), width in 1..u64::MAX) {
            let window = Window { from: Timestamp::from_nanos(from), width: Duration::from_nanos(width) };
            for place in [None, Some(Place { tier, is_late, window, rules })] {
                let mut bytes = Vec::new();
                Place::encode(place.as_ref(), &mut bytes);
                let mut fields = Fields(&bytes);
                prop_assert_eq!(Place::decode(&mut fields), Some(place));
                prop_assert!(fields.0.is_empty());
                prop_assert!(Place::decode(&mut Fields(&bytes[..bytes.len() - 1])).is_none());
            }
        }

        #[test]
        fn a_joined_window_is_the_narrowest_that_holds_both(tier in tiers(), a in any::<u64>(), b in any::<u64>()) {
            let [a, b] = [a, b].map(|time| tier.window(Timestamp::from_nanos(time)));
            let both = a.and(&b);
            prop_assert_eq!((both.from, both.last()), (a.from.min(b.from), a.last().max(b.last())));
        }
    }
}
