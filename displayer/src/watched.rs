//! What every request reads: the newest view, or why there is none yet.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::feed::View;

/// The newest view, set by the follower and read by everyone.
pub(crate) struct Watched {
    view: RwLock<Option<Arc<View>>>,
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
        Watched { view: RwLock::default(), health: Mutex::new(health) }
    }

    /// What there is to read, or why there is nothing.
    pub(crate) fn view(&self) -> Result<Arc<View>, String> {
        match &*self.view.read().unwrap_or_else(PoisonError::into_inner) {
            Some(view) => Ok(view.clone()),
            None => Err(self.trouble().unwrap_or_default()),
        }
    }

    pub(crate) fn set(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(view));
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
