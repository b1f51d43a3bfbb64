//! From the frames of the log to dots by series. Readers and the seal share [`each_group`], so both see the same dots.

use dotter_dot::{Column, SeriesName, Shape};

use crate::format::wal::{ById, DotGroups, Frame, Names, count_by_id};
use crate::read::head::{HeadPart, HeadSeries};

/// Puts the dots of frames of WAL files of one id epoch into parts of the head. An id means the same in all of them, so
/// a name is looked up once for each part.
#[derive(Default)]
pub(crate) struct FrameFold {
    /// By series id, how many dots are still to come: with explicit times, and those that are all kept.
    counts: ById<[u32; 2]>,
    /// By series id, the place of the series in the part.
    places: ById<u32>,
}

/// Dots of one series that a frame added to a part.
pub(crate) struct Taken<'a> {
    pub(crate) name: &'a SeriesName,
    /// Whether all of them are kept: the clock stamped them, or they are texts of a ring.
    pub(crate) clock: bool,
    /// The series, in which these dots come last.
    pub(crate) series: &'a HeadSeries,
    /// How many dots of this kind (explicit times, or all kept) it had before.
    pub(crate) before: usize,
    /// Whether the part had no dot of the series before.
    pub(crate) is_new: bool,
}

impl Taken<'_> {
    /// The column that holds the dots, and their range in it.
    pub(crate) fn dots(&self) -> (&Column, std::ops::Range<usize>) {
        let run = self.series.run(self.clock);
        (run, self.before..run.len())
    }
}

impl FrameFold {
    /// A fold that reserves memory for all dots of these frames.
    pub(crate) fn of(frames: &[Frame<'_>]) -> FrameFold {
        FrameFold { counts: count_by_id(frames), places: ById::default() }
    }

    /// Adds the dots of one frame; returns how many it added, as [`each_group`] does.
    ///
    /// - `each`: called with what was added, series by series
    pub(crate) fn take(
        &mut self,
        sequence: u64,
        dots: DotGroups<'_>,
        names: &Names,
        part: &mut HeadPart,
        mut each: impl FnMut(Taken<'_>),
    ) -> u64 {
        if part.dots == 0 {
            part.first_sequence = sequence;
        }
        part.last_sequence = sequence;
        let taken = each_group(dots, names, |group, dots| {
            let FrameGroup { id, clock, name, shape } = group;
            let place = self.places.get(id).copied().unwrap_or_else(|| {
                let place = part.place(name);
                part.at(place).reserve(self.counts.get(id).copied().unwrap_or_default());
                self.places.put(id, place);
                place
            });
            let series = part.at(place);
            let (is_new, before) = (series.len() == 0, series.run(clock).len());
            let count = series.fill(clock, sequence, shape, |run| dots.take(Some(shape), run))?;
            if count > 0 {
                each(Taken { name, clock, series, before, is_new });
            }
            Some(count)
        });
        part.dots += taken;
        taken
    }
}

/// A group of a frame whose series is declared.
pub(crate) struct FrameGroup<'a> {
    pub(crate) id: u32,
    /// Whether all of its dots are kept.
    pub(crate) clock: bool,
    pub(crate) name: &'a SeriesName,
    pub(crate) shape: &'a Shape,
}

/// Walks the groups of one frame; returns how many dots were taken. They are fewer than the frame says where a series
/// is not declared or values make no sense.
///
/// - `take`: takes the dots of a group, and gives what [`DotGroups::take`] gave
pub(crate) fn each_group(
    mut dots: DotGroups<'_>,
    names: &Names,
    mut take: impl FnMut(FrameGroup<'_>, &mut DotGroups<'_>) -> Option<usize>,
) -> u64 {
    let mut taken = 0;
    let mut unnamed = Column::default();
    while let Some((id, clock)) = dots.peek() {
        let count = match names.series.get(id) {
            Some((name, shape)) => take(FrameGroup { id, clock, name, shape }, &mut dots),
            None => dots.take(None, &mut unnamed).map(|_| 0),
        };
        // Where the frame ends before its groups do, the groups so far are whole and count.
        let Some(count) = count else { break };
        taken += count as u64;
    }
    taken
}
