//! The names of several segments, as one list in order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::read::segment::{Segment, SegmentSeries};

/// A walk that has come to a series. The walk with the least name is the greatest, since a heap gives that first.
struct Walking<'a>(SegmentSeries<'a>);

impl Ord for Walking<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.name_bytes().cmp(self.0.name_bytes())
    }
}

impl PartialOrd for Walking<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Walking<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Walking<'_> {}

/// Calls `each` with every series name of some segments that begins with `prefix`, once, in order. Returns how many
/// key blocks were passed over because they are damaged.
pub(crate) fn names_of<'a>(
    segments: impl IntoIterator<Item = &'a Segment>,
    prefix: &str,
    mut each: impl FnMut(&str),
) -> u64 {
    let mut damaged = 0;
    let mut step = |series: &mut SegmentSeries<'_>| loop {
        match series.next() {
            Some(Err(_)) => damaged += 1,
            other => return other.is_some() && series.name_bytes().starts_with(prefix.as_bytes()),
        }
    };
    let mut walks = BinaryHeap::new();
    for segment in segments {
        let mut series = segment.series(prefix);
        if step(&mut series) {
            walks.push(Walking(series));
        }
    }
    let mut before = Vec::new();
    while let Some(mut walk) = walks.peek_mut() {
        let name = walk.0.name_bytes();
        if name != before {
            before.clear();
            before.extend_from_slice(name);
            // A name was valid when it was written, and the checksum says its bytes are what they were then.
            if let Ok(name) = std::str::from_utf8(name) {
                each(name);
            }
        }
        if !step(&mut walk.0) {
            PeekMut::pop(walk);
        }
    }
    damaged
}
