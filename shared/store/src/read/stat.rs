//! How large a store is: counts that are known without reading dots.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use crate::format::place::Place;
use crate::read::snapshot::Snapshot;

/// How large a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Series with at least one dot.
    pub series: u64,
    /// Dots in segments and in the live log; a replaced dot counts until a compaction removes it.
    pub dots: u64,
    /// Live segments.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Their dots, without the steps made from dots that have expired.
    pub segment_dots: u64,
    /// Live WAL files.
    pub wal_files: u64,
    /// Bytes of live WAL files that count.
    pub wal_bytes: u64,
    /// Dots in live WAL files.
    pub wal_dots: u64,
    /// Listed names files.
    pub names_files: u64,
    /// Their bytes.
    pub names_bytes: u64,
    /// The segments of each level, lowest level first.
    pub levels: Vec<Level>,
    /// The segments of each tier and window, from level 1 on.
    pub places: Vec<Placed>,
    /// Deletes whose dots are not all removed yet.
    pub tombstones: u64,
    /// Number of the last edit of the list.
    pub generation: u64,
    /// Last sequence of the log.
    pub sequence: u64,
    /// Segments that could not be opened, since the reader was opened.
    pub damaged_segments: u64,
    /// Chunks that could not be read, since the reader was opened; a chunk counts each time it is tried.
    pub damaged_chunks: u64,
}

/// The segments of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// How often their dots have been merged.
    pub level: u32,
    /// Segments.
    pub segments: u64,
    /// Bytes.
    pub bytes: u64,
    /// Dots.
    pub dots: u64,
}

/// The segments that lie in one tier and window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The tier and the window.
    pub place: Place,
    /// Segments.
    pub segments: u64,
    /// Bytes.
    pub bytes: u64,
    /// Dots.
    pub dots: u64,
}

impl Snapshot {
    /// How large the store is.
    pub fn stat(&self) -> Stat {
        let inner = &self.inner;
        let mut stat = Stat {
            series: inner.series().len() as u64,
            segments: inner.manifest.segments.len() as u64,
            wal_files: inner.wal_files,
            wal_bytes: inner.wal_bytes,
            wal_dots: inner.head.iter().map(|part| part.dots).sum(),
            names_files: inner.manifest.names.len() as u64,
            names_bytes: inner.manifest.names.iter().map(|entry| entry.bytes).sum(),
            tombstones: inner.manifest.tombstones.len() as u64,
            generation: self.generation(),
            sequence: inner.sequence,
            // Relaxed: counts that nothing else depends on.
            damaged_segments: inner.damage.segments.load(Relaxed),
            damaged_chunks: inner.damage.chunks.load(Relaxed),
            ..Stat::default()
        };
        let mut places: BTreeMap<Place, Placed> = BTreeMap::new();
        for segment in &inner.manifest.segments {
            stat.segment_bytes += segment.bytes;
            stat.segment_dots += if segment.has_steps() { 0 } else { segment.dots };
            let at = stat.levels.partition_point(|level| level.level < segment.level);
            if stat.levels.get(at).is_none_or(|level| level.level != segment.level) {
                stat.levels.insert(at, Level { level: segment.level, ..Level::default() });
            }
            let level = &mut stat.levels[at];
            level.segments += 1;
            level.bytes += segment.bytes;
            level.dots += segment.dots;
            if let Some(place) = segment.place {
                let placed = places.entry(place).or_insert(Placed { place, segments: 0, bytes: 0, dots: 0 });
                placed.segments += 1;
                placed.bytes += segment.bytes;
                placed.dots += segment.dots;
            }
        }
        stat.places = places.into_values().collect();
        stat.dots = stat.segment_dots + stat.wal_dots;
        stat
    }
}
