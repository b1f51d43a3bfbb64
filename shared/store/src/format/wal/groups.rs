//! The dots of a frame, grouped by series. The dots of a group are in the order in which they were published.
//!
//! Here a series is a name with a shape. Where dots of one name change their shape within a frame, a new section
//! begins, so that the order of the dots of that name is kept.

use std::collections::HashMap;
use std::ops::Range;

use dotter_dot::{Buffers, Column, DotKey, Dots, Rows, Shape, check_row, put_varint, zigzag};

use crate::format::bytes::Fields;

/// Bit in a group's key: its values are row bytes.
const ROWS: u32 = 2;
/// Bit in a group's key: all its dots are kept, since their times are clock stamps, or they are texts of a ring.
const KEPT: u32 = 1;
/// How many bits of a group's key are below the series id.
const KEY_BITS: u32 = 2;

/// Memory that [`encode_dots`] reuses from one frame to the next.
#[derive(Default)]
pub(crate) struct Grouping {
    /// By place: how many dots of the section a group has, then where its next dot goes. All are zero between sections.
    counts: Vec<u32>,
    /// The keys of the groups of the section, as numbers.
    touched: Vec<u32>,
    /// Times and words of the dots, in the grouped order. There may be more, of frames before.
    times: Vec<u64>,
    words: Vec<u64>,
    groups: Vec<Grouped>,
    /// For each name with several series, the series of its last dot.
    latest: HashMap<u32, u32>,
}

/// A group of a section: where its dots end in the grouped order, and how they are encoded.
struct Grouped {
    end: u32,
    base: u64,
    rows: bool,
}

/// Appends dots section by section. In a section dots are grouped by key, and a group keeps the given order.
///
/// - `siblings`: gives for the id of a series whose name has several a number that all of them share, else `None`: the
///   dots of all series of one name must stay in order
/// - `mixed`: whether any name has several series
/// - `keeps`: whether all dots of a series of this id are kept, even those that the clock did not stamp
pub(crate) fn encode_dots(
    dots: &Dots,
    siblings: impl Fn(u32) -> Option<u32>,
    mixed: bool,
    keeps: impl Fn(u32) -> bool,
    scratch: &mut Grouping,
    out: &mut Vec<u8>,
) {
    scratch.groups.clear();
    if scratch.times.len() < dots.len() {
        scratch.times.resize(dots.len(), 0);
        scratch.words.resize(dots.len(), 0);
    }
    let ends = match (dots.is_empty(), mixed) {
        (true, _) => Vec::new(),
        (false, false) => vec![dots.len()],
        (false, true) => scratch.sections(dots, &siblings),
    };
    put_varint(out, ends.len() as u64);
    // Numbers are told apart by the clock alone, and are most of what there is.
    let keeps = |key: DotKey| key.is_clock() || key.is_row() && keeps(key.series());
    let mut start = 0;
    for end in ends {
        scratch.group(dots, start..end, &keeps, out);
        start = end;
    }
    let mut start = 0;
    out.reserve(dots.len() * 12 + dots.rows().bytes());
    for Grouped { end, base, rows } in &scratch.groups {
        let (mut before, end) = (*base, *end as usize);
        for time in &scratch.times[start..end] {
            put_varint(out, zigzag(time.wrapping_sub(before) as i64));
            before = *time;
        }
        let words = &scratch.words[start..end];
        if *rows {
            encode_rows(words, dots.rows(), out);
        } else {
            put_words(words, out);
        }
        start = end;
    }
}

impl Grouping {
    /// Where each section ends. A section ends before a dot whose name has another series in the section already.
    fn sections(&mut self, dots: &Dots, siblings: &impl Fn(u32) -> Option<u32>) -> Vec<usize> {
        let mut ends = Vec::new();
        self.latest.clear();
        for (index, series) in dots.keys().iter().map(|key| key.series()).enumerate() {
            let Some(name) = siblings(series) else { continue };
            if self.latest.insert(name, series).is_some_and(|latest| latest != series) {
                ends.push(index);
                self.latest.clear();
                self.latest.insert(name, series);
            }
        }
        ends.push(dots.len());
        ends
    }

    /// Puts the dots of a section into groups, and appends the key and count of each group.
    ///
    /// - `section`: not empty
    /// - `keeps`: whether dots of a key are all kept
    fn group(
        &mut self,
        dots: &Dots,
        section: Range<usize>,
        keeps: &impl Fn(DotKey) -> bool,
        out: &mut Vec<u8>,
    ) {
        let Grouping { counts, touched, times, words, groups, .. } = self;
        let (keys, from) = (&dots.keys()[section.clone()], section.start as u32);
        let (section_times, section_words) = (&dots.times()[section.clone()], &dots.words()[section]);
        let last = keys.iter().map(|key| key.series()).max().unwrap_or(0);
        let places = place(coded(last, false, true)) + 1;
        if places > counts.len() {
            counts.resize(places.next_power_of_two(), 0);
        }
        let coded = |key: &DotKey| coded(key.series(), key.is_row(), keeps(*key));
        touched.clear();
        for key in keys {
            let coded = coded(key);
            let count = &mut counts[place(coded)];
            if *count == 0 {
                touched.push(coded);
            }
            *count += 1;
        }
        touched.sort_unstable();
        put_varint(out, touched.len() as u64);
        let (mut before, mut start, base) = (0, from, section_times[0]);
        for coded in touched.iter() {
            let count = &mut counts[place(*coded)];
            put_varint(out, (coded - before) as u64);
            put_varint(out, *count as u64);
            before = *coded;
            // From here on `count` is the place of the next dot of the group.
            let dots = std::mem::replace(count, start);
            start += dots;
            groups.push(Grouped { end: start, base, rows: coded & ROWS == ROWS });
        }
        put_varint(out, base);
        for ((key, time), word) in keys.iter().zip(section_times).zip(section_words) {
            let next = &mut counts[place(coded(key))];
            times[*next as usize] = *time;
            words[*next as usize] = *word;
            *next += 1;
        }
        touched.iter().for_each(|coded| counts[place(*coded)] = 0);
    }
}

/// A group's key as a number.
#[inline]
fn coded(series: u32, is_row: bool, is_kept: bool) -> u32 {
    let rows = if is_row { ROWS } else { 0 };
    let kept = if is_kept { KEPT } else { 0 };
    series << KEY_BITS | rows | kept
}

/// The index at which the dots of a group are counted. A series has at most two groups, whose dots are all kept and not.
///
/// - `coded`: the group's key as a number
#[inline]
fn place(coded: u32) -> usize {
    (coded >> KEY_BITS << 1 | coded & KEPT) as usize
}

/// Appends words, eight at a time as far as they go: a look at the room for each costs more than writing it.
fn put_words(words: &[u64], out: &mut Vec<u8>) {
    let (eights, rest) = words.as_chunks::<8>();
    for eight in eights {
        out.extend_from_slice(eight.map(u64::to_le_bytes).as_flattened());
    }
    rest.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}

/// Appends the size of all rows in bytes, so that a reader who does not know the series can skip them; then each row
/// with its length.
fn encode_rows(words: &[u64], rows: &Rows, out: &mut Vec<u8>) {
    let mut length = Vec::new();
    let mut bytes = 0;
    for word in words {
        let row = rows.get(*word);
        length.clear();
        put_varint(&mut length, row.len() as u64);
        bytes += length.len() + row.len();
    }
    put_varint(out, bytes as u64);
    for word in words {
        let row = rows.get(*word);
        put_varint(out, row.len() as u64);
        out.extend_from_slice(row);
    }
}

/// The dots of a frame, group by group.
pub(crate) struct DotGroups<'a> {
    groups: Vec<Group>,
    fields: Fields<'a>,
    next: usize,
}

struct Group {
    key: u32,
    dots: usize,
    base: u64,
}

impl<'a> DotGroups<'a> {
    /// Reads the dots that follow the records.
    pub(crate) fn decode(mut fields: Fields<'a>) -> Option<DotGroups<'a>> {
        let sections = fields.count(2)?;
        let mut groups = Vec::new();
        for _ in 0..sections {
            let (first, count) = (groups.len(), fields.count(2)?);
            groups.reserve(count);
            let mut key = 0_u32;
            for _ in 0..count {
                key = key.checked_add(fields.number()?)?;
                groups.push(Group { key, dots: fields.number()?, base: 0 });
            }
            let base = fields.varint()?;
            groups[first..].iter_mut().for_each(|group| group.base = base);
        }
        Some(DotGroups { groups, fields, next: 0 })
    }

    /// How many dots the frame says all groups have.
    pub(crate) fn count(&self) -> u64 {
        self.groups.iter().fold(0, |sum, group| sum.saturating_add(group.dots as u64))
    }

    /// For each group: its series id, whether all its dots are kept, and how many the frame says it has.
    pub(crate) fn each(&self) -> impl Iterator<Item = (u32, bool, usize)> {
        self.groups.iter().map(|group| (group.key >> KEY_BITS, group.key & KEPT == KEPT, group.dots))
    }

    /// Series id of the next group, and whether all its dots are kept.
    pub(crate) fn peek(&self) -> Option<(u32, bool)> {
        self.groups.get(self.next).map(|group| (group.key >> KEY_BITS, group.key & KEPT == KEPT))
    }

    /// Appends the dots of the next group and returns how many there are.
    ///
    /// - `shape`: the shape of its series; `None` where it is not known, and then the group is skipped
    ///
    /// Returns `None` at the end, and where the bytes make no sense so that no further group can be found; 0 where
    /// only the values of this group make no sense. In these cases nothing is appended.
    pub(crate) fn take(&mut self, shape: Option<&Shape>, out: &mut Column) -> Option<usize> {
        let Group { key, dots: count, base } = *self.groups.get(self.next)?;
        self.next += 1;
        // A dot has at least so many bytes. A count that the bytes left cannot hold allocates nothing.
        let least = if key & ROWS == ROWS { 3 } else { 9 };
        if count.checked_mul(least)? > self.fields.0.len() {
            self.next = self.groups.len();
            return None;
        }
        let number = Shape::number();
        let taken = out.append_with(shape.unwrap_or(&number), |out| {
            match self.take_dots(key & ROWS == ROWS, count, base, shape, out) {
                Some(true) => Ok(count),
                // The times of a group that is skipped are removed again.
                other => Err(other),
            }
        });
        match taken {
            Ok(count) => Some(count),
            Err(Some(_)) => Some(0),
            Err(None) => {
                self.next = self.groups.len();
                None
            }
        }
    }

    /// Returns whether the values fit `shape`; `None` where the end of the group cannot be found.
    fn take_dots(
        &mut self,
        rows: bool,
        count: usize,
        base: u64,
        shape: Option<&Shape>,
        out: &mut Buffers,
    ) -> Option<bool> {
        let mut time = base;
        out.times.reserve(count);
        for _ in 0..count {
            time = time.wrapping_add(self.fields.signed()? as u64);
            out.times.push(time);
        }
        if !rows {
            let (words, _) = self.fields.bytes(count * 8)?.as_chunks();
            let Some(letter) = shape.and_then(Shape::word) else { return Some(false) };
            let from = out.words.len();
            out.words.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
            return Some(out.words[from..].iter().all(|word| letter.holds(*word)));
        }
        let bytes = self.fields.number()?;
        let mut fields = Fields(self.fields.bytes(bytes)?);
        let Some(shape) = shape.filter(|shape| shape.word().is_none()) else { return Some(false) };
        for _ in 0..count {
            let Some(row) = fields.number().and_then(|length| fields.bytes(length)) else {
                return Some(false);
            };
            if check_row(shape.format(), row).is_err() {
                return Some(false);
            }
            let word = out.rows.push(row);
            out.words.push(word);
        }
        Some(fields.0.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::{SeriesKey, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{cell, push, shape};

    /// Series 0 to 11, of the six shapes in turn; 0 to 5 share one name. Keys are series * 2 + clock.
    fn encoded(dots: &[(u32, u64, u64)], keeps_texts: bool, scratch: &mut Grouping) -> Vec<u8> {
        let mut given = Dots::default();
        for (key, time, bits) in dots {
            let (id, mut row) = (key >> 1, Vec::new());
            let value = cell(id as u8, *bits, &mut row);
            let series = SeriesKey::new(id, &shape(id as u8));
            given.push(series, key & 1 == 1, Timestamp::from_nanos(*time), value);
        }
        let siblings = |id: u32| (id < 6).then_some(0);
        let mut out = Vec::new();
        let keeps = |id: u32| keeps_texts && shape(id as u8).is_text();
        encode_dots(&given, siblings, true, keeps, scratch, &mut out);
        out
    }

    proptest! {
        #[test]
        fn dots_come_back_by_name_and_in_order(
            dots in prop::collection::vec((0..24_u32, any::<u64>(), any::<u64>()), 0..300),
            unknown in 6..12_u32,
            other in any::<bool>(),
            keeps_texts in any::<bool>(),
        ) {
            let mut scratch = Grouping::default();
            encoded(&[(3, 1, 0), (3, 2, 0)], !keeps_texts, &mut scratch);
            let out = encoded(&dots, keeps_texts, &mut scratch);
            let mut groups = DotGroups::decode(Fields(&out)).unwrap();
            prop_assert_eq!(groups.count(), dots.len() as u64);
            // By name and whether they are kept.
            let place = |id: u32, kept: bool| (if id < 6 { 0 } else { id as usize }) * 2 + kept as usize;
            let mut found = vec![Column::default(); 24];
            while let Some((id, clock)) = groups.peek() {
                let own = shape(id as u8);
                // Where nobody knows the series, or takes it for what it is not, it is passed over.
                let wrong = (0..6).map(shape).find(|shape| shape.word().is_none() != own.word().is_none());
                let (is_known, shape) =
                    if id == unknown { (false, wrong.filter(|_| other)) } else { (true, Some(own)) };
                let taken = groups.take(shape.as_ref(), &mut found[place(id, clock)]);
                prop_assert_eq!(taken.is_some_and(|count| count > 0), is_known);
            }
            let mut expected = vec![Column::default(); 24];
            for (key, time, bits) in dots.iter().filter(|dot| dot.0 >> 1 != unknown) {
                let is_kept = key & 1 == 1 || keeps_texts && shape((key >> 1) as u8).is_text();
                push(&mut expected[place(key >> 1, is_kept)], (key >> 1) as u8, *time, *bits);
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(mut groups) = DotGroups::decode(Fields(&bytes)) {
                while let Some((id, _)) = groups.peek() {
                    let _ = groups.take(Some(&shape(id as u8)), &mut Column::default());
                }
            }
        }
    }
}
