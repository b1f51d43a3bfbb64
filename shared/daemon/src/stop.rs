//! One flag that says "finish what you are doing and go".
//!
//! SIGTERM and SIGINT set it; a second one ends the process at once with code 130. Whoever waits on the
//! flag is woken when it is set: nobody polls for it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Cheap to clone; all clones are one flag. Once set it stays set.
#[derive(Clone, Default)]
pub struct StopFlag(Arc<Shared>);

#[derive(Default)]
struct Shared {
    set: AtomicBool,
    gate: Mutex<()>,
    wake: Condvar,
}

impl StopFlag {
    /// Whether it is time to go.
    pub fn is_set(&self) -> bool {
        self.0.set.load(SeqCst)
    }

    /// Sets the flag and wakes all who wait.
    pub fn set(&self) {
        // Taken so that nobody can look, find it unset, and go to sleep after the wake-up.
        let _gate = self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.set.store(true, SeqCst);
        self.0.wake.notify_all();
    }

    /// Waits until the flag is set, at most `length`; says whether it is.
    pub fn wait(&self, length: Duration) -> bool {
        let until = Instant::now() + length;
        let mut gate = self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_set() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            gate = self.0.wake.wait_timeout(gate, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Takes SIGTERM and SIGINT from now on and gives out the flag they set.
///
/// # Errors
///
/// Where the signals cannot be taken or the thread that waits for them cannot be started.
pub fn stop_on_signals() -> io::Result<StopFlag> {
    let flag = StopFlag::default();
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let set = flag.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if set.is_set() {
                std::process::exit(130);
            }
            set.set();
        }
    })?;
    Ok(flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_at_once_when_the_flag_is_set() {
        let flag = StopFlag::default();
        assert!(!flag.wait(Duration::from_millis(1)));
        let other = flag.clone();
        let waiter = std::thread::spawn(move || other.wait(Duration::from_secs(600)));
        flag.set();
        assert!(waiter.join().unwrap());
        assert!(flag.is_set());
    }
}
