//! The thread that follows the store: looks every 20 ms, keeps the newest moment, feeds the live stream.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dotter_daemon::{AbortOnPanic, Log, StopFlag, chain};
use dotter_query::Catalogue;

use crate::feed::{Feed, News, View};
use crate::live::Live;
use crate::pulse::Pulse;
use crate::watched::{Moment, Watched};

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
        // A displayer whose follower is gone would show an ever older moment as if it were now.
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
    /// The generation that the catalogue was read from; `None` before the first view.
    generation: Option<u64>,
    /// Empty between looks; kept for its room.
    news: Vec<News>,
}

impl Follower {
    pub(crate) fn new(feed: Box<dyn Feed>, followed: Arc<Followed>, log: Log) -> Follower {
        Follower { feed, followed, log, generation: None, news: Vec::new() }
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

    fn take(&mut self, view: Arc<dyn View>) {
        let sequence = view.sequence();
        let before = self.followed.watched.moment().ok();
        let anew = |moment: &Arc<Moment>| {
            moment.view.epoch() != view.epoch() || moment.view.sequence() > view.sequence()
        };
        let starts = before.as_ref().is_none_or(anew);
        let generation = Some(view.generation());
        let names_hold = self.generation == generation && !starts;
        self.generation = generation;
        let mut catalogue = match &before {
            Some(moment) if names_hold => moment.catalogue.clone(),
            _ => Catalogue::new(view.names()),
        };
        let mut new_names = Vec::new();
        {
            let mut pulse = self.followed.pulse();
            if !names_hold {
                pulse.retain(|name| catalogue.contains(name));
            }
            for (name, time, value) in self.news.iter().flat_map(|news| &news.dots) {
                // A series with a pulse has a name that is known: only a first beat is worth a search.
                if pulse.add(name, *time, *value) && !catalogue.contains(name.as_str()) {
                    new_names.push(name.clone());
                }
            }
        }
        catalogue.add(new_names.iter().cloned());
        // Series of texts are there without any dot of theirs having been in the news.
        let names_miss = catalogue.names().len() != view.name_count();
        if names_hold && names_miss {
            catalogue = Catalogue::new(view.names());
        }
        if let Some(moment) = before.filter(|_| !names_hold || names_miss) {
            let names = catalogue.names().iter();
            new_names = names.filter(|name| !moment.catalogue.contains(name.as_str())).cloned().collect();
        }
        let count = catalogue.names().len();
        let dots: usize = self.news.iter().map(|news| news.dots.len()).sum();
        self.followed.dots.fetch_add(dots as u64, Relaxed);
        // The view first: a viewer who is told of a position can read up to it.
        self.followed.watched.set(Moment { view, catalogue });
        let mut live = self.followed.live();
        if starts {
            let start = self.news.first().map_or(sequence, |news| news.sequence.saturating_sub(1));
            live.restart(start.min(sequence), count);
        }
        live.add(std::mem::take(&mut self.news), new_names, count);
    }
}
