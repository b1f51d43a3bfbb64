//! The retention clock, by which retention judges age: readings of the wall clock over running time. The file of
//! finished rings has a clock of the same kind.
//!
//! Running time is boot time, added up over all boots in which somebody looked at the clocks. It stands still while
//! the machine is off.
//!
//! Always true:
//!
//! - what is believed is no later than any reading of the last day of running time, so a wall clock that is set wrong
//!   for less than that makes nothing old
//! - nothing is believed before the clock has run for the whole span that is looked at
//! - readings stand in the order of running time, at most [`READINGS_MAX`] of them, and the newest stands as it was taken

use std::time::Duration;

use dotter_dot::{Timestamp, put_varint, unzigzag, zigzag};

use crate::format::bytes::Fields;

/// How much running time lies between two readings of one boot, in nanoseconds.
const BETWEEN: u64 = 1_800_000_000_000;
/// The longest span of running time that is looked at, in nanoseconds.
const SPAN_MAX: u64 = 48 * BETWEEN;
/// The most readings that are kept. One each half hour makes 49; those behind a reboot come on top.
const READINGS_MAX: usize = 64;
/// A wall clock that differs by more than this from what it should show has jumped.
const JUMP: Duration = Duration::from_secs(60);

/// What the machine's clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The wall clock.
    pub wall: Timestamp,
    /// The id of this boot.
    pub boot: [u8; 16],
    /// Time since the boot, including time in which the machine was suspended.
    pub since_boot: Duration,
}

/// Readings of the wall clock over running time, as the list keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// The boot in which the last reading was taken.
    boot: [u8; 16],
    /// Boot time of the last reading, in nanoseconds.
    since_boot: u64,
    /// Oldest first.
    readings: Vec<Reading>,
}

/// The wall clock at one moment of running time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    /// Running time, in nanoseconds; 0 for the very first reading.
    running: u64,
    /// What the wall clock showed, in nanoseconds since 1970.
    wall: u64,
}

/// How far the wall clock has moved against boot time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jump {
    /// Whether it is later than it should be.
    pub(crate) ahead: bool,
    /// By how much.
    pub(crate) by: Duration,
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock {
    /// Before the first reading.
    pub(crate) const NEVER: Clock = Clock { boot: [0; 16], since_boot: 0, readings: Vec::new() };

    /// Takes a reading where one is due: the first, the first in another boot, and else half an hour of running time
    /// after the last. Returns whether it took one; else nothing has changed.
    pub(crate) fn read(&mut self, machine: &Machine) -> bool {
        let elapsed = self.elapsed(machine);
        if !self.readings.is_empty() && self.boot == machine.boot && elapsed < BETWEEN {
            return false;
        }
        let running = nanos(self.running()).saturating_add(elapsed);
        (self.boot, self.since_boot) = (machine.boot, nanos(machine.since_boot));
        self.readings.push(Reading { running, wall: machine.wall.nanos() });
        // One reading that is a day old is kept: it shows that the clock has run for so long.
        let day_ago = running.saturating_sub(SPAN_MAX);
        let old = self.readings.partition_point(|reading| reading.running <= day_ago);
        self.readings.drain(..old.saturating_sub(1));
        while self.readings.len() > READINGS_MAX {
            self.join();
        }
        true
    }

    /// Joins one reading with the next, where that leaves the smallest gap. The oldest and the newest stay.
    fn join(&mut self) {
        let gap = |at: usize| self.readings[at + 1].running - self.readings[at - 1].running;
        if let Some(at) = (1..self.readings.len().saturating_sub(2)).min_by_key(|at| gap(*at)) {
            let gone = self.readings.remove(at);
            self.readings[at].wall = self.readings[at].wall.min(gone.wall);
        }
    }

    /// The moment that retention may believe it is, for what is kept so long: the least of the readings of the last
    /// day of running time, or of the last `keep` where that is shorter. [`Timestamp::MIN`] where the clock has not
    /// run for so long yet.
    ///
    /// - `keep`: zero where it is kept for ever
    pub(crate) fn believed(&self, keep: Duration) -> Timestamp {
        let span = if keep.is_zero() { SPAN_MAX } else { nanos(keep).min(SPAN_MAX) };
        let Some(begin) = nanos(self.running()).checked_sub(span) else { return Timestamp::MIN };
        // The newest reading from before the span counts too: it shows that the clock has run for the whole span.
        let Some(first) = self.readings.iter().rposition(|reading| reading.running <= begin) else {
            return Timestamp::MIN;
        };
        let least = self.readings[first..].iter().map(|reading| reading.wall).min();
        least.map_or(Timestamp::MIN, Timestamp::from_nanos)
    }

    /// The moment by which it is judged where what comes now belongs: as [`Self::believed`], but as soon as there is any
    /// reading. What it places wrong stays too long and loses nothing.
    pub(crate) fn arrival(&self, keep: Duration) -> Timestamp {
        let span = if keep.is_zero() { SPAN_MAX } else { nanos(keep).min(SPAN_MAX) };
        let begin = nanos(self.running()).saturating_sub(span);
        let first = self.readings.iter().rposition(|reading| reading.running <= begin).unwrap_or(0);
        let least = self.readings[first..].iter().map(|reading| reading.wall).min();
        least.map_or(Timestamp::MIN, Timestamp::from_nanos)
    }

    /// The newest reading, right or wrong; [`Timestamp::MIN`] before the first.
    pub(crate) fn newest(&self) -> Timestamp {
        self.readings.last().map_or(Timestamp::MIN, |last| Timestamp::from_nanos(last.wall))
    }

    /// Running time at the last reading.
    pub(crate) fn running(&self) -> Duration {
        Duration::from_nanos(self.readings.last().map_or(0, |last| last.running))
    }

    /// Running time now, whether a reading is due or not.
    pub(crate) fn running_at(&self, machine: &Machine) -> Duration {
        self.running().saturating_add(Duration::from_nanos(self.elapsed(machine)))
    }

    /// How much running time has passed since the last reading, in nanoseconds. How long the machine was off is not
    /// known: of another boot only the time since that boot counts. That boot may be another machine's, which was
    /// running long before the last reading, so what the wall clock has advanced is a bound.
    fn elapsed(&self, machine: &Machine) -> u64 {
        let since_boot = nanos(machine.since_boot);
        match self.readings.last() {
            None => 0,
            Some(_) if self.boot == machine.boot => since_boot.saturating_sub(self.since_boot),
            Some(last) => since_boot.min(machine.wall.nanos().saturating_sub(last.wall)),
        }
    }

    /// How far the wall clock has moved against boot time since the last reading, where that is more than a minute.
    /// `None` in another boot too: nobody knows what the clock should show then.
    pub(crate) fn jumped(&self, machine: &Machine) -> Option<Jump> {
        let last = self.readings.last().filter(|_| self.boot == machine.boot)?;
        let expected = last.wall.saturating_add(self.elapsed(machine));
        let wall = machine.wall.nanos();
        let by = Duration::from_nanos(wall.abs_diff(expected));
        (by > JUMP).then_some(Jump { ahead: wall > expected, by })
    }

    /// Appends it: how many readings; where there are any: the boot and the boot time of the last, then of each what
    /// running time and wall clock have advanced since the one before, or since zero.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.readings.len() as u64);
        if self.readings.is_empty() {
            return;
        }
        out.extend_from_slice(&self.boot);
        put_varint(out, self.since_boot);
        let mut before = Reading { running: 0, wall: 0 };
        for reading in &self.readings {
            put_varint(out, reading.running - before.running);
            put_varint(out, zigzag(reading.wall.wrapping_sub(before.wall) as i64));
            before = *reading;
        }
    }

    /// Reads what [`Clock::encode`] wrote; `None` where there are too many readings, or running time goes beyond what
    /// fits.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Clock> {
        let count = fields.count(2).filter(|count| *count <= READINGS_MAX)?;
        if count == 0 {
            return Some(Clock::NEVER);
        }
        let (boot, since_boot) = (fields.array()?, fields.varint()?);
        let mut readings = Vec::with_capacity(count);
        let mut last = Reading { running: 0, wall: 0 };
        for _ in 0..count {
            let running = last.running.checked_add(fields.varint()?)?;
            let wall = last.wall.wrapping_add(unzigzag(fields.varint()?) as u64);
            last = Reading { running, wall };
            readings.push(last);
        }
        Some(Clock { boot, since_boot, readings })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const YEARS: i64 = 10 * 365 * DAY as i64;
    const MONTH: Duration = Duration::from_secs(30 * DAY);
    const START: u64 = 1_700_000_000;

    /// `wall`: seconds since [`START`]
    fn machine(wall: i64, boot: u8, since_boot: u64) -> Machine {
        let wall = Timestamp::from_secs(START.saturating_add_signed(wall)).unwrap();
        Machine { wall, boot: [boot; 16], since_boot: Duration::from_secs(since_boot) }
    }

    /// A machine that was switched on at [`START`] and never off.
    fn always_on(seconds: u64, offset: i64) -> Machine {
        machine(seconds as i64 + offset, 1, seconds)
    }

    /// How far a believed moment is ahead of the true time, in seconds.
    fn ahead(clock: &Clock, keep: Duration, seconds: u64) -> i64 {
        (clock.believed(keep).nanos() / 1_000_000_000) as i64 - (START + seconds) as i64
    }

    /// Looks every ten minutes.
    fn run(
        clock: &mut Clock,
        minutes: std::ops::Range<u64>,
        of: impl Fn(u64) -> Machine,
        mut look: impl FnMut(&Clock, u64),
    ) {
        for minute in minutes.step_by(10) {
            clock.read(&of(minute * MINUTE));
            look(clock, minute * MINUTE);
        }
    }

    #[test]
    fn always_on_it_lags_by_what_it_looks_at_and_half_an_hour() {
        for (keep, most) in
            [(MONTH, 24 * HOUR), (Duration::ZERO, 24 * HOUR), (Duration::from_secs(2 * HOUR), 2 * HOUR)]
        {
            let (mut clock, mut readings, mut lag) = (Clock::default(), 0, 0);
            for minute in 0..90 * 24 * 60 {
                let now = minute * MINUTE;
                readings += clock.read(&always_on(now, 0)) as u64;
                if now < most {
                    assert_eq!(clock.believed(keep), Timestamp::MIN);
                } else {
                    lag = lag.max(-ahead(&clock, keep, now));
                }
            }
            assert_eq!((readings, clock.readings.len()), (90 * 48, 49));
            assert_eq!(lag, (most + 29 * MINUTE) as i64);
            assert_eq!(clock.running(), Duration::from_secs(90 * DAY - HOUR / 2));
        }
    }

    #[test]
    fn on_ten_hours_a_day_it_lags_by_at_most_66_hours() {
        let (mut clock, keep, mut lag) = (Clock::default(), Duration::from_secs(2 * DAY), 0);
        for day in 0..90 {
            for minute in (0..=10 * 60).step_by(10) {
                let now = day * DAY + 8 * HOUR + minute * MINUTE;
                let is_new = clock.read(&machine(now as i64, day as u8, minute * MINUTE));
                assert!(ahead(&clock, keep, now) <= 0);
                if is_new && day > 10 {
                    lag = lag.max(-ahead(&clock, keep, now));
                }
            }
        }
        assert_eq!(lag, 66 * HOUR as i64);
        assert_eq!(clock.running(), Duration::from_secs(90 * 10 * HOUR));
    }

    #[test]
    fn ten_years_ahead_for_less_than_what_is_looked_at_are_never_believed() {
        for (keep, hours) in [(MONTH, 20), (Duration::from_secs(2 * HOUR), 1)] {
            let mut clock = Clock::default();
            let offset =
                |seconds: u64| if (500..500 + hours).contains(&(seconds / HOUR)) { YEARS } else { 0 };
            run(
                &mut clock,
                0..90 * 24 * 60,
                |now| always_on(now, offset(now)),
                |clock, now| {
                    assert!(ahead(clock, keep, now) <= 0, "at {now}");
                },
            );
            assert!(ahead(&clock, keep, 90 * DAY) >= -25 * HOUR as i64, "it goes on");
        }
    }

    #[test]
    fn ten_years_ahead_for_three_days_are_believed_after_one_and_no_more_once_set_right() {
        let mut clock = Clock::default();
        let offset = |seconds: u64| if (500..572).contains(&(seconds / HOUR)) { YEARS } else { 0 };
        run(
            &mut clock,
            0..90 * 24 * 60,
            |now| always_on(now, offset(now)),
            |clock, now| {
                // The reading before the first wrong one counts until it lies before the span.
                let is_believed = (500 * HOUR + DAY..572 * HOUR).contains(&now);
                assert_eq!(ahead(clock, MONTH, now) > 0, is_believed, "at {now}");
            },
        );
    }

    #[test]
    fn in_1970_nothing_is_old() {
        let mut clock = Clock::default();
        let offset = |seconds: u64| if (500..572).contains(&(seconds / HOUR)) { -(START as i64) } else { 0 };
        run(
            &mut clock,
            0..90 * 24 * 60,
            |now| always_on(now, offset(now)),
            |clock, now| {
                let believed = ahead(clock, MONTH, now);
                assert!(believed <= 0);
                if (500..572 + 24).contains(&(now / HOUR)) {
                    assert!(believed < -(START as i64) / 2, "at {now}");
                }
            },
        );
        assert!(ahead(&clock, MONTH, 90 * DAY) >= -25 * HOUR as i64, "it goes on");
    }

    #[test]
    fn of_another_boot_the_time_since_it_counts_and_no_more_than_the_wall_clock_says() {
        let mut clock = Clock::default();
        assert!(clock.read(&machine(0, 1, 5000)) && !clock.read(&machine(0, 1, 5000)));
        assert!(!clock.read(&machine(1799, 1, 6799)));
        assert_eq!(clock.running(), Duration::ZERO);
        assert_eq!(clock.running_at(&machine(1799, 1, 6799)), Duration::from_secs(1799));
        // A week off, and on for 30 s.
        assert!(
            clock.read(&machine(7 * DAY as i64, 2, 30)) && !clock.read(&machine(7 * DAY as i64 + 9, 2, 39))
        );
        assert_eq!(clock.running(), Duration::from_secs(30));
        // Another machine that has been on for a year takes over after an hour.
        assert!(clock.read(&machine((7 * DAY + HOUR) as i64, 3, 365 * DAY)));
        assert_eq!(clock.running(), Duration::from_secs(30 + HOUR));
        // The boot-time clock of one boot never goes back.
        assert!(!clock.read(&machine(0, 3, 5)));
        assert_eq!(clock.running_at(&machine(0, 3, 5)), Duration::from_secs(30 + HOUR));
    }

    #[test]
    fn a_jump_is_told_within_one_boot() {
        let mut clock = Clock::default();
        assert_eq!(clock.jumped(&machine(YEARS, 1, 0)), None);
        clock.read(&machine(0, 1, 0));
        let check = |wall: i64, boot, since_boot, expected: Option<(bool, u64)>| {
            let expected = expected.map(|(ahead, by)| Jump { ahead, by: Duration::from_secs(by) });
            assert_eq!(clock.jumped(&machine(wall, boot, since_boot)), expected, "{wall} {boot}");
        };
        check(600, 1, 600, None);
        check(660, 1, 600, None);
        check(540, 1, 600, None);
        check(661, 1, 600, Some((true, 61)));
        check(539, 1, 600, Some((false, 61)));
        check(YEARS, 1, 0, Some((true, YEARS as u64)));
        check(YEARS, 2, 0, None);
    }

    #[test]
    fn a_machine_that_boots_all_day_is_believed_with_a_day_s_lag_too() {
        // A boot every three minutes makes 480 readings a day.
        let mut clock = Clock::default();
        for boot in 0..10 * 480 {
            let now = boot * 3 * MINUTE;
            clock.read(&machine(now as i64, boot as u8, 3 * MINUTE));
            assert!(clock.readings.len() <= READINGS_MAX);
            if now > 3 * DAY {
                let lag = -ahead(&clock, MONTH, now);
                assert!((DAY as i64..28 * HOUR as i64).contains(&lag), "{lag}");
            }
        }
    }

    /// Every reading that was ever taken, beside the clock that keeps some.
    fn believed_plainly(all: &[Reading], keep: Duration) -> Option<u64> {
        let now = all.last()?.running;
        let span = if keep.is_zero() { SPAN_MAX } else { nanos(keep).min(SPAN_MAX) };
        let begin = now.checked_sub(span)?;
        let proof = all.iter().rposition(|reading| reading.running <= begin)?;
        all[proof..].iter().map(|reading| reading.wall).min()
    }

    prop_compose! {
        /// Another boot or not, seconds until the next look, wall clock.
        fn looks()(looks in prop::collection::vec((0..8_u8, 0..3 * HOUR, 0..20 * DAY), 1..300)) -> Vec<Machine> {
            let (mut boot, mut since_boot) = (1, 0);
            looks.into_iter().map(|(kind, seconds, wall)| {
                if kind == 0 {
                    (boot, since_boot) = (boot + 1, 0);
                }
                since_boot += if kind < 4 { seconds / 60 } else { seconds };
                machine(wall as i64, boot as u8, since_boot)
            }).collect()
        }
    }

    proptest! {
        #[test]
        fn it_is_never_later_than_any_reading_of_the_span(looks in looks(), keep in 0..3 * DAY) {
            let keep = Duration::from_secs(keep);
            let (mut clock, mut all) = (Clock::default(), Vec::new());
            let mut most = 0;
            for machine in &looks {
                if clock.read(machine) {
                    all.push(*clock.readings.last().unwrap());
                }
                most = most.max(clock.readings.len());
                let (found, plainly) = (clock.believed(keep), believed_plainly(&all, keep));
                prop_assert!(found.nanos() <= plainly.unwrap_or(0));
                // Nothing has been joined so far.
                if most < READINGS_MAX {
                    prop_assert_eq!(found.nanos(), plainly.unwrap_or(0));
                }
            }
        }

        #[test]
        fn joined_readings_are_never_later_than_all_of_them(
            steps in prop::collection::vec((0..40 * MINUTE, 0..u64::MAX), READINGS_MAX + 1..300),
            keep in 0..2 * DAY,
        ) {
            let (mut clock, mut all, mut running) = (Clock::default(), Vec::new(), 0);
            for (step, wall) in steps {
                running += step * 1_000_000_000;
                let reading = Reading { running, wall };
                clock.readings.push(reading);
                all.push(reading);
                while clock.readings.len() > READINGS_MAX {
                    clock.join();
                }
                let plainly = believed_plainly(&all, Duration::from_secs(keep));
                let found = clock.believed(Duration::from_secs(keep));
                prop_assert!(found.nanos() <= plainly.unwrap_or(0));
                prop_assert!(clock.readings.len() == READINGS_MAX.min(all.len()));
                prop_assert_eq!(clock.readings.last(), all.last());
                prop_assert_eq!(clock.readings[0], all[0]);
                prop_assert!(clock.readings.is_sorted_by_key(|reading| reading.running));
            }
        }

        #[test]
        fn it_round_trips(looks in looks(), boot in any::<[u8; 16]>(), wall in any::<u64>()) {
            let mut clock = Clock::default();
            for machine in &looks {
                clock.read(machine);
            }
            clock.read(&Machine { wall: Timestamp::from_nanos(wall), boot, since_boot: Duration::MAX });
            for clock in [clock, Clock::NEVER] {
                let mut bytes = Vec::new();
                clock.encode(&mut bytes);
                let mut fields = Fields(&bytes);
                prop_assert_eq!(Clock::decode(&mut fields), Some(clock));
                prop_assert!(fields.0.is_empty());
                prop_assert_eq!(Clock::decode(&mut Fields(&bytes[..bytes.len() - 1])), None);
            }
        }

        #[test]
        fn rubbish_never_panics(
            count in prop_oneof![0..70_u64, any::<u64>()],
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            machine in (any::<u64>(), any::<[u8; 16]>(), any::<u64>()),
            keep in any::<u64>(),
        ) {
            let mut whole = Vec::new();
            put_varint(&mut whole, count);
            whole.extend_from_slice(&bytes);
            if let Some(mut clock) = Clock::decode(&mut Fields(&whole)) {
                prop_assert!(clock.readings.len() <= READINGS_MAX);
                prop_assert!(clock.readings.is_sorted_by_key(|reading| reading.running));
                let (wall, since_boot) = (Timestamp::from_nanos(machine.0), Duration::from_nanos(machine.2));
                for boot in [machine.1, clock.boot] {
                    let machine = Machine { wall, boot, since_boot };
                    let _ = (clock.jumped(&machine), clock.running_at(&machine), clock.read(&machine));
                    let _ = clock.believed(Duration::from_nanos(keep));
                }
            }
        }
    }
}
