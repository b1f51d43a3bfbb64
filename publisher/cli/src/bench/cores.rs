//! Which thread runs where. Left to itself a system puts a reader now beside its writer, now on the same core, and the
//! figures of one thing then differ by a factor of four from one run to the next.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What a thread of the measurement does.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// Publishes, and is measured.
    Writer,
    /// Everybody else.
    Other,
}

/// Two cores, one for each role; on a machine that lets us have one only, nothing is said to the system.
#[derive(Clone, Copy)]
pub(super) struct Cores(Option<[usize; 2]>);

impl Cores {
    /// Of those this process may use.
    pub(super) fn find() -> Cores {
        let allowed = sched_getaffinity(None).ok();
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_some_and(|set| set.is_set(*core)));
        Cores(cores.next().zip(cores.next()).map(|(first, second)| [first, second]))
    }

    /// Keeps this thread on the core of its role from now on. Best effort.
    pub(super) fn stay(self, role: Role) {
        if let Some(cores) = self.0 {
            let mut set = CpuSet::new();
            set.set(cores[role as usize]);
            let _ = sched_setaffinity(None, &set);
        }
    }

    /// Whether there are two.
    pub(super) fn are_two(self) -> bool {
        self.0.is_some()
    }
}
