//! A walk over the series of several segments at once, in the order of their names.

use std::cmp::Ordering;
use std::sync::Arc;

use dotter_dot::SeriesName;

use crate::error::Error;
use crate::read::segment::{Segment, SegmentSeries};

/// One walk for each segment. All that have not ended stand at a series that is not before [`Walks::name`].
pub(crate) struct Walks<'a> {
    walks: Vec<Walk<'a>>,
    name: Option<SeriesName>,
}

struct Walk<'a> {
    series: SegmentSeries<'a>,
    has_ended: bool,
    /// Whether it stands at [`Walks::name`].
    is_here: bool,
}

impl<'a> Walks<'a> {
    pub(crate) fn new(segments: &'a [Arc<Segment>]) -> Result<Walks<'a>, Error> {
        // Each is to go to its first series.
        let walk =
            |segment: &'a Arc<Segment>| Walk { series: segment.series(""), has_ended: false, is_here: true };
        let mut walks = Walks { walks: segments.iter().map(walk).collect(), name: None };
        walks.pass()?;
        Ok(walks)
    }

    /// The next name that any segment has; `None` behind the last.
    pub(crate) fn name(&self) -> Option<SeriesName> {
        self.name.clone()
    }

    /// The series of [`Walks::name`] in a segment, if the segment has it.
    pub(crate) fn at(&self, segment: usize) -> Option<&SegmentSeries<'a>> {
        let walk = &self.walks[segment];
        walk.is_here.then_some(&walk.series)
    }

    /// Goes on behind [`Walks::name`].
    pub(crate) fn pass(&mut self) -> Result<(), Error> {
        for walk in self.walks.iter_mut().filter(|walk| walk.is_here) {
            walk.is_here = false;
            match walk.series.next() {
                Some(step) => step?,
                None => walk.has_ended = true,
            }
        }
        // The first of those that stand at the least name.
        let mut least: Option<usize> = None;
        for index in 0..self.walks.len() {
            if self.walks[index].has_ended {
                continue;
            }
            let name = self.walks[index].series.name_bytes();
            let order = least.map_or(Ordering::Less, |least| name.cmp(self.walks[least].series.name_bytes()));
            if order == Ordering::Less {
                let before = least.unwrap_or(index);
                self.walks[before..index].iter_mut().for_each(|walk| walk.is_here = false);
                least = Some(index);
            }
            self.walks[index].is_here = order != Ordering::Greater;
        }
        self.name = least.map(|least| self.walks[least].series.name()).transpose()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::Timestamp;

    use super::*;
    use crate::disk::layout::Layout;
    use crate::disk::manifest;
    use crate::format::listing::SegmentEntry;

    #[test]
    fn each_name_comes_once_with_the_segments_that_have_it() {
        assert!(Walks::new(&[]).unwrap().name().is_none());
        let dir = tempfile::tempdir().unwrap();
        for names in [&["b", "c", "ca"][..], &["a", "c"], &["a", "aa", "b", "c"], &["d"]] {
            let dot = |name: &&str| (SeriesName::new(name).unwrap(), Timestamp::from_nanos(1), 1.0);
            crate::add(dir.path(), names.iter().map(dot).collect::<Vec<_>>()).unwrap();
        }
        let layout = Layout::new(dir.path());
        let list = manifest::read(&layout).unwrap();
        let open =
            |entry: &SegmentEntry| Arc::new(Segment::open(&layout.segment(&entry.name), entry).unwrap());
        let segments: Vec<_> = list.segments.iter().map(open).collect();
        let mut walks = Walks::new(&segments).unwrap();
        for (name, places) in
            [("a", &[1, 2][..]), ("aa", &[2]), ("b", &[0, 2]), ("c", &[0, 1, 2]), ("ca", &[0]), ("d", &[3])]
        {
            assert_eq!(walks.name().unwrap().as_str(), name);
            let found: Vec<usize> = (0..segments.len()).filter(|index| walks.at(*index).is_some()).collect();
            assert_eq!(found, places, "{name}");
            for index in found {
                assert_eq!(walks.at(index).unwrap().name_bytes(), name.as_bytes());
            }
            walks.pass().unwrap();
        }
        for _ in 0..2 {
            assert!(walks.name().is_none() && (0..segments.len()).all(|index| walks.at(index).is_none()));
            walks.pass().unwrap();
        }
    }
}
