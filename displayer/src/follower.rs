//! The thread that follows the store: looks every 20 ms, keeps the newest view, feeds the live stream.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dotter_daemon::{AbortOnPanic, Log, StopFlag, chain};

use crate::feed::{Feed, News, View};
use crate::live::Live;
use crate::pulse::Pulse;
use crate::watched::Watched;

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Time between two looks while there is nothing to read.
const WAIT_INTERVAL: Duration = Duration::from_millis(200);
/// For how long the live stream is held at a time while it is worked out who follows what: a millisecond or two.
const MATCH_STEPS: u64 = 20_000;

/// What the follower keeps up to date.
pub(crate) struct Followed {
    pub(crate) watched: Watched,
    pub(crate) live: Mutex<Live>,
    pub(crate) pulse: Mutex<Pulse>,
    /// Dots seen in the news.
    pub(crate) dots: AtomicU64,
}

impl Followed {
    pub(crate) fn new() -> Followed {
        Followed {
            watched: Watched::new(),
            live: Mutex::default(),
            pulse: Mutex::new(Pulse::new(Instant::now())),
            dots: AtomicU64::new(0),
        }
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread; it ends when `stop` is set.
pub(crate) fn start(
    feed: Box<dyn Feed>,
    followed: Arc<Followed>,
    stop: StopFlag,
    log: Log,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("follower".into()).spawn(move || {
        // A displayer whose follower is gone would show an ever older view as if it were now.
        let _guard = AbortOnPanic("follower");
        let mut follower = Follower::new(feed, followed, log);
        let mut wait = Duration::ZERO;
        while !stop.wait(wait) {
            wait = if follower.look(Instant::now()) { LOOK_INTERVAL } else { WAIT_INTERVAL };
        }
    })
}

pub(crate) struct Follower {
    feed: Box<dyn Feed>,
    followed: Arc<Followed>,
    log: Log,
    /// Empty between looks; kept for its room.
    news: Vec<News>,
}

impl Follower {
    pub(crate) fn new(feed: Box<dyn Feed>, followed: Arc<Followed>, log: Log) -> Follower {
        Follower { feed, followed, log, news: Vec::new() }
    }

    /// One look; whether there was something to read.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        self.news.clear();
        let view = match self.feed.refresh(&mut self.news) {
            Ok(view) => view,
            Err(error) => {
                let trouble = chain(&*error);
                // Once for each reason: an hour of waiting is one line.
                if self.followed.watched.trouble().as_deref() != Some(&trouble) {
                    self.log.warn("look", &format!("waiting for a store: {trouble}"));
                }
                self.followed.watched.looked(Some(trouble));
                return false;
            }
        };
        if let Some(view) = view {
            self.take(view);
        }
        if self.followed.watched.trouble().is_some() {
            self.log.info("following the store");
        }
        self.followed.watched.looked(None);
        self.followed.pulse().tick(now);
        // Whoever joins or asks for numbers in between is let in.
        while self.followed.live().match_some(MATCH_STEPS) {
            thread::yield_now();
        }
        self.followed.live().flush(now);
        true
    }

    fn take(&mut self, view: View) {
        let (sequence, count) = (view.sequence, view.catalogue.names().len());
        let before = self.followed.watched.view().ok();
        let anew = |before: &Arc<View>| before.epoch != view.epoch || before.sequence > sequence;
        let starts = before.as_ref().is_none_or(anew);
        let names_hold =
            !starts && before.as_ref().is_some_and(|before| before.generation == view.generation);
        // In a first view none is new.
        let is_known = |name: &str| before.as_ref().is_none_or(|before| before.catalogue.contains(name));
        let mut new_names = Vec::new();
        {
            let mut pulse = self.followed.pulse();
            if !names_hold {
                pulse.retain(|name| view.catalogue.contains(name));
            }
            for (name, time, value) in self.news.iter().flat_map(|news| &news.dots) {
                // A series with a pulse has a name that is known: only a first beat is worth a search.
                if pulse.add(name, *time, *value) && !is_known(name.as_str()) {
                    new_names.push(name.clone());
                }
            }
        }
        // Series of texts are there without any dot of theirs having been in the news.
        let names_miss =
            before.as_ref().is_some_and(|before| before.catalogue.names().len() + new_names.len() != count);
        if before.is_some() && (!names_hold || names_miss) {
            let names = view.catalogue.names().iter();
            new_names = names.filter(|name| !is_known(name.as_str())).cloned().collect();
        }
        let dots: usize = self.news.iter().map(|news| news.dots.len()).sum();
        self.followed.dots.fetch_add(dots as u64, Relaxed);
        // The view first: a viewer who is told of a position can read up to it.
        self.followed.watched.set(view);
        let mut live = self.followed.live();
        if starts {
            let start = self.news.first().map_or(sequence, |news| news.sequence.saturating_sub(1));
            live.restart(start.min(sequence), count);
        }
        live.add(std::mem::take(&mut self.news), new_names, count);
    }
}
