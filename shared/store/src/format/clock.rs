//! The retention clock, by which retention judges age. The file of finished rings has a clock of the same kind.
//!
//! Always true: it advances no faster than the machine's boot-time clock, so a wall clock that is set wrong makes
//! nothing old. Where the wall clock has jumped ahead, it follows only after a day of boot time. A machine that was
//! off looks like such a jump.

use std::time::Duration;

use dotter_dot::{Timestamp, put_varint};

use crate::format::bytes::Fields;

/// A wall clock that is further ahead than this has jumped.
const JUMP: Duration = Duration::from_secs(60);
/// For how long after a jump the clock does not follow, in boot time.
const PATIENCE: Duration = Duration::from_secs(86_400);

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

/// The retention clock, as the list keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// What it shows; zero before the first pass.
    pub(crate) now: Timestamp,
    boot: [u8; 16],
    since_boot: u64,
    /// Boot time at which the wall clock was first seen ahead; zero where it is not.
    ahead_since: u64,
}

/// Whether a retention pass may remove what is too old, or only reports what it would remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Remove,
    Report,
}

impl Clock {
    /// Before the first pass.
    pub(crate) const NEVER: Clock =
        Clock { now: Timestamp::MIN, boot: [0; 16], since_boot: 0, ahead_since: 0 };

    /// Advances to the wall clock, as far as the rule above allows.
    pub(crate) fn advance(&mut self, machine: &Machine) -> Pass {
        let since_boot = u64::try_from(machine.since_boot.as_nanos()).unwrap_or(u64::MAX);
        let is_first = *self == Clock::default();
        // After another boot only the time since that boot counts: how long the machine was off is not known.
        let is_same = self.boot == machine.boot;
        let elapsed = if is_same { since_boot.saturating_sub(self.since_boot) } else { since_boot };
        let allowed = self.now.saturating_add(Duration::from_nanos(elapsed));
        (self.boot, self.since_boot) = (machine.boot, since_boot);
        if !is_same {
            self.ahead_since = 0;
        }
        if is_first {
            self.now = machine.wall;
            return Pass::Report;
        }
        if machine.wall < self.now {
            self.ahead_since = 0;
            let is_jump = self.now.since(machine.wall) > JUMP;
            // The clock never goes back: it stands still until the wall clock has caught up.
            return if is_jump { Pass::Report } else { Pass::Remove };
        }
        if machine.wall.since(allowed) <= JUMP {
            self.ahead_since = 0;
            self.now = machine.wall.min(allowed);
            return Pass::Remove;
        }
        if self.ahead_since == 0 {
            self.ahead_since = since_boot.max(1);
            self.now = allowed;
            return Pass::Report;
        }
        let patient = Duration::from_nanos(since_boot.saturating_sub(self.ahead_since)) >= PATIENCE;
        if patient {
            self.ahead_since = 0;
        }
        self.now = if patient { machine.wall } else { allowed };
        Pass::Remove
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.now.nanos());
        out.extend_from_slice(&self.boot);
        put_varint(out, self.since_boot);
        put_varint(out, self.ahead_since);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Clock> {
        Some(Clock {
            now: Timestamp::from_nanos(fields.varint()?),
            boot: fields.array()?,
            since_boot: fields.varint()?,
            ahead_since: fields.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn machine(wall: u64, boot: u8, since_boot: u64) -> Machine {
        let wall = Timestamp::from_secs(1_700_000_000 + wall).unwrap();
        Machine { wall, boot: [boot; 16], since_boot: Duration::from_secs(since_boot) }
    }

    fn seconds(clock: &Clock) -> u64 {
        clock.now.nanos() / 1_000_000_000 - 1_700_000_000
    }

    #[test]
    fn the_first_pass_reports_and_then_it_goes_with_the_wall_clock() {
        let mut clock = Clock::default();
        assert_eq!(clock.advance(&machine(0, 1, 50)), Pass::Report);
        assert_eq!((clock.advance(&machine(3600, 1, 3650)), seconds(&clock)), (Pass::Remove, 3600));
        // A little slower or faster is what clocks do.
        assert_eq!((clock.advance(&machine(7210, 1, 7250)), seconds(&clock)), (Pass::Remove, 7200));
        assert_eq!((clock.advance(&machine(10_790, 1, 10_850)), seconds(&clock)), (Pass::Remove, 10_790));
    }

    #[test]
    fn ten_years_ahead_are_believed_after_a_day_and_not_before() {
        let (mut clock, years) = (Clock::default(), 315_360_000);
        clock.advance(&machine(0, 1, 0));
        assert_eq!((clock.advance(&machine(years, 1, 60)), seconds(&clock)), (Pass::Report, 60));
        assert_eq!((clock.advance(&machine(years + 3600, 1, 3660)), seconds(&clock)), (Pass::Remove, 3660));
        // Set right again, nothing is left of it.
        let mut right = clock;
        assert_eq!((right.advance(&machine(7200, 1, 7200)), seconds(&right)), (Pass::Remove, 7200));
        assert_eq!(right.advance(&machine(years + 90_000, 1, 90_000)), Pass::Report);
        assert_eq!(
            (clock.advance(&machine(years + 90_000, 1, 90_000)), seconds(&clock)),
            (Pass::Remove, years + 90_000)
        );
    }

    #[test]
    fn a_week_off_is_a_jump_and_a_clock_set_back_stands_still() {
        let mut clock = Clock::default();
        clock.advance(&machine(0, 1, 1000));
        assert_eq!((clock.advance(&machine(604_800, 2, 30)), seconds(&clock)), (Pass::Report, 30));
        assert_eq!((clock.advance(&machine(700_000, 2, 95_230)), seconds(&clock)), (Pass::Remove, 700_000));
        assert_eq!((clock.advance(&machine(600_000, 2, 96_000)), seconds(&clock)), (Pass::Report, 700_000));
    }

    #[test]
    fn a_jump_seen_before_a_reboot_is_waited_out_anew_after_it() {
        let (mut clock, years) = (Clock::default(), 315_360_000);
        clock.advance(&machine(0, 1, 0));
        clock.advance(&machine(years, 1, 60));
        // The boot that saw it first is over, and how long the machine was off nobody knows.
        assert_eq!((clock.advance(&machine(years, 2, 90_000)), seconds(&clock)), (Pass::Report, 90_060));
    }

    proptest! {
        #[test]
        fn within_a_day_it_never_runs_ahead_of_boot_time(
            walls in prop::collection::vec((any::<u32>(), 1..2_000_u64), 1..40),
        ) {
            let mut clock = Clock::default();
            clock.advance(&machine(0, 1, 0));
            let mut since_boot = 0;
            for (wall, step) in walls {
                since_boot += step;
                clock.advance(&machine(wall as u64, 1, since_boot));
                prop_assert!(seconds(&clock) <= since_boot);
            }
        }

        #[test]
        fn it_round_trips(now in any::<u64>(), boot in any::<[u8; 16]>(), since_boot in any::<u64>(), ahead_since in any::<u64>()) {
            let clock = Clock { now: Timestamp::from_nanos(now), boot, since_boot, ahead_since };
            let mut bytes = Vec::new();
            clock.encode(&mut bytes);
            prop_assert_eq!(Clock::decode(&mut Fields(&bytes)), Some(clock));
        }
    }
}
