//! What keeps the store small and quick, beside the thread that commits and never in its way: closed files of the
//! log become segments, many segments become few, and what its rule no longer keeps goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use dotter_daemon::{Log, StopFlag, chain};
use dotter_store::{Machine, Retained, Retention, WatchedRules};

use crate::Error;
use crate::history::History;
use crate::metrics::Metrics;
use crate::thread::spawn_core;

/// Where nobody calls, there may be work all the same: of an earlier process, or of another one.
const SELDOM: Duration = Duration::from_secs(5);
/// After an error; whoever holds a lock or fills the disk is given time.
const PAUSE: Duration = Duration::from_secs(1);
/// How often retention looks at what has grown old.
const RETENTION: Duration = Duration::from_secs(3600);
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
    stop: StopFlag,
    metrics: Arc<Metrics>,
    log: Log,
    /// Dropped when the thread ends.
    _done: Sender<()>,
}

impl Upkeep {
    /// - `wake`: something may wait to be sealed
    pub(crate) fn start(
        dir: &Path,
        wake: Receiver<()>,
        history: Arc<History>,
        stop: &StopFlag,
        metrics: &Arc<Metrics>,
        log: &Log,
    ) -> Result<Upkeep, Error> {
        let (_done, done) = bounded(0);
        let worker = Worker {
            dir: dir.to_owned(),
            stop: stop.clone(),
            metrics: metrics.clone(),
            log: log.clone(),
            _done,
        };
        let (compact, sealed) = bounded(1);
        let seal = worker.clone();
        let threads = vec![
            spawn_core("seal", move || seal.seal(&wake, &compact, &history))?,
            spawn_core("compact", move || worker.compact(&sealed))?,
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

    fn compact(&self, wake: &Receiver<()>) {
        // On Linux this is about the calling thread alone. Where it is not allowed, all share alike.
        let _ = rustix::process::setpriority_process(None, NICE);
        let mut rules = WatchedRules::new(&self.dir);
        self.look_at(&mut rules);
        let mut retention = Retention::default();
        let mut retain = Instant::now() + RETENTION_FIRST;
        let mut tidy = Instant::now() + TIDY;
        let mut has_told = self.tell_rebuilt();
        while self.wait(wake) {
            self.look_at(&mut rules);
            if Instant::now() >= retain {
                self.retain(&mut retention);
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
            while !self.stop.is_set() {
                match retention.compact(&self.dir, &|| self.stop.is_set()) {
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

    /// Names the rules that cannot be read, at the start and when their files have changed.
    fn look_at(&self, rules: &mut WatchedRules) {
        if !rules.look() {
            return;
        }
        let skipped = rules.rules().skipped();
        for rule in skipped.iter().take(NAMED_MAX) {
            self.log.info(&format!(
                "warning: retention rules: {rule}; skipped: nothing is removed of series that it means, or may mean"
            ));
        }
        if skipped.len() > NAMED_MAX {
            self.log
                .info(&format!("warning: retention rules: {} more are skipped", skipped.len() - NAMED_MAX));
        }
        self.metrics.retention_bad_rules.store(skipped.len() as u64, Relaxed);
    }

    fn retain(&self, retention: &mut Retention) {
        let outcome =
            Machine::now().and_then(|machine| retention.pass(&self.dir, &machine, &|| self.stop.is_set()));
        match outcome {
            // Another process is at it.
            Err(dotter_store::Error::Locked(_)) => {}
            Err(error) => self.note("retain", &error, RETENTION),
            Ok(Retained { segments: 0, dots: 0, archives_gone: 0, archives_thinned: 0, .. }) => {}
            Ok(retained) => {
                let Retained { clock, only_reported, segments, dots, archives_gone, .. } = retained;
                let thinned = retained.archives_thinned;
                let (told, why) = match only_reported {
                    true => (
                        "would remove",
                        ", and waits for the next look, in an hour: it is the first by these rules, or the clock has jumped",
                    ),
                    false => ("removed", ""),
                };
                self.log.info(&format!(
                    "retention as of {clock} {told} {dots} dots, {segments} segments as a whole, {archives_gone} archive windows, parts of {thinned}{why}"
                ));
            }
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

    /// - `next`: when it is tried again
    fn note(&self, doing: &str, error: &dotter_store::Error, next: Duration) {
        if !matches!(error, dotter_store::Error::GivenUp) {
            self.log.warn(doing, &format!("{doing}: {}; next try in {next:?}", chain(error)));
        }
        self.stop.wait(PAUSE);
    }
}
