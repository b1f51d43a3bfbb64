//! What every kind of series has in common: where its dots go, and by which ways.

use std::fmt;
use std::sync::Arc;

use dotter_dot::SeriesName;
use dotter_ring::{Shape, SlowPath};

use crate::home::Home;

/// A series of a publisher, whatever it holds.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) home: Arc<Home>,
    /// Its number in the ring; `None` where the registry had no room.
    pub(crate) id: Option<u32>,
    pub(crate) name: SeriesName,
}

impl Handle {
    /// The same series measured in `unit`, under a number of its own.
    pub(crate) fn unit(self, shape: &Shape, unit: &str) -> Handle {
        let Some(inside) = SlowPath::enter() else { return self };
        let id = self.home.ring(&inside).series_of(&inside, &self.name, shape, unit);
        Handle { id, ..self }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}
