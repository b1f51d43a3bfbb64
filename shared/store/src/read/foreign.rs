//! Foreign commits between two snapshots: transactions that are segments of their own and never were in the log.

use std::sync::Arc;

use crate::read::snapshot::{Inner, Snapshot};

impl Snapshot {
    /// A snapshot of the foreign commits since `before`, and of nothing else: those that [`crate::News`] leaves out.
    /// `None` where there are none.
    ///
    /// A commit whose segment a compaction has merged by now is missing: refresh more often than that.
    pub fn foreign_since(&self, before: &Snapshot) -> Option<Snapshot> {
        // The order of a sealed segment has no edit number; a merged segment has a higher level.
        let is_new = |order: crate::format::listing::Order| order.generation > before.generation();
        let segments: Vec<_> = self
            .inner
            .segments
            .iter()
            .filter(|segment| segment.entry().level == 0 && is_new(segment.order()))
            .cloned()
            .collect();
        if segments.is_empty() {
            return None;
        }
        let manifest = (*self.inner.manifest).clone();
        Some(Snapshot { inner: Arc::new(Inner::of_segments(manifest, segments)) })
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::{SeriesName, Timestamp};

    use crate::read::reader::Reader;

    #[test]
    fn what_was_added_beside_the_log_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let row = |name: &str, time| (SeriesName::new(name).unwrap(), Timestamp::from_nanos(time), 1.0);
        crate::add(dir.path(), vec![row("a", 1)]).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        let before = reader.snapshot();
        assert!(before.foreign_since(&before).is_none());
        crate::add(dir.path(), vec![row("a", 2), row("b", 1)]).unwrap();
        reader.refresh(None).unwrap();
        let after = reader.snapshot();
        let foreign = after.foreign_since(&before).unwrap();
        let names: Vec<String> = foreign.series().map(|name| name.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(foreign.read("a", dotter_dot::TimeRange::ALL).unwrap().len(), 1);
        assert!(after.foreign_since(&after).is_none());
    }
}
