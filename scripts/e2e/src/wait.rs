//! Waiting for something to become true, never for time to pass.

use std::time::{Duration, Instant};

/// How long a test waits before it says that something does not happen.
pub const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(2);

/// Waits until `holds`.
///
/// # Panics
///
/// After [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(()));
}

/// Waits until there is something and returns it.
///
/// # Panics
///
/// After [`PATIENCE`].
#[track_caller]
pub fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited {} s for: {what}", PATIENCE.as_secs());
        std::thread::sleep(LOOK);
    }
}
