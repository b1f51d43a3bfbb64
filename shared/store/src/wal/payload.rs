//! What stands inside frames.

use std::collections::HashMap;

use dotter_dot::{Incarnation, Reason, SeriesName, TimeRange, Timestamp, put_varint, zigzag};

use crate::bytes::{Fields, put_text};
use crate::chunk::Columns;
use crate::ledger::{LaneRecords, Lost, Refused};

/// What the ids of one WAL file mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) series: HashMap<u32, SeriesName>,
    pub(crate) incarnations: HashMap<u32, Declared>,
}

/// An incarnation and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) incarnation: Incarnation,
    pub(crate) application: String,
    /// When the store first heard of it.
    pub(crate) first_seen: Timestamp,
}

pub(crate) fn encode_names<'a>(
    series: impl ExactSizeIterator<Item = (u32, &'a SeriesName)>,
    incarnations: impl ExactSizeIterator<Item = (u32, &'a Declared)>,
    out: &mut Vec<u8>,
) {
    put_varint(out, series.len() as u64);
    for (id, name) in series {
        put_varint(out, id as u64);
        put_text(out, name.as_str());
        put_text(out, "F");
        put_text(out, "");
        put_varint(out, 0);
    }
    put_varint(out, incarnations.len() as u64);
    for (id, declared) in incarnations {
        put_varint(out, id as u64);
        out.extend_from_slice(&declared.incarnation.0);
        put_text(out, &declared.application);
        put_varint(out, declared.first_seen.nanos());
    }
}

/// Adds what a names frame declares; `None` where it makes no sense (what came before that is kept).
pub(crate) fn decode_names(payload: &[u8], names: &mut Names) -> Option<()> {
    let mut fields = Fields(payload);
    for _ in 0..fields.count(5)? {
        let id = fields.number()?;
        let name = SeriesName::new(fields.text()?).ok()?;
        fields.text()?;
        fields.text()?;
        for _ in 0..fields.count(1)? {
            fields.text()?;
        }
        names.series.insert(id, name);
    }
    for _ in 0..fields.count(19)? {
        let id = fields.number()?;
        let incarnation = Incarnation(fields.array()?);
        let application = fields.text()?.to_owned();
        let first_seen = Timestamp::from_nanos(fields.varint()?);
        names.incarnations.insert(id, Declared { incarnation, application, first_seen });
    }
    fields.0.is_empty().then_some(())
}

/// Records of lanes and refusal totals, under the ids of the file.
#[derive(Debug, Default)]
pub(crate) struct RecordsFrame {
    pub(crate) lanes: Vec<(u32, LaneRecords)>,
    pub(crate) refusals: Vec<(u32, Reason, u64)>,
}

impl RecordsFrame {
    pub(crate) fn encode<'a>(
        incarnation: u32,
        lanes: impl ExactSizeIterator<Item = &'a LaneRecords>,
        refusals: &[(Reason, u64)],
        out: &mut Vec<u8>,
    ) {
        put_varint(out, lanes.len() as u64);
        for records in lanes {
            for field in
                [incarnation as u64, records.lane as u64, records.first, records.next - records.first]
            {
                put_varint(out, field);
            }
            put_varint(out, records.losses.len() as u64);
            let mut end = records.first;
            for lost in &records.losses {
                put_varint(out, lost.first - end);
                put_varint(out, lost.next - lost.first);
                out.push(lost.reason.0);
                out.push(lost.times.is_some() as u8);
                if let Some(times) = lost.times {
                    put_varint(out, times.from.nanos());
                    put_varint(out, times.until.nanos().saturating_sub(times.from.nanos()));
                }
                end = lost.next;
            }
            put_varint(out, records.refused.len() as u64);
            let mut end = records.first;
            for refused in &records.refused {
                put_varint(out, refused.first - end);
                put_varint(out, refused.next - refused.first);
                out.push(refused.reason.0);
                end = refused.next;
            }
        }
        put_varint(out, refusals.len() as u64);
        for (reason, total) in refusals {
            put_varint(out, incarnation as u64);
            out.push(reason.0);
            put_varint(out, *total);
        }
    }

    /// Reads the record part of a dots frame and leaves the dots in `fields`.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<RecordsFrame> {
        let mut frame = RecordsFrame::default();
        for _ in 0..fields.count(6)? {
            let incarnation = fields.number()?;
            let mut records =
                LaneRecords { lane: fields.number()?, first: fields.varint()?, ..Default::default() };
            records.next = records.first.checked_add(fields.varint()?)?;
            let range = |fields: &mut Fields<'_>, end: &mut u64| {
                let first = end.checked_add(fields.varint()?)?;
                *end = first.checked_add(fields.varint()?)?;
                Some((first, *end))
            };
            let mut end = records.first;
            for _ in 0..fields.count(4)? {
                let (first, next) = range(fields, &mut end)?;
                let reason = Reason(fields.byte()?);
                let times = match fields.byte()? {
                    0 => None,
                    _ => {
                        let from = fields.varint()?;
                        let until = from.checked_add(fields.varint()?)?;
                        Some(TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until)))
                    }
                };
                records.losses.push(Lost { first, next, reason, times });
            }
            let lost_end = end;
            let mut end = records.first;
            for _ in 0..fields.count(3)? {
                let (first, next) = range(fields, &mut end)?;
                records.refused.push(Refused { first, next, reason: Reason(fields.byte()?) });
            }
            let gone = records.lost_len().checked_add(records.refused_len())?;
            if lost_end.max(end) > records.next || gone > records.next - records.first {
                return None;
            }
            frame.lanes.push((incarnation, records));
        }
        for _ in 0..fields.count(3)? {
            frame.refusals.push((fields.number()?, Reason(fields.byte()?), fields.varint()?));
        }
        Some(frame)
    }
}

/// The dots of a frame, group by group.
pub(crate) struct DotGroups<'a> {
    groups: Vec<(u32, usize)>,
    base: u64,
    fields: Fields<'a>,
    next: usize,
}

/// Scratch for [`encode_dots`], kept from one frame to the next.
#[derive(Default)]
pub(crate) struct Grouping {
    counts: Vec<u32>,
    touched: Vec<u32>,
    times: Vec<u64>,
    values: Vec<f64>,
}

/// Appends dots, grouped by key (series id * 2 + clock), each group in the order given.
///
/// - `keys`, `times`, `values`: one entry a dot
pub(crate) fn encode_dots(
    keys: &[u32],
    times: &[u64],
    values: &[f64],
    scratch: &mut Grouping,
    out: &mut Vec<u8>,
) {
    let Grouping { counts, touched, times: grouped_times, values: grouped_values } = scratch;
    touched.clear();
    for key in keys {
        let key = *key as usize;
        if key >= counts.len() {
            counts.resize((key + 1).next_power_of_two(), 0);
        }
        if counts[key] == 0 {
            touched.push(key as u32);
        }
        counts[key] += 1;
    }
    touched.sort_unstable();
    put_varint(out, touched.len() as u64);
    let (mut before, mut start) = (0, 0);
    let mut ends = Vec::with_capacity(touched.len());
    for key in touched.iter() {
        let count = &mut counts[*key as usize];
        put_varint(out, (key - before) as u64);
        put_varint(out, *count as u64);
        before = *key;
        // From here on the place where the group's next dot goes.
        let dots = std::mem::replace(count, start);
        start += dots;
        ends.push(start as usize);
    }
    grouped_times.clear();
    grouped_times.resize(keys.len(), 0);
    grouped_values.clear();
    grouped_values.resize(keys.len(), 0.0);
    for (index, key) in keys.iter().enumerate() {
        let place = &mut counts[*key as usize];
        grouped_times[*place as usize] = times[index];
        grouped_values[*place as usize] = values[index];
        *place += 1;
    }
    touched.iter().for_each(|key| counts[*key as usize] = 0);
    let base = times.first().copied().unwrap_or_default();
    put_varint(out, base);
    let mut start = 0;
    out.reserve(keys.len() * 12);
    for end in ends {
        let mut before = base;
        for time in &grouped_times[start..end] {
            put_varint(out, zigzag(time.wrapping_sub(before) as i64));
            before = *time;
        }
        for value in &grouped_values[start..end] {
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        start = end;
    }
}

impl<'a> DotGroups<'a> {
    /// Reads the dots that follow the records.
    pub(crate) fn decode(mut fields: Fields<'a>) -> Option<DotGroups<'a>> {
        let count = fields.count(2)?;
        let mut groups = Vec::with_capacity(count);
        let mut key = 0_u32;
        for _ in 0..count {
            key = key.checked_add(fields.number()?)?;
            groups.push((key, fields.number()?));
        }
        let base = if fields.0.is_empty() && count == 0 { 0 } else { fields.varint()? };
        Some(DotGroups { groups, base, fields, next: 0 })
    }

    /// Dots in all groups, as the frame says.
    pub(crate) fn count(&self) -> u64 {
        self.groups.iter().fold(0, |sum, (_, dots)| sum.saturating_add(*dots as u64))
    }

    /// Series id of the next group, and whether the clock stamped it.
    pub(crate) fn peek(&self) -> Option<(u32, bool)> {
        self.groups.get(self.next).map(|(key, _)| (key >> 1, key & 1 == 1))
    }

    /// Appends the dots of the next group and says how many those are; `None`, and nothing is appended, at the
    /// end and where bytes make no sense.
    pub(crate) fn take(&mut self, out: &mut Columns) -> Option<usize> {
        let (_, count) = *self.groups.get(self.next)?;
        // Each dot takes nine bytes at least, so a count beyond what is left allocates nothing.
        if count.checked_mul(9)? > self.fields.0.len() {
            return None;
        }
        let before = out.len();
        let taken = self.take_columns(count, out);
        if taken.is_none() {
            out.times.truncate(before);
            out.values.truncate(before);
        }
        self.next += 1;
        taken
    }

    fn take_columns(&mut self, count: usize, out: &mut Columns) -> Option<usize> {
        let mut time = self.base;
        out.times.reserve(count);
        for _ in 0..count {
            time = time.wrapping_add(self.fields.signed()? as u64);
            out.times.push(time);
        }
        let (words, _) = self.fields.bytes(count * 8)?.as_chunks();
        out.values.extend(words.iter().map(|word| f64::from_bits(u64::from_le_bytes(*word))));
        Some(count)
    }
}

/// The end of an incarnation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FinishFrame {
    pub(crate) incarnation: u32,
    pub(crate) time: Timestamp,
    pub(crate) lanes: Vec<(u32, u64)>,
    pub(crate) refusals: Vec<(Reason, u64)>,
}

impl FinishFrame {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.incarnation as u64);
        put_varint(out, self.time.nanos());
        put_varint(out, self.lanes.len() as u64);
        for (lane, next) in &self.lanes {
            put_varint(out, *lane as u64);
            put_varint(out, *next);
        }
        put_varint(out, self.refusals.len() as u64);
        for (reason, total) in &self.refusals {
            out.push(reason.0);
            put_varint(out, *total);
        }
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<FinishFrame> {
        let mut fields = Fields(payload);
        let mut frame = FinishFrame {
            incarnation: fields.number()?,
            time: Timestamp::from_nanos(fields.varint()?),
            lanes: Vec::new(),
            refusals: Vec::new(),
        };
        for _ in 0..fields.count(2)? {
            frame.lanes.push((fields.number()?, fields.varint()?));
        }
        for _ in 0..fields.count(2)? {
            frame.refusals.push((Reason(fields.byte()?), fields.varint()?));
        }
        fields.0.is_empty().then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn dots_come_back_grouped_and_in_order(
            dots in prop::collection::vec((0..20_u32, any::<u64>(), any::<u64>()), 0..300),
        ) {
            let keys: Vec<u32> = dots.iter().map(|dot| dot.0).collect();
            let times: Vec<u64> = dots.iter().map(|dot| dot.1).collect();
            let values: Vec<f64> = dots.iter().map(|dot| f64::from_bits(dot.2)).collect();
            let mut out = Vec::new();
            let mut scratch = Grouping::default();
            encode_dots(&[3, 3], &[1, 2], &[0.0, 1.0], &mut scratch, &mut Vec::new());
            encode_dots(&keys, &times, &values, &mut scratch, &mut out);
            let mut groups = DotGroups::decode(Fields(&out)).unwrap();
            let mut seen = 0;
            while let Some((id, clock)) = groups.peek() {
                let mut columns = Columns::default();
                prop_assert!(groups.take(&mut columns).is_some());
                let Columns { times, values } = columns;
                let key = id * 2 + clock as u32;
                let expected: Vec<_> = dots.iter().filter(|dot| dot.0 == key).map(|dot| (dot.1, dot.2)).collect();
                let found: Vec<_> = times.into_iter().zip(values.iter().map(|value| value.to_bits())).collect();
                prop_assert_eq!(&found, &expected);
                seen += found.len();
            }
            prop_assert_eq!(seen, dots.len());
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_names(&bytes, &mut Names::default());
            let _ = FinishFrame::decode(&bytes);
            let mut fields = Fields(&bytes);
            let _ = RecordsFrame::decode(&mut fields);
            if let Some(mut groups) = DotGroups::decode(Fields(&bytes)) {
                while groups.take(&mut Columns::default()).is_some() {}
            }
        }
    }
}
