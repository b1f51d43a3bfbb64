//! What a follower makes of the commits that it is told of, and what readers see.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use dotter_dot::{SeriesName, TimeRange};
use dotter_store::{Commit, Follow, Position, Reader, Row, What};

/// Rows of a series: by time, whether the clock stamped them, and the bits of their numbers or what stands for a text.
pub type Rows = Vec<(u64, bool, u64)>;

/// The bits of the number of a row; of a text its checksum.
fn bits(row: &Row<'_>) -> u64 {
    row.number().map_or_else(|| crc32c::crc32c(row.row_bytes()).into(), f64::to_bits)
}

/// What a follower makes of the commits that it was told of.
#[derive(Default)]
pub struct Replica {
    pub commits: Vec<Commit>,
}

impl Replica {
    /// Takes all that there is.
    #[track_caller]
    pub fn follow(&mut self, follow: &mut Follow) {
        while follow.look(&mut self.commits).unwrap() {}
    }

    /// Goes back to what was told up to a position: the rest is told again.
    pub fn go_back(&mut self, to: Position) {
        self.commits.retain(|Commit { order, .. }| match order.edit {
            0 => order.sequence <= to.sequence,
            // A rename has a later edit than its order says; whoever is told of it twice renames nothing the second time.
            edit => edit <= to.edit,
        });
    }

    /// Replays all commits in their order.
    pub fn rows(&self) -> BTreeMap<String, Rows> {
        let mut all: Vec<&Commit> = self.commits.iter().collect();
        all.sort_by_key(|commit| commit.order);
        // Of each series: place in the order, time, stamped, bits.
        let mut rows: BTreeMap<String, Vec<(Position, u64, bool, u64)>> = BTreeMap::new();
        for Commit { order, what } in all {
            match what {
                What::Frame(news) => {
                    for (series, row) in news.rows() {
                        let row = (*order, row.time().nanos(), row.is_clock(), bits(&row));
                        rows.entry(series.to_string()).or_default().push(row);
                    }
                }
                What::Segments(store) => {
                    let mut scan = store.scan();
                    for series in store.series() {
                        let to = rows.entry(series.to_string()).or_default();
                        scan.rows(series.as_str(), TimeRange::ALL, |row| {
                            to.push((*order, row.time().nanos(), row.is_clock(), bits(&row)));
                            ControlFlow::Continue(())
                        })
                        .unwrap();
                    }
                }
                What::Delete(delete) => {
                    for (_, of) in rows.iter_mut().filter(|(series, _)| delete.names(series)) {
                        of.retain(|(_, time, ..)| !(delete.first..=delete.last).contains(time));
                    }
                }
                What::Rename { from, to } => {
                    let moved = rows.remove(from.as_str()).unwrap_or_default();
                    let moved = moved.into_iter().map(|(_, time, clock, bits)| (*order, time, clock, bits));
                    let mut moved: Vec<_> = moved.collect();
                    rows.entry(to.to_string()).or_default().append(&mut moved);
                }
            }
        }
        let settled = rows.into_iter().map(|(series, rows)| {
            let mut explicit = BTreeMap::new();
            let mut stamped: Rows = Vec::new();
            for (_, time, is_clock, bits) in rows {
                if is_clock {
                    stamped.push((time, true, bits));
                } else {
                    explicit.insert(time, bits);
                }
            }
            stamped.extend(explicit.into_iter().map(|(time, bits)| (time, false, bits)));
            stamped.sort_unstable();
            (series, stamped)
        });
        settled.filter(|(_, rows)| !rows.is_empty()).collect()
    }
}

/// What readers see.
pub fn stored(dir: &Path) -> BTreeMap<String, Rows> {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let mut scan = snapshot.scan();
    let of = |series: SeriesName| {
        let mut rows = Vec::new();
        scan.rows(series.as_str(), TimeRange::ALL, |row| {
            rows.push((row.time().nanos(), row.is_clock(), bits(&row)));
            ControlFlow::Continue(())
        })
        .unwrap();
        rows.sort_unstable();
        (series.to_string(), rows)
    };
    snapshot.series().map(of).filter(|(_, rows)| !rows.is_empty()).collect()
}
