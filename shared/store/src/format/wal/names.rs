//! What the ids of a WAL file mean: those of series the same in all files of an id epoch, those of incarnations in this
//! file alone.
//!
//! Our writer gives ids without gaps, so things are looked up in a list by their id. Ids that are far apart, as
//! another program might write them, are kept in a map. The meaning of an id never changes: the first declaration
//! counts.

use std::collections::HashMap;

use dotter_dot::{Incarnation, SeriesName, Shape, Timestamp};

use crate::format::shapes::Shapes;

/// Ids go into the list as long as they are below this many times their count.
const SPREAD: usize = 2;
/// Ids below this go into the list in any case.
const DENSE_MIN: usize = 1024;

/// Things by their ids.
#[derive(Clone, Debug)]
pub(crate) struct ById<T> {
    dense: Vec<Option<T>>,
    sparse: HashMap<u32, T>,
    count: usize,
}

impl<T> Default for ById<T> {
    fn default() -> ById<T> {
        ById { dense: Vec::new(), sparse: HashMap::new(), count: 0 }
    }
}

impl<T> ById<T> {
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        match self.dense.get(id as usize) {
            Some(Some(found)) => Some(found),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get(&id),
        }
    }

    /// Puts a thing at an id that has none yet; returns whether it had none.
    pub(crate) fn put(&mut self, id: u32, thing: T) -> bool {
        if self.get(id).is_some() {
            return false;
        }
        self.count += 1;
        let place = id as usize;
        if place >= (self.count * SPREAD).max(DENSE_MIN) {
            self.sparse.insert(id, thing);
            return true;
        }
        if place >= self.dense.len() {
            self.dense.resize_with(place + 1, || None);
        }
        self.dense[place] = Some(thing);
        true
    }

    /// Takes away the thing at an id, if there is one.
    pub(crate) fn remove(&mut self, id: u32) {
        let dense = self.dense.get_mut(id as usize).and_then(Option::take);
        if dense.or_else(|| self.sparse.remove(&id)).is_some() {
            self.count -= 1;
        }
    }

    /// The thing at an id; the default where there is none yet.
    pub(crate) fn or_default(&mut self, id: u32) -> &mut T
    where
        T: Default,
    {
        if self.get(id).is_none() {
            self.put(id, T::default());
        }
        match self.dense.get_mut(id as usize) {
            Some(Some(found)) => found,
            _ => self.sparse.get_mut(&id).expect("it has just been put there"),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.dense.clear();
        self.sparse.clear();
        self.count = 0;
    }
}

/// Series of one id epoch, and incarnations of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// The id epoch of `series`; 0 before the first file.
    epoch: u64,
    pub(crate) series: ById<(SeriesName, Shape)>,
    pub(crate) incarnations: HashMap<u32, Declared>,
    /// The ids of those series that a file declared, each once, since this was taken last.
    pub(crate) declared: Vec<u32>,
    shapes: Shapes,
}

impl Names {
    /// From here on, frames are those of a file of this epoch. Series of another epoch are forgotten.
    ///
    /// - `epoch`: `None` where nothing says it, which is so only where the file has no whole frame
    pub(crate) fn begin_file(&mut self, epoch: Option<u64>) {
        self.incarnations.clear();
        if let Some(epoch) = epoch
            && epoch != self.epoch
        {
            *self = Names { epoch, ..Names::default() };
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Adds what a names frame says that an id means.
    pub(super) fn declare(&mut self, id: u32, name: SeriesName, shape: Shape) {
        let shape = self.shapes.intern(shape);
        if self.series.put(id, (name, shape)) {
            self.declared.push(id);
        }
    }

    /// Adds what a names file says that an id means.
    pub(crate) fn look_up(&mut self, id: u32, name: SeriesName, shape: &Shape) {
        let shape = self.shapes.intern(shape.clone());
        self.series.put(id, (name, shape));
    }
}

/// An incarnation, and what the store knows of its ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) incarnation: Incarnation,
    pub(crate) application: String,
    /// Uid of the ring's owner, where it is known.
    pub(crate) owner: Option<u32>,
    /// When the store first received anything from the ring.
    pub(crate) first_seen: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_near_and_far_mean_what_they_were_first_said_to() {
        let mut things = ById::default();
        let ids = [0, 5, 1023, 1024, 3000, u32::MAX, 1025];
        for id in ids {
            assert!(things.put(id, id));
            assert!(!things.put(id, 7));
        }
        assert!(ids.iter().all(|id| things.get(*id) == Some(id)));
        assert_eq!((things.get(1), things.get(2000), things.get(1 << 31)), (None, None, None));
        assert!(things.dense.len() <= DENSE_MIN);
        (0..2000).for_each(|id| _ = things.put(id, id));
        assert!((0..2000).all(|id| things.get(id) == Some(&id)));
        *things.or_default(4) += 1;
        *things.or_default(u32::MAX - 1) += 1;
        assert_eq!((things.get(4), things.get(u32::MAX - 1)), (Some(&5), Some(&1)));
        for id in [4, u32::MAX, u32::MAX, 77777] {
            things.remove(id);
            assert!(things.get(id).is_none());
        }
        assert!(things.put(4, 4) && things.put(u32::MAX, 8) && things.get(5) == Some(&5));
        things.clear();
        assert!(ids.iter().all(|id| things.get(*id).is_none()));
    }

    #[test]
    fn series_last_for_an_epoch_and_incarnations_for_a_file() {
        let name = |text: &str| SeriesName::new(text).unwrap();
        let ring = |text: &str| Declared {
            incarnation: Incarnation([1; 16]),
            application: text.to_owned(),
            owner: None,
            first_seen: Timestamp::from_nanos(1),
        };
        let mut names = Names::default();
        names.begin_file(Some(3));
        names.declare(5, name("a"), Shape::number());
        names.declare(5, name("b"), Shape::number());
        names.look_up(6, name("c"), &Shape::number());
        names.incarnations.insert(0, ring("app"));
        for epoch in [Some(3), None] {
            names.begin_file(epoch);
            let found = [5, 6, 7].map(|id| names.series.get(id).map(|(name, _)| name.as_str()));
            assert_eq!(found, [Some("a"), Some("c"), None]);
            assert!(names.incarnations.is_empty());
            assert_eq!((names.epoch(), &names.declared[..]), (3, &[5][..]));
        }
        names.begin_file(Some(4));
        assert!(names.series.get(5).is_none() && names.declared.is_empty() && names.epoch() == 4);
    }
}
