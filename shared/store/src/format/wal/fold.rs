//! What the frames of a WAL file mean: the names they declare, the dots, and the changes to the ledger.

use dotter_dot::Incarnation;

use crate::format::bytes::Fields;
use crate::format::ledger::{LaneRecords, Ledger};
use crate::format::log::frame::{Frame, FrameKind, Item, Items};
use crate::format::wal::groups::DotGroups;
use crate::format::wal::names::{ById, Declared, Names};
use crate::format::wal::payload::{FinishFrame, RecordsFrame, decode_names};

/// The whole frames among `items`; what they declare goes into `names`. This is the first pass over a file, and the
/// only one that checks it.
pub(crate) fn frames<'a>(items: &mut Items<'a>, names: &mut Names) -> Vec<Frame<'a>> {
    let mut frames = Vec::new();
    for item in items {
        if let Item::Frame(frame) = item {
            declare_frame(&frame, names);
            frames.push(frame);
        }
    }
    frames
}

/// The least bytes of a dot in a frame: a row of one byte, with its time and its length.
const DOT_BYTES_MIN: u64 = 3;

/// How many dots each series has in these frames: those with explicit times, and those that are all kept. A frame
/// that claims more dots than its bytes can hold counts as empty, so memory for the dots is bounded by the bytes read.
pub(crate) fn count_by_id(frames: &[Frame<'_>]) -> ById<[u32; 2]> {
    let mut counts: ById<[u32; 2]> = ById::default();
    for frame in frames.iter().filter(|frame| frame.kind == FrameKind::Dots) {
        let mut fields = Fields(frame.payload);
        let Some(dots) = RecordsFrame::decode(&mut fields).and_then(|_| DotGroups::decode(fields)) else {
            continue;
        };
        if dots.count() <= frame.payload.len() as u64 / DOT_BYTES_MIN {
            for (id, clock, count) in dots.each() {
                let known = &mut counts.or_default(id)[clock as usize];
                *known = known.saturating_add(count as u32);
            }
        }
    }
    counts
}

/// The ids of series that frames use and that `names` has no meaning for: ascending, each once.
///
/// - `counters_alone`: leave out those of dots
pub(crate) fn unknown_ids(frames: &[Frame<'_>], names: &Names, counters_alone: bool) -> Vec<u32> {
    let mut unknown = Vec::new();
    let mut add = |id: u32| {
        if names.series.get(id).is_none() {
            unknown.push(id);
        }
    };
    for frame in frames.iter().filter(|frame| frame.kind == FrameKind::Dots) {
        let mut fields = Fields(frame.payload);
        let Some(records) = RecordsFrame::decode(&mut fields) else { continue };
        records.counters.iter().for_each(|(_, id, _)| add(*id));
        if !counters_alone && let Some(dots) = DotGroups::decode(fields) {
            dots.each().for_each(|(id, ..)| add(id));
        }
    }
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}

/// Adds to `names` what a frame declares, if it is a names frame.
fn declare_frame(frame: &Frame<'_>, names: &mut Names) {
    if frame.kind == FrameKind::Names {
        // Declarations before a field that makes no sense are kept.
        let _ = decode_names(frame.payload, names);
    }
}

/// How many dots a frame says it has.
pub(crate) fn count_dots(frame: &Frame<'_>) -> u64 {
    let mut fields = Fields(frame.payload);
    let dots = RecordsFrame::decode(&mut fields).and_then(|_| DotGroups::decode(fields));
    dots.filter(|_| frame.kind == FrameKind::Dots).map_or(0, |dots| dots.count())
}

/// Opens the account of an incarnation, with what its declaration says.
pub(crate) fn open_account(ledger: &mut Ledger, declared: &Declared) {
    let Declared { incarnation, application, owner, first_seen } = declared;
    ledger.open(*incarnation, application, *owner, *first_seen);
}

/// What applying a frame did.
pub(crate) enum Applied<'a> {
    /// The frame has no dots and no records.
    Nothing,
    /// Dots, and the records they stand for.
    Dots { lanes: Vec<(Incarnation, LaneRecords)>, dots: DotGroups<'a>, count: u64 },
}

/// Applies a frame to the ledger. The same frames in the same order give the same ledger in every process.
pub(crate) fn apply<'a>(frame: &Frame<'a>, names: &Names, ledger: &mut Ledger) -> Applied<'a> {
    match frame.kind {
        FrameKind::Dots => {
            let mut fields = Fields(frame.payload);
            let decoded = RecordsFrame::decode(&mut fields)
                .and_then(|records| DotGroups::decode(fields).map(|dots| (records, dots)));
            // The checksum is right but the payload makes no sense. The frame does not count; the next range of the
            // lane shows a hole, which is counted as lost.
            let Some((records, dots)) = decoded else { return Applied::Nothing };
            let count = dots.count();
            // Where both copies of a declaration are damaged, the frame does not count; the next range of the lane
            // shows the hole.
            if records.lanes.iter().any(|(id, _)| !names.incarnations.contains_key(id)) {
                return Applied::Nothing;
            }
            let mut lanes = Vec::with_capacity(records.lanes.len());
            for (id, lane) in records.lanes {
                let declared = &names.incarnations[&id];
                open_account(ledger, declared);
                ledger.book(declared.incarnation, &lane);
                lanes.push((declared.incarnation, lane));
            }
            for (id, reason, total) in records.refusals {
                let Some(declared) = names.incarnations.get(&id) else { continue };
                open_account(ledger, declared);
                ledger.book_refusal_total(declared.incarnation, reason, total);
            }
            for (id, series, total) in records.counters {
                let declared = names.incarnations.get(&id).zip(names.series.get(series));
                // Where both declarations of the counter are damaged, the total is left out: the frame with the
                // counter's next dot has the next total.
                let Some((declared, (name, shape))) = declared else { continue };
                open_account(ledger, declared);
                ledger.book_counter(declared.incarnation, name, shape, total);
            }
            let in_rings = lanes.iter().fold(0_u64, |sum, (_, lane)| sum.saturating_add(lane.stored_len()));
            let other = &mut ledger.totals.stored_other;
            *other = other.saturating_add(count.saturating_sub(in_rings));
            Applied::Dots { lanes, dots, count }
        }
        FrameKind::Finish => {
            if let Some(finish) = FinishFrame::decode(frame.payload)
                && let Some(declared) = names.incarnations.get(&finish.incarnation)
            {
                open_account(ledger, declared);
                for (reason, total) in finish.refusals {
                    ledger.book_refusal_total(declared.incarnation, reason, total);
                }
                ledger.finish(declared.incarnation, &finish.lanes, finish.time);
            }
            Applied::Nothing
        }
        FrameKind::Names | FrameKind::End | FrameKind::Edit | FrameKind::Unknown => Applied::Nothing,
    }
}
