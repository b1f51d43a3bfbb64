//! What keeps the store small and quick, beside the thread that commits and never in its way: closed files of the
//! log become segments, many segments become few, and what its rule no longer keeps goes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, never, select};
use dotter_daemon::{Log, StopFlag, chain};
use dotter_store::{Limits, Machine, Retained, Taken};

use crate::history::History;
use crate::metrics::Metrics;
use crate::thread::spawn_core;
use crate::{Error, Options};

/// Where nobody calls, there may be work all the same: of an earlier process, or of another one.
const SELDOM: Duration = Duration::from_secs(5);
/// After an error; whoever holds a lock or fills the disk is given time.
const PAUSE: Duration = Duration::from_secs(1);
/// How often retention reads the clocks and the rules, and looks at what has grown old.
const RETENTION: Duration = Duration::from_secs(1800);
/// The first time is soon: a process may live for less than an hour.
const RETENTION_FIRST: Duration = Duration::from_secs(60);
/// How often the files that were replaced last are unlinked, and finished rings moved out of the list.
const TIDY: Duration = Duration::from_secs(60);
/// Skipped rules that are named in the log.
const NAMED_MAX: usize = 16;
/// How much compaction and retention step back for everyone else: as far as can be.
const NICE: i32 = 19;

/// Both threads.
pub(crate) struct Upkeep {
    threads: Vec<JoinHandle<()>>,
    done: Receiver<()>,
}

#[derive(Clone)]
struct Worker {
    dir: PathBuf,
    /// Bytes that the store may have, where that is limited.
    max_bytes: Option<u64>,
    stop: StopFlag,
    metrics: Arc<Metrics>,
    log: Log,
    /// Dropped when the thread ends.
    _done: Sender<()>,
}

/// Why the thread that compacts goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// There may be something to do.
    Work,
    /// Somebody asks by SIGHUP that the rules are read.
    Hangup,
}

impl Upkeep {
    /// - `wake`: something may wait to be sealed
    /// - `hangup`: the rules are to be read now
    pub(crate) fn start(
        options: &Options,
        wake: Receiver<()>,
        hangup: Receiver<()>,
        history: Arc<History>,
        stop: &StopFlag,
        metrics: &Arc<Metrics>,
        log: &Log,
    ) -> Result<Upkeep, Error> {
        let (_done, done) = bounded(0);
        let worker = Worker {
            dir: options.data.clone(),
            max_bytes: options.max_bytes,
            stop: stop.clone(),
            metrics: metrics.clone(),
            log: log.clone(),
            _done,
        };
        // Before anything is committed: in a store that has nothing yet, no rule is a change.
        worker.take_rules();
        let (compact, sealed) = bounded(1);
        let seal = worker.clone();
        let threads = vec![
            spawn_core("seal", move || seal.seal(&wake, &compact, &history))?,
            spawn_core("compact", move || worker.compact(&sealed, hangup))?,
        ];
        Ok(Upkeep { threads, done })
    }

    /// Waits for both to end after the stop flag is set. What takes longer is left to itself: the store is sound
    /// whenever they are cut off.
    pub(crate) fn join(self, wait: Duration) {
        if self.done.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
            for thread in self.threads {
                // They do not panic: the process would be gone.
                let _ = thread.join();
            }
        }
    }
}

impl Worker {
    fn seal(&self, wake: &Receiver<()>, compact: &Sender<()>, history: &History) {
        while self.wait(wake) {
            history.forget_if_idle();
            match dotter_store::seal(&self.dir, &|| self.stop.is_set()) {
                Ok(0) => {}
                Ok(dots) => {
                    self.metrics.sealed.fetch_add(dots, Relaxed);
                    // Full where it has been woken and has not yet looked.
                    let _ = compact.try_send(());
                }
                Err(error) => self.note("seal", &error, SELDOM),
            }
        }
    }

    fn compact(&self, wake: &Receiver<()>, mut hangup: Receiver<()>) {
        // On Linux this is about the calling thread alone. Where it is not allowed, all share alike.
        let _ = rustix::process::setpriority_process(None, NICE);
        self.metrics.max_bytes.store(self.max_bytes.unwrap_or(0), Relaxed);
        let mut retain = Instant::now() + RETENTION_FIRST;
        let mut tidy = Instant::now() + TIDY;
        let mut has_told = self.tell_rebuilt();
        while let Some(woken) = self.wait_for_either(wake, &mut hangup) {
            if woken == Woken::Hangup {
                let skipped = self.take_rules();
                self.log.info(&format!("SIGHUP: the retention rules were read again, {skipped} are skipped"));
            }
            if Instant::now() >= retain {
                self.take_rules();
                self.retain();
                retain = Instant::now() + RETENTION;
            }
            if Instant::now() >= tidy {
                let outcome = Machine::now().and_then(|machine| dotter_store::tidy(&self.dir, &machine));
                if let Err(error) = outcome {
                    self.note("tidy", &error, TIDY);
                }
                has_told = has_told || self.tell_rebuilt();
                tidy = Instant::now() + TIDY;
            }
            // One round may take long; whoever asks for the rules waits for no second.
            while !self.stop.is_set() && hangup.is_empty() {
                match dotter_store::compact(&self.dir, &|| self.stop.is_set()) {
                    Ok(true) => _ = self.metrics.compactions.fetch_add(1, Relaxed),
                    Ok(false) => break,
                    // Another process is at it.
                    Err(dotter_store::Error::Locked(_)) => break,
                    Err(error) => {
                        self.note("compact", &error, SELDOM);
                        break;
                    }
                }
            }
        }
    }

    /// Says so where the list of what counts had to be rebuilt.
    fn tell_rebuilt(&self) -> bool {
        let rebuilt = dotter_store::rebuilt(&self.dir).unwrap_or_default();
        if let Some(told) = &rebuilt {
            self.log.warn("manifest", told);
        }
        rebuilt.is_some()
    }

    /// Gives the store the rules that its files say, and names those that cannot be read; returns how many those are.
    fn take_rules(&self) -> usize {
        let Taken { changed, skipped } = match dotter_store::take_rules(&self.dir) {
            Ok(taken) => taken,
            Err(error) => {
                self.note("take the retention rules", &error, RETENTION);
                return 0;
            }
        };
        for rule in skipped.iter().take(NAMED_MAX) {
            self.log.info(&format!(
                "warning: retention rules: {rule}; skipped: nothing is removed of series that it means, or may mean"
            ));
        }
        if skipped.len() > NAMED_MAX {
            self.log
                .info(&format!("warning: retention rules: {} more are skipped", skipped.len() - NAMED_MAX));
        }
        if changed {
            self.log.info(
                "the retention rules have changed: for a day of running time nothing goes of what they keep \
                 otherwise than before; 'dotter-store retain --dry-run' tells what will",
            );
        }
        self.metrics.retention_bad_rules.store(skipped.len() as u64, Relaxed);
        skipped.len()
    }

    fn retain(&self) {
        let limits = Limits { max_bytes: self.max_bytes };
        let outcome = Machine::now()
            .and_then(|machine| dotter_store::retain(&self.dir, &machine, &limits, &|| self.stop.is_set()));
        match outcome {
            // Another process is at it.
            Err(dotter_store::Error::Locked(_)) => {}
            Err(error) => self.note("retain", &error, RETENTION),
            Ok(retained) => self.tell(&retained),
        }
    }

    /// Says what a retention pass did, and what it will do.
    fn tell(&self, retained: &Retained) {
        let Retained { clock, segments, dots, steps, for_size, waiting, held, held_dots, .. } = *retained;
        self.metrics.retention_held_dots.store(held_dots, Relaxed);
        self.metrics.retention_waiting.store(waiting, Relaxed);
        self.metrics.above_max_bytes.store(retained.above_limit, Relaxed);
        if let Some((is_ahead, by)) = retained.jumped {
            let way = if is_ahead { "ahead" } else { "back" };
            self.log.warn(
                "clock",
                &format!(
                    "the wall clock has jumped {way} by {by:?}: retention believes it after a day of running time"
                ),
            );
        }
        if segments > 0 {
            let size = match for_size {
                0 => String::new(),
                count => format!(", {count} of them before their time, since the store is above --max-bytes"),
            };
            self.log.info(&format!(
                "retention as of {clock}: {segments} segments went{size}; {dots} dots expired, {steps} steps went or \
                 became coarser"
            ));
        }
        if held > 0 {
            self.log.info(&format!(
                "retention: the time of {held} segments with {held_dots} rows is over by rules that have changed; they \
                 go when the machine has run for a day since"
            ));
        }
        if waiting > 0 {
            self.log.warn(
                "retention",
                &format!(
                    "{waiting} segments stay though their time is over: they are damaged, which dotter-store verify \
                     tells, or an older one of their time has to go first"
                ),
            );
        }
        if retained.above_limit > 0 {
            self.log.warn(
                "max-bytes",
                &format!(
                    "the store is {} bytes above --max-bytes: what is left is the newest of each tier, or not \
                     compacted yet",
                    retained.above_limit
                ),
            );
        }
    }

    /// Waits to be woken; says whether to go on.
    fn wait(&self, wake: &Receiver<()>) -> bool {
        match wake.recv_timeout(SELDOM) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => !self.stop.is_set(),
            // Whoever wakes is gone, which is at the end.
            Err(RecvTimeoutError::Disconnected) => !self.stop.wait(SELDOM),
        }
    }

    /// As [`Worker::wait`], for work or a SIGHUP; `None` says not to go on.
    fn wait_for_either(&self, wake: &Receiver<()>, hangup: &mut Receiver<()>) -> Option<Woken> {
        let woken = select! {
            recv(hangup) -> asked => {
                if asked.is_err() {
                    // Nobody can ask any more; without this it would be woken over and over.
                    *hangup = never();
                }
                if asked.is_ok() { Woken::Hangup } else { Woken::Work }
            }
            recv(wake) -> sealed => {
                if sealed.is_err() && self.stop.wait(SELDOM) {
                    return None;
                }
                Woken::Work
            }
            default(SELDOM) => Woken::Work,
        };
        (!self.stop.is_set()).then_some(woken)
    }

    /// - `next`: when it is tried again
    fn note(&self, doing: &str, error: &dotter_store::Error, next: Duration) {
        if !matches!(error, dotter_store::Error::GivenUp) {
            self.log.warn(doing, &format!("{doing}: {}; next try in {next:?}", chain(error)));
        }
        self.stop.wait(PAUSE);
    }
}
