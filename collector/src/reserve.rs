//! The disk reserve: what the file system of the store keeps free. Where less is free, nothing is taken that would add
//! rows, so that deletes, compaction and expiry have the room that they need to make some.
//!
//! Always true:
//!
//! - the file system is asked once in [`LOOK`], however much is posted
//! - a file system that cannot be asked changes nothing, and one that does not say how large it is has no reserve
//! - once there was too little, rows are taken again only when a twentieth of the reserve is free above it: at the
//!   border that would change with every file of the log

use std::cell::Cell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use dotter_daemon::{Log, chain};
use dotter_store::Free;

use crate::metrics::Metrics;

/// How often the file system is asked.
const LOOK: Duration = Duration::from_secs(1);
/// One part of so many of the reserve has to be free above it, before rows are taken again.
const MARGIN_PARTS: u64 = 20;

/// Asks the file system of a directory how much room it has; a test answers itself.
pub(crate) type Ask = Box<dyn Fn(&Path) -> Result<Free, dotter_store::Error> + Send>;

/// The reserve of one store. It belongs to the thread that commits.
pub(crate) struct Reserve {
    dir: PathBuf,
    percent: f64,
    ask: Ask,
    metrics: Arc<Metrics>,
    log: Log,
    next_look: Cell<Instant>,
    short: Cell<Option<Short>>,
    /// Whether the last look failed.
    is_blind: Cell<bool>,
}

/// What was found where less is free than the reserve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Short {
    free: Free,
    reserve_bytes: u64,
    /// Of all bytes, the reserve.
    percent: f64,
}

impl Reserve {
    /// Looks for the first time.
    ///
    /// - `percent`: of all that the file system holds, from 0 to 50; with 0 there is no reserve
    pub(crate) fn new(dir: &Path, percent: f64, ask: Ask, metrics: Arc<Metrics>, log: Log) -> Reserve {
        let now = Instant::now();
        let (next_look, short, is_blind) = (Cell::new(now), Cell::new(None), Cell::new(false));
        let reserve = Reserve { dir: dir.to_owned(), percent, ask, metrics, log, next_look, short, is_blind };
        reserve.short(now);
        reserve
    }

    /// Whether less is free than the reserve, as of the last look; looks again where that is due.
    pub(crate) fn short(&self, now: Instant) -> Option<Short> {
        if self.next_look.get() <= now {
            self.next_look.set(now + LOOK);
            self.look();
        }
        self.short.get()
    }

    /// Has the next question answered by a new look.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        self.next_look.set(Instant::now());
    }

    fn look(&self) {
        let free = match (self.ask)(&self.dir) {
            Ok(free) => free,
            Err(error) => {
                // What was found last stands.
                if !self.is_blind.replace(true) {
                    let text = format!("{}; the disk reserve is left as it was", chain(&error));
                    self.log.warn("reserve-look", &text);
                }
                return;
            }
        };
        self.is_blind.set(false);
        let was_short = self.short.get().is_some();
        let found = Short { free, reserve_bytes: reserve_bytes(free, self.percent), percent: self.percent };
        let is_short = found.is_short(was_short);
        self.short.set(is_short.then_some(found));
        self.metrics.disk_free_bytes.store(free.free_bytes, Relaxed);
        self.metrics.disk_reserve_bytes.store(found.reserve_bytes, Relaxed);
        self.metrics.set_short(is_short.then(|| found.to_string()));
        if is_short && !was_short {
            let text = format!(
                "{found}, in the file system of {}; rows are answered 507 and graphite lines are not read until there \
                 is room; deletes, expiry and reading go on",
                self.dir.display()
            );
            self.log.warn("reserve", &text);
        } else if was_short && !is_short {
            self.log.info(&format!(
                "above the disk reserve again: found {} bytes ({} %) free, expected {} ({} %); rows are taken again, {} \
                 requests were refused since the start",
                free.free_bytes,
                found.free_percent(),
                found.reserve_bytes,
                self.percent,
                self.metrics.disk_refused.load(Relaxed)
            ));
        }
    }
}

/// - `percent`: from 0 to 50
fn reserve_bytes(free: Free, percent: f64) -> u64 {
    (free.all_bytes as f64 * (percent / 100.0)) as u64
}

impl Short {
    /// - `was_short`: whether it was at the last look
    fn is_short(&self, was_short: bool) -> bool {
        let margin = if was_short { self.reserve_bytes / MARGIN_PARTS } else { 0 };
        self.free.free_bytes < self.reserve_bytes + margin
    }

    /// How much is free, with two digits behind the point, never rounded up to the reserve.
    fn free_percent(&self) -> f64 {
        let share = self.free.free_bytes as f64 / self.free.all_bytes.max(1) as f64;
        (share * 10_000.0).floor() / 100.0
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "below the disk reserve: found {} bytes ({} %) free, expected {} ({} %) and, to begin again, a twentieth \
             of that more",
            self.free.free_bytes,
            self.free_percent(),
            self.reserve_bytes,
            self.percent
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;

    const PERCENT: f64 = 5.0;
    const ALL: u64 = 100_000;

    /// What a file system of [`ALL`] bytes answers, and how often it was asked.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<(Option<u64>, u64)>>);

    impl Told {
        /// `None`: it cannot be asked.
        fn set(&self, free_bytes: Option<u64>) {
            self.0.lock().unwrap().0 = free_bytes;
        }

        fn asked(&self) -> u64 {
            self.0.lock().unwrap().1
        }

        fn reserve(&self, percent: f64) -> (Reserve, Arc<Metrics>) {
            let (told, metrics) = (self.clone(), Arc::new(Metrics::new()));
            let ask = move |dir: &Path| {
                let mut told = told.0.lock().unwrap();
                told.1 += 1;
                match told.0 {
                    Some(free_bytes) => Ok(Free { free_bytes, all_bytes: ALL }),
                    None => dotter_store::free_room(&dir.join("none")),
                }
            };
            let reserve =
                Reserve::new(Path::new("/"), percent, Box::new(ask), metrics.clone(), Log::new("test"));
            (reserve, metrics)
        }
    }

    #[test]
    fn it_begins_below_the_reserve_and_ends_a_twentieth_above_it() {
        let told = Told::default();
        told.set(Some(5_000));
        let (reserve, metrics) = told.reserve(PERCENT);
        metrics.set_trouble(None);
        let mut now = Instant::now();
        for (free, is_short) in [
            (Some(5_000), false),
            (Some(4_999), true),
            (Some(5_000), true),
            (Some(5_249), true),
            (None, true),
            (Some(5_250), false),
            (Some(5_000), false),
            (None, false),
            (Some(0), true),
            (Some(ALL), false),
        ] {
            now += LOOK;
            told.set(free);
            assert_eq!(reserve.short(now).is_some(), is_short, "{free:?}");
            assert_eq!(metrics.ready().is_err(), is_short, "{free:?}");
            if let Some(free) = free {
                assert_eq!(metrics.disk_free_bytes.load(Relaxed), free);
            }
            assert_eq!(metrics.disk_reserve_bytes.load(Relaxed), 5_000);
        }
    }

    #[test]
    fn the_file_system_is_asked_once_a_second_however_often_it_is_looked_at() {
        let told = Told::default();
        told.set(Some(4_999));
        let (reserve, _) = told.reserve(PERCENT);
        let now = Instant::now();
        told.set(Some(ALL));
        (0..1000).for_each(|_| assert!(reserve.short(now).is_some()));
        assert_eq!(told.asked(), 1);
        for second in 1..5_u32 {
            (0..1000).for_each(|_| assert!(reserve.short(now + LOOK * second).is_none()));
            assert_eq!(told.asked(), 1 + u64::from(second));
        }
    }

    #[test]
    fn it_says_what_was_found_and_what_was_expected() {
        let told = Told::default();
        told.set(Some(4_999));
        let (reserve, _) = told.reserve(PERCENT);
        assert_eq!(
            reserve.short(Instant::now()).unwrap().to_string(),
            "below the disk reserve: found 4999 bytes (4.99 %) free, expected 5000 (5 %) and, to begin again, a \
             twentieth of that more"
        );
    }

    #[test]
    fn without_a_percentage_or_a_size_there_is_no_reserve() {
        let told = Told::default();
        told.set(Some(0));
        let (reserve, metrics) = told.reserve(0.0);
        assert_eq!(reserve.short(Instant::now()), None);
        assert_eq!(metrics.disk_reserve_bytes.load(Relaxed), 0);
        assert_eq!(reserve_bytes(Free { free_bytes: 0, all_bytes: 0 }, 50.0), 0);
    }

    proptest! {
        #[test]
        fn a_reserve_is_its_part_of_all_and_short_is_less(
            free_bytes: u64, all_bytes: u64, percent in 0.0..=50.0,
        ) {
            let free = Free { free_bytes, all_bytes };
            let bytes = reserve_bytes(free, percent);
            prop_assert!(bytes <= all_bytes / 2 + all_bytes / (1 << 50));
            let exact = u128::from(all_bytes) * (percent * 1e9) as u128 / 100_000_000_000;
            prop_assert!(exact.abs_diff(bytes.into()) <= 1 + u128::from(all_bytes) / 10_000_000_000);
            let found = Short { free, reserve_bytes: bytes, percent };
            prop_assert_eq!(found.is_short(false), free_bytes < bytes);
            prop_assert!(found.is_short(true) || !found.is_short(false), "what begins does not end at once");
            if found.is_short(false) {
                prop_assert!(found.free_percent() <= percent, "{}", found);
            }
        }
    }
}
