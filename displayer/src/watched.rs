//! What every request reads: the newest view, the names in it, and why there is none yet.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use dotter_dot::{TimeRange, Timestamp};
use dotter_query::{Catalogue, Dot, Rollup, Source, SourceError, Stretch};

use crate::feed::View;

/// A view and the names in it, at one moment.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) view: Arc<dyn View>,
    pub(crate) catalogue: Catalogue,
}

impl Source for Moment {
    fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    fn fetch(
        &self,
        name: &str,
        range: TimeRange,
        visit: &mut dyn FnMut(&[Dot], u64) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        self.view.fetch(name, range, visit)
    }

    fn stretches(&self, name: &str, range: TimeRange) -> Result<Option<Vec<Stretch>>, SourceError> {
        self.view.stretches(name, range)
    }

    fn rollups(&self, name: &str, range: TimeRange, step: Duration) -> Result<Vec<Rollup>, SourceError> {
        self.view.rollups(name, range, step)
    }

    fn newest(&self, name: &str, count: usize) -> Result<Vec<Dot>, SourceError> {
        self.view.newest(name, count)
    }

    fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)> {
        self.view.span(name)
    }
}

/// The newest moment, set by the follower and read by everyone.
pub(crate) struct Watched {
    moment: RwLock<Option<Arc<Moment>>>,
    health: Mutex<Health>,
}

/// How the last look went.
struct Health {
    looked: Instant,
    trouble: Option<String>,
}

/// A follower that has not looked for so long hangs.
const LOOK_MAX: Duration = Duration::from_secs(5);

impl Watched {
    pub(crate) fn new() -> Watched {
        let health =
            Health { looked: Instant::now(), trouble: Some("the store was not looked at yet".into()) };
        Watched { moment: RwLock::default(), health: Mutex::new(health) }
    }

    /// What there is to read, or why there is nothing.
    pub(crate) fn moment(&self) -> Result<Arc<Moment>, String> {
        match &*self.moment.read().unwrap_or_else(PoisonError::into_inner) {
            Some(moment) => Ok(moment.clone()),
            None => Err(self.trouble().unwrap_or_default()),
        }
    }

    pub(crate) fn set(&self, moment: Moment) {
        *self.moment.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(moment));
    }

    /// The follower looked; `trouble` says what went wrong.
    pub(crate) fn looked(&self, trouble: Option<String>) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) =
            Health { looked: Instant::now(), trouble };
    }

    /// Why the last look found nothing to read.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }

    /// Whether the follower is alive.
    pub(crate) fn is_healthy(&self) -> bool {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).looked.elapsed() < LOOK_MAX
    }
}
